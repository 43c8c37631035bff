"""Real data: the right files, read as they are, as logistic problems that are certified like all others."""

import bz2
import gzip
import hashlib
import lzma

import numpy as np
import pytest
import strict
import web
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from refopt import FiniteSum, Shuffled
from refopt.fetch import DataError
from refopt.libsvm import FILES, PAGE, File, breast_cancer, libsvm

TINY = b"2 1:0.5 3:-1 \n1 2:1e3\n1 1:0.0 \n"  # three rows of three features
COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
ADDRESS = PAGE + "tiny.bz2"


@pytest.fixture
def network(monkeypatch, tmp_path):
    return web.fake(monkeypatch, tmp_path)


@pytest.fixture
def folder(monkeypatch, tmp_path, network):
    """The folder REFOPT_DATA; a table of sets that has `tiny`, too."""
    lines = b"\n".join(line.rstrip() for line in TINY.splitlines())
    monkeypatch.setitem(FILES, "tiny", File("tiny.bz2", 3, hashlib.sha256(lines).hexdigest()))
    monkeypatch.setenv("REFOPT_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "libsvm").mkdir(parents=True)
    return tmp_path / "data"


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("below", ["libsvm", "."])
def test_a_file_in_the_folder_is_read_as_it_is(folder, network, suffix, below):
    """PB1, PB3: the features as they are, zeros included; the larger label is +1; lam = 1/n, x0 = 0."""
    (folder / below / f"tiny{suffix}").write_bytes(COMPRESS[suffix](TINY))
    p = libsvm("tiny")
    assert p.A.tolist() == [[0.5, 0, -1], [0, 1e3, 0], [0, 0, 0]]
    assert p.b.tolist() == [1, -1, -1]
    assert p.x0.tolist() == [0, 0, 0]
    assert p.lam == 1 / 3
    assert libsvm("tiny", 0.25).lam == 0.25
    assert {a.dtype for a in (p.A, p.b, p.x0)} == {np.dtype(float)}
    assert network[1] == []


@pytest.mark.parametrize("same", [TINY + b"\n", TINY.replace(b" \n", b"\n"), TINY[:-1], TINY.replace(b"\n", b"\r\n")])
def test_blanks_at_the_ends_of_lines_do_not_make_another_file(folder, same):
    """Copies differ in them, and some lack the last line's end."""
    (folder / "tiny").write_bytes(same)
    assert libsvm("tiny").A.shape == (3, 3)


@pytest.mark.parametrize("other", [b"", b"<html>", TINY[:-9], TINY + TINY, TINY.replace(b"0.5", b"0.50000001")])
def test_a_file_that_is_not_the_known_one_is_refused_in_one_sentence_and_not_replaced(folder, network, other):
    """PB1, PB3 speak of these numbers and no others."""
    (folder / "tiny").write_bytes(other)
    with pytest.raises(
        DataError, match=r"^\S+/data/tiny is not the known tiny: its lines have the SHA-256 \w+, not \w+$"
    ):
        libsvm("tiny")
    assert network[1] == []
    assert (folder / "tiny").read_bytes() == other


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:10] + b"\xff" * 20, lambda c: TINY])
def test_a_damaged_archive_is_refused(folder, suffix, damage):
    (folder / f"tiny{suffix}").write_bytes(damage(COMPRESS[suffix](TINY)))
    with pytest.raises(DataError, match=rf"tiny{suffix} cannot be read .*: put an intact copy in its place$"):
        libsvm("tiny")


def test_without_folder_and_network_the_error_names_both_ways(network, folder, monkeypatch):
    monkeypatch.delenv("REFOPT_DATA")
    with pytest.raises(
        DataError, match=r"set REFOPT_DATA to a folder that holds libsvm/tiny\.bz2, or connect"
    ) as caught:
        libsvm("tiny")
    assert caught.value.__context__ is None  # no traceback of the network below it
    assert network[1] == [ADDRESS]
    assert ADDRESS in str(caught.value)


def test_what_is_not_in_the_folder_is_downloaded_once(folder, network):
    network[0][ADDRESS] = bz2.compress(TINY)
    first, second = libsvm("tiny"), libsvm("tiny")
    np.testing.assert_array_equal(first.A, second.A)
    assert network[1] == [ADDRESS]
    assert not list(folder.rglob("tiny*"))


@pytest.mark.parametrize("served", [b"log in first", bz2.compress(b"1 1:1\n"), bz2.compress(TINY)[:-9]])
def test_what_is_wrong_never_enters_the_cache(folder, network, tmp_path, served):
    network[0][ADDRESS] = served
    with pytest.raises(DataError, match=r"tiny\.bz2"):
        libsvm("tiny")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    network[0][ADDRESS] = bz2.compress(TINY)
    assert libsvm("tiny").n == 3


def test_a_cached_file_that_was_damaged_since_is_refused(folder, network, tmp_path):
    network[0][ADDRESS] = bz2.compress(TINY)
    libsvm("tiny")
    (cached,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    cached.write_bytes(bz2.compress(TINY + TINY))
    with pytest.raises(DataError, match="is not the known tiny"):
        libsvm("tiny")


def test_an_unknown_name_and_a_negative_weight_are_refused():
    with pytest.raises(ValueError, match="name must be one of mushrooms, a1a, a2a, w8a, ijcnn1, got 'mushroom'"):
        libsvm("mushroom")
    with pytest.raises(ValueError, match="lam >= 0"):
        breast_cancer(-1.0)


# --- problems --------------------------------------------------------------------------------------------------------


def certified(p):
    """Whether |g(x*)|²/(2 mu) ≤ 1e-14, f(x*) = f*, and L and mu bound the curvature at x*."""
    f, g = p(p.x_star)
    curvature = np.linalg.eigvalsh(p.hessian(p.x_star))
    bounded = p.mu * (1 - 1e-9) <= curvature[0] <= curvature[-1] <= p.L
    return bounded and f == p.f_star and g @ g / (2 * p.mu) <= 1e-14


def test_breast_cancer_is_a_certified_problem():
    """PB3, with scikit-learn as judge: C = 1/(n lam), no intercept, coefficients to 1e-6."""
    p, raw = breast_cancer(), load_breast_cancer()
    assert (p.A.shape, p.lam) == ((569, 30), 1 / 569)
    np.testing.assert_array_equal(p.b == 1, raw.target_names[raw.target] == "benign")
    np.testing.assert_allclose([p.A.mean(axis=0), p.A.std(axis=0)], np.outer([0, 1], np.ones(30)), rtol=0, atol=1e-12)
    assert all(np.corrcoef(p.A[:, j], raw.data[:, j])[0, 1] > 1 - 1e-12 for j in range(30))
    assert certified(p)
    judge = LogisticRegression(C=1.0, fit_intercept=False, solver="newton-cholesky", tol=1e-10).fit(p.A, p.b)
    np.testing.assert_allclose(p.x_star, judge.coef_[0], rtol=0, atol=1e-6)
    assert breast_cancer(0.5).lam == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_problems_are_finite_sums_on_any_device(dtype):
    """PB1. An epoch of mini-batches has the mean of the whole, on NumPy and on the strict double of a GPU."""
    host, device = (breast_cancer().to(xp, dtype) for xp in (np, strict))
    tolerance = 1e3 * float(np.finfo(dtype).eps)
    x = np.linspace(-1, 1, 30, dtype=dtype)
    f, g = host(x)
    oracle, total = FiniteSum(device, Shuffled(569, 64)), np.zeros(30)
    for _ in range(oracle.steps_per_epoch):
        oracle.draw()
        part = oracle(strict.asarray(x))[1]
        assert part.dtype == dtype
        total += strict.read(part) * oracle.samples / 569
    np.testing.assert_allclose(total, g, rtol=0, atol=tolerance)
    assert strict.read(device.value(strict.asarray(x))) == pytest.approx(f, rel=tolerance)
    H = strict.read(device.hessian(strict.asarray(x)))
    np.testing.assert_allclose(H, host.hessian(x), rtol=0, atol=tolerance)
    columns = [host.hvp(x, e) for e in np.eye(30, dtype=dtype)]
    np.testing.assert_allclose(host.hessian(x), columns, rtol=0, atol=tolerance)


REAL = {  # rows, features, labels +1, numbers that are not 0
    "mushrooms": (8124, 112, 4208, 170604),
    "a1a": (1605, 123, 395, 22249),
    "a2a": (2265, 123, 572, 31404),
    "w8a": (49749, 300, 1479, 579586),
    "ijcnn1": (49990, 22, 4853, 649869),
}


@pytest.mark.data("libsvm")
@pytest.mark.parametrize("name", REAL)
def test_the_real_sets_have_their_known_counts_and_a_certified_optimum(name):
    """A dense matrix of at most 120 MB. a1a and a2a never use their last four features."""
    try:
        p = libsvm(name)
    except DataError as error:
        if "is missing" in str(error):
            pytest.skip(str(error))
        raise
    assert (*p.A.shape, (p.b == 1).sum(), np.count_nonzero(p.A)) == REAL[name]
    assert p.A.nbytes <= 120e6
    assert (p.A[:, 119:].any(), p.A[:, 118].any()) == (False, True) if name in ("a1a", "a2a") else p.A[:, -1].any()
    assert p.lam == 1 / p.n
    assert certified(p)
