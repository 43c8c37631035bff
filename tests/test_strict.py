"""The double of CuPy is strict: what CuPy has not, refuses or waits for, it has not, refuses or counts."""

import copy
import json
import re

import cupy_table
import numpy as np
import pytest
import strict

from refopt import namespace


def device(*values, dtype=np.float32):
    return strict.asarray(np.array(values, dtype))


@pytest.mark.needs("cupy")
@pytest.mark.filterwarnings("ignore")
def test_the_table_is_that_of_the_installed_wheel():
    table = cupy_table.table()
    if table["version"] != strict.TABLE["version"]:
        pytest.skip(f"needs CuPy {strict.TABLE['version']}, which .ci/run installs")
    assert json.loads(json.dumps(table)) == strict.TABLE


def test_it_is_its_own_array_module():
    assert namespace(device(1)) is strict
    assert isinstance(device(1), strict.ndarray)
    assert vars(strict).keys() & strict.TABLE["names"].keys() == {"ndarray"}, "its own names hide none of CuPy's"


@pytest.mark.parametrize("name", ["vecdot", "errstate", "geomspace", "block", "einsum_path", "nonsense"])
def test_names_that_cupy_has_not_are_not_there(name):
    with pytest.raises(AttributeError, match=f"cupy has no '{name}' in CuPy 14.2"):
        getattr(strict, name)
    with pytest.raises(AttributeError, match="linalg has no 'vector_norm'"):
        _ = strict.linalg.vector_norm


REFUSED = {
    "a mask for a sum": lambda a: strict.sum(a, where=a > 0),
    "a mask for a ufunc": lambda a: strict.add(a, a, where=a > 0),
    "an initial value": lambda a: a.sum(initial=0),
    "a correction": lambda a: strict.var(a, correction=1),
    "a list": lambda a: strict.sqrt([1.0, 2.0]),
    "an out of NumPy": lambda a: strict.add(a, a, out=np.zeros(2, np.float32)),
    "a writeable view": lambda a: strict.lib.stride_tricks.as_strided(a, (1,), (4,), writeable=False),
    "host + device": lambda a: np.ones(2, np.float32) + a,
    "device + host": lambda a: a + np.ones(2, np.float32),
    "device += host": lambda a: a.__iadd__(np.ones(2, np.float32)),
    "device = host": lambda a: a.__setitem__(0, np.ones(1, np.float32)),
    "host in place": lambda a: np.ones(2, np.float32).__iadd__(a),
    "host = device": lambda a: np.zeros(2).__setitem__(slice(None), a),
    "asarray of NumPy": np.asarray,
    "array of NumPy": lambda a: np.array([a, a]),
    "a function of NumPy": np.sum,
    "a ufunc of NumPy": np.sqrt,
    "a method of NumPy": lambda a: np.ones(2, np.float32).dot(a),
    "a host index": lambda a: a[np.array([0])],
    "a list as an index": lambda a: a[[0, 1]],
    "a host array in where": lambda a: strict.where(np.array([True, False]), a, 0),
    "a host array in a stack": lambda a: strict.stack([a, np.ones(2, np.float32)]),
    "its memory": memoryview,
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cupy_refuses_is_refused(case):
    with pytest.raises((TypeError, ValueError)):
        REFUSED[case](device(1, 2))


WAITS = {
    "float": lambda a: float(a[0]),
    "int": lambda a: int(a[0]),
    "bool": lambda a: bool(a[0] > 0),
    "not": lambda a: not a[0],
    "max of Python": lambda a: max(a[0], a[1]),
    "index": lambda a: [3, 4][strict.argmax(a)],
    "format": lambda a: f"{a[0]:.2f}",
    "repr": repr,
    "print": str,
    "item": lambda a: a[0].item(),
    "tolist": lambda a: a.tolist(),
    "get": lambda a: a.get(),
    "asnumpy": strict.asnumpy,
    "a mask": lambda a: a[a > 1],
    "an assignment to a mask": lambda a: a.__setitem__(a > 1, 0),
    "nonzero": strict.nonzero,
    "unique": strict.unique,
    "allclose": lambda a: strict.allclose(a, a),
    "in": lambda a: 1 in a,
}


@pytest.mark.parametrize("case", WAITS)
def test_what_makes_the_host_wait_is_refused_unless_allowed_and_then_counted(case):
    with pytest.raises(strict.HostSyncError):
        WAITS[case](device(1, 2))
    with strict.watch(may_wait=True) as seen:
        WAITS[case](device(1, 2))
    assert sum(seen.waits.values()) >= 1


def test_launches_are_counted_and_views_are_none():
    a = device(1, 2, 3, 4)
    with strict.watch() as seen:
        a.reshape(2, 2)[:, 1].T.ravel()  # contiguous no more: ravel copies
        strict.broadcast_to(a, (3, 4))
        strict.lib.stride_tricks.as_strided(a, (2, 3), (4, 4))
        strict.empty(7, np.float32)
        strict.finfo(a.dtype)
    assert seen.launches == {"ravel": 1}
    with strict.watch() as seen:
        b = 2 * a + a
        b += a
        strict.sqrt(a, out=b)
        b[:2] = 0
        strict.copyto(b, a)
        a[strict.asarray([0, 2])]
        strict.asarray(np.ones(3, np.float32))
    assert seen.launches == {"mul": 1, "add": 2, "sqrt": 1, "setitem": 1, "copyto": 1, "getitem": 1}
    assert seen.uploads == {"asarray": 2}


def test_a_watch_ends_with_its_block():
    with strict.watch(may_wait=True) as outer, strict.watch() as inner:
        device(1) + 1
    assert inner.launches == {"add": 1}
    assert not outer.launches
    with pytest.raises(strict.HostSyncError):
        float(device(1)[0])


def test_float64_that_nobody_asked_for_is_found():
    a, wide = device(1, 2), device(1, 2, dtype=np.float64)
    with strict.watch(float64=False):
        assert (2.0 * a).dtype == np.float32
        assert a.sum(dtype=np.float64).astype(np.float32).dtype == np.float32
        assert (wide + wide).dtype == a.astype(np.float64).dtype == strict.zeros(2, np.float64).dtype == np.float64
        for slip in (lambda: strict.zeros(2), lambda: a * np.float64(2), lambda: a + wide, strict.arange(3).mean,
                     lambda: strict.sqrt(2.0), lambda: strict.asarray(0.5), lambda: strict.full(3, 0.5)):  # fmt: skip
            with pytest.raises(TypeError, match="made a float64 array"):
                slip()


def test_an_index_twice_in_an_assignment_is_refused():
    a = device(1, 2, 3)
    a[strict.asarray([0, 2])] = 5
    with pytest.raises(ValueError, match="an index twice"):
        a[strict.asarray([0, 0])] = 1


def test_results_stay_on_the_device_and_are_those_of_numpy():
    host = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    a = strict.asarray(host)
    pairs = [
        (a.sum(), host.sum()), (a[1, 2], host[1, 2]), (a.T @ a, host.T @ host), (1 / a, 1 / host), (a**2, host**2),
        (strict.clip(a, 0, 1), np.clip(host, 0, 1)), (strict.maximum(a, 0), np.maximum(host, 0)), (abs(-a), abs(host)),
        (strict.stack([a[0], a[1]]), host[:2]), (a.argmax(axis=1), host.argmax(axis=1)), (2 - a, 2 - host),
        (a.max(axis=0, keepdims=True), host.max(axis=0, keepdims=True)), ((a > 0) & (a < 1), (host > 0) & (host < 1)),
    ]  # fmt: skip
    for there, here in pairs:
        assert isinstance(there, strict.Array)
        assert strict.read(there).dtype == here.dtype
        np.testing.assert_array_equal(strict.read(there), here)


def test_in_place_means_in_place():
    a = device(1, 2)
    b = a
    b *= 3
    b[0] = 7
    assert b is a
    assert strict.read(a).tolist() == [7, 6]
    assert strict.read(copy.deepcopy(a)).tolist() == [7, 6]
    out = device(0, 0)
    assert strict.add(a, a, out) is out
    assert strict.read(out).tolist() == [14, 12]


def test_its_errors_say_what_to_do():
    with pytest.raises(TypeError, match=re.escape("np.sum of a device array: use xp.sum")):
        np.sum(device(1))
    with pytest.raises(TypeError, match="upload it with asarray"):
        device(1) + np.ones(1)
