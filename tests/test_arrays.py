"""The switch between NumPy and CuPy, and the few operations that every formula relies on."""

import itertools
import math
import os
import threading
import time

import numpy as np
import pytest
import strict
from hypothesis import given, settings
from hypothesis import strategies as st

from refopt import dot, elementwise, namespace, ratio, to_device, to_host
from refopt.arrays import (
    ROW,
    TILE,
    add_to,
    all_finite,
    choose,
    deferred,
    dots,
    helpers,
    in_tiles,
    moved,
    spread,
)

quick = settings(max_examples=30, deadline=None)
sizes = st.builds(lambda tiles, offset: max(1, tiles * TILE + offset), st.integers(0, 2), st.integers(-2, 2))
precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])

# --- namespace and transfers -----------------------------------------------------------------------------------------


def test_namespace_is_the_top_level_module_of_the_array_class():
    assert namespace(np.zeros(3)) is np
    assert namespace(np.float32(1)) is np
    assert namespace(np.ma.zeros(3)) is np  # of the module numpy.ma
    assert namespace(strict.asarray([1.0])) is strict


def test_to_host_copies_nothing_that_is_there_already_and_fetches_what_is_not():
    class Device:
        def get(self):
            return np.arange(3)

    x = np.zeros(3)
    assert to_host(x) is x
    assert to_host(Device()).tolist() == [0, 1, 2]
    assert to_host(2.5).shape == ()


def test_to_device_goes_where_like_is():
    assert type(to_device(np.ones(2), np.zeros(1))) is np.ndarray
    assert type(to_device(np.ones(2), strict.asarray([0.0]))) is strict.Array


# --- dot -------------------------------------------------------------------------------------------------------------


def exact(a, b):
    """<a, b> rounded once: products of float32 are exact in float64, and fsum adds them exactly."""
    return math.fsum(a.astype(np.float64) * b.astype(np.float64))


@quick
@given(st.integers(0, 2**32 - 1), sizes)
def test_the_error_of_dot_in_float32_stays_below_1e_6_of_the_sum_of_sizes(seed, n):
    """Whatever n is. Adding all in float32 drifts away on equal terms, whose roundings all go one way."""
    a, b = np.random.default_rng(seed).standard_normal((2, n), np.float32)
    tenth = np.full_like(a, 0.1)
    for one, other in ((a, b), (a, a), (a, tenth), (tenth, tenth)):
        assert dot(one, other).dtype == np.float32
        error, size = abs(float(dot(one, other)) - exact(one, other)), exact(abs(one), abs(other))
        assert error <= 1e-6 * size


def test_dot_of_float32_keeps_what_is_left_when_far_terms_cancel():
    """Added up in float32, 1e8 + 1 - 1e8 is 0; here the three stand in different rows."""
    a, b = np.zeros((2, 4 * ROW), np.float32)
    a[[0, ROW, -1]], b[[0, ROW, -1]] = [1e4, 1, -1e4], [1e4, 1, 1e4]
    assert dot(a, b) == 1


@precisions
@pytest.mark.parametrize("n", [0, 1, 7, TILE, 2 * TILE + 3])
def test_dot_is_a_scalar_of_its_dtype_and_agrees_with_the_device_path(dtype, n):
    a, b = np.random.default_rng(n).standard_normal((2, n)).astype(dtype)
    here, there = dot(a, b), dot(strict.asarray(a), strict.asarray(b))
    assert here.dtype == there.dtype == dtype
    assert here.ndim == there.ndim == 0
    size = abs(a.astype(float)) @ abs(b.astype(float))
    assert abs(float(here) - float(strict.read(there))) <= 2 * np.finfo(dtype).eps * size  # another order of summation


# --- ratio, all_finite -----------------------------------------------------------------------------------------------


@precisions
def test_ratio_is_the_quotient_and_0_over_0(dtype):
    for a, b, quotient in [(3, 2, 1.5), (1, 0, 0), (0, 0, 0), (-1, 0, 0), (2, np.inf, 0), (-3, -2, 1.5)]:
        result = ratio(dtype(a), dtype(b))
        assert result == quotient
        assert result.dtype == dtype
    vector = ratio(np.array([1, 2, 3], dtype), np.array([2, 0, -1], dtype))
    assert vector.tolist() == [0.5, 0, -3]
    assert vector.dtype == dtype


def test_ratio_lets_what_is_undefined_through():
    assert np.isnan(ratio(np.float64(np.nan), np.float64(2)))
    assert np.isnan(ratio(np.float64(2), np.float64(np.nan)))


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=8))
def test_all_finite_finds_what_is_not_and_is_not_fooled_by_a_sum_that_overflows(values):
    x = np.array(values)
    assert bool(all_finite(x)) == all(map(math.isfinite, values))


@pytest.mark.parametrize(("dtype", "big"), [(np.float32, 3e38), (np.float64, 1e308)])
def test_a_sum_that_overflows_does_not_make_its_terms_infinite(dtype, big):
    assert all_finite(np.full(4, big, dtype))
    assert not all_finite(np.array([big, big, np.inf], dtype))
    assert not all_finite(np.array([np.inf, -np.inf], dtype))  # the sum is NaN
    assert strict.read(all_finite(strict.asarray(np.full(4, big, dtype))))


# --- elementwise -----------------------------------------------------------------------------------------------------


def formula(x, m, c, unused):
    m = 0.9 * m + c * x
    return m, x - m / (1 + abs(x))


@quick
@given(st.integers(0, 2**32 - 1), sizes, st.sampled_from([np.float32, np.float64]))
def test_in_tiles_a_formula_gives_what_it_gives_on_the_whole_bit_for_bit(seed, n, dtype):
    """AR1."""
    rng = np.random.default_rng(seed)
    x, m = rng.standard_normal((2, n)).astype(dtype)
    for c in 0.3, dtype(0.3), np.array(0.3, dtype), rng.standard_normal(n).astype(dtype):
        for tiled, whole in zip(elementwise(formula)(x, m, c, None), formula(x, m, c, None), strict=True):
            assert tiled.dtype == whole.dtype == dtype
            assert tiled.tobytes() == whole.tobytes()
    one = elementwise(lambda x: x * x)(x)
    assert one.tobytes() == (x * x).tobytes()


def test_every_output_of_a_formula_has_its_own_dtype_and_memory():
    """AR1."""
    x = np.random.default_rng(0).standard_normal(TILE + 5).astype(np.float32)
    positive, same, again = elementwise(lambda x: (x > 0, x, x))(x)
    assert positive.dtype == bool
    assert same.dtype == np.float32
    assert (positive == (x > 0)).all()
    assert not np.shares_memory(same, x)
    assert not np.shares_memory(same, again)


def test_a_long_vector_goes_in_tiles_and_a_device_array_whole():
    seen = []
    record = elementwise(lambda x: seen.append(x.size) or x)
    record(np.zeros(2 * TILE + 1))
    assert sorted(seen) == [1, 1, TILE, TILE]  # the first tells the dtype
    seen.clear()
    record(np.zeros(TILE))
    record(strict.asarray(np.zeros(2 * TILE + 1)))
    assert seen == [TILE, 2 * TILE + 1]
    assert elementwise(formula).__name__ == "formula"


def test_the_first_results_are_written_over_what_is_given_for_reuse_and_whatever_is_handed_through_survives():
    """AR2. The second result is the first argument as it was, though the first one is written over it before."""
    rng = np.random.default_rng(1)
    m, last, x = rng.standard_normal((3, 2 * TILE + 5))
    before = m.copy(), last.copy()
    shift = elementwise(lambda x, m, last: (x + m, m, x - last, x > m))
    new, was, d, larger = shift(x, m, last, reuse=[m, last])
    assert new is m
    assert was is last
    assert (new == x + before[0]).all()
    assert (was == before[0]).all()
    assert (d == x - before[1]).all()
    assert larger.dtype == bool
    assert (larger == (x > before[0])).all()


def test_a_long_displacement_is_computed_where_it_is_added():
    """AR3."""
    seen = []
    x, g = np.random.default_rng(2).standard_normal((2, 2 * TILE + 5)).astype(np.float32)
    twice, back = deferred(lambda g: 2 * g), deferred(lambda rate, d: seen.append(d.size) or -rate * d)
    d = back(0.1, twice(g))  # one deferred vector of another
    assert not seen
    expected = x + -0.1 * (2 * g)
    add_to(x, d)
    assert sorted(seen) == [5, TILE, TILE]
    assert x.tobytes() == expected.tobytes()
    assert np.asarray(d).tobytes() == (-0.1 * (2 * g)).tobytes()
    assert d[:].dtype == d.dtype == np.float32
    assert isinstance(twice(g[:TILE]), np.ndarray), "a short one is computed at once"
    assert (0.5 * twice(g) == g).all(), "whoever computes with it has all of it"


@precisions
def test_parts_have_their_inner_products_and_values_of_their_own(dtype):
    """AR4, AR5. Also on a device; between parts there is nothing. Products of small whole numbers are exact."""
    a, b = np.random.default_rng(3).integers(-9, 10, (2, 3000)).astype(dtype)
    parts = [slice(0, 1), slice(5, 2400), slice(2400, 2990)]
    products, values = dots(a, b, parts), np.array([2, 3, 4], dtype)
    assert products.dtype == dtype
    assert products.tolist() == [a[part] @ b[part] for part in parts]
    assert strict.read(dots(strict.asarray(a), strict.asarray(b), parts)).tolist() == products.tolist()
    whole = spread(values, parts, a)
    assert whole.dtype == dtype
    assert whole.tolist() == [2.0] + [0.0] * 4 + [3.0] * 2395 + [4.0] * 590 + [0.0] * 10
    assert strict.read(spread(strict.asarray(values), parts, strict.asarray(a))).tolist() == whole.tolist()


@precisions
def test_a_move_is_the_difference_and_the_copy_is_no_view(dtype):
    """AR6."""
    x, before = np.random.default_rng(4).standard_normal((2, 7)).astype(dtype)
    copy, s = moved(x, before)
    assert (copy == x).all()
    assert not np.shares_memory(copy, x)
    assert (s == x - before).all()


@precisions
def test_choose_is_where(dtype):
    """AR7. Bit for bit: nothing is lost beside a large number that is not chosen."""
    a, b = np.array([1, 2, 1e7, 2.5], dtype), np.array([3, 4, 2.5, 1e20], dtype)
    for condition in itertools.product([True, False], repeat=4):
        chosen = choose(np.array(condition), a, b)
        assert chosen.dtype == dtype
        assert chosen.tolist() == np.where(condition, a, b).tolist()


@quick
@given(st.integers(1, 9 * TILE))
def test_tiles_cover_the_range_once(n):
    """AR1."""
    pieces = []
    in_tiles(n, pieces.append)
    pieces.sort(key=lambda piece: piece.start)
    assert [piece.start for piece in pieces] == list(range(0, n, TILE))
    assert [piece.stop for piece in pieces] == [*range(TILE, n, TILE), n]


@quick
@given(st.integers(0, 2**32 - 1), sizes, st.sampled_from([np.float32, np.float64]))
def test_add_to_is_the_sum_bit_for_bit_in_the_memory_of_x(seed, n, dtype):
    """AR3."""
    x, d = np.random.default_rng(seed).standard_normal((2, n)).astype(dtype)
    total, before = x + d, x
    add_to(x, d)
    assert x is before
    assert x.tobytes() == total.tobytes()


def test_what_goes_wrong_in_a_tile_is_raised_when_no_thread_works_any_more():
    working = set()

    def work(tile):
        working.add(tile.start)
        time.sleep(0.01)
        working.remove(tile.start)
        if tile.start == TILE:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_tiles(8 * TILE, work)
    assert not working


def test_tiles_within_tiles_do_not_wait_for_each_other():
    """Helpers that are all busy waiting would leave the work of a helper to nobody."""
    done = []

    def nested(depth):
        in_tiles(4 * TILE, (lambda _: nested(depth - 1)) if depth else done.append)

    thread = threading.Thread(target=nested, args=[3], daemon=True)
    thread.start()
    thread.join(60)
    assert len(done) == 4**4


def test_a_warning_that_the_caller_has_silenced_is_silent_in_every_tile():
    """NumPy's error state belongs to a context, and threads have their own."""
    x = np.full(8 * TILE, 1e38, np.float32)
    with np.errstate(all="ignore"):
        assert np.isinf(elementwise(lambda x: x * x)(x)).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    in_tiles(8 * TILE, lambda tile: None)
    before = helpers()
    if (child := os.fork()) == 0:
        os._exit(helpers() is before)
    assert os.waitpid(child, 0)[1] == 0
