"""An engine: memory comes back when nobody refers to it, and not before; threads share work and nothing else."""

import gc
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import ThreadpoolController, threadpool_limits

from nets.engine import Engine


def blas_threads():
    return [library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers]


def address(array):
    return array.ctypes.data


def test_memory_comes_back_with_the_last_view_and_not_before():
    engine = Engine(1)
    a = engine.empty((8, 8), np.float32)
    where, view = address(a), a[2:].reshape(-1)[5:]
    del a
    assert address(engine.empty((8, 8), np.float32)) != where
    del view
    assert address(engine.empty((8, 8), np.float32)) == where


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40), st.booleans()), max_size=40))
def test_no_two_live_arrays_share_memory(script):
    """Arrays are made, and some forgotten; every live one keeps what was written into it."""
    engine, live = Engine(1), {}
    for key, size, forget in script:
        live.pop(key, None)
        if not forget:
            live[key] = engine.empty((size,), np.float64)
            live[key][:] = key
        assert all((array == k).all() for k, array in live.items())


def test_free_memory_of_sizes_no_longer_used_is_let_go():
    engine = Engine(1)
    a = engine.empty((1000,), np.uint8)
    del a
    held = [engine.empty((size,), np.uint8) for size in (300, 400, 500)]
    assert 1064 not in engine._free
    assert engine._owned == sum(array.size + 64 for array in held)


def test_arrays_are_aligned_whole_and_of_the_kind_asked_for():
    engine = Engine(1)
    for dtype in (np.float32, np.float64):
        a = engine.empty((3, 5, 7), dtype)
        assert address(a) % 64 == 0
        assert a.flags.c_contiguous
        assert a.flags.writeable
        assert (a.shape, a.dtype) == ((3, 5, 7), dtype)


def test_a_border_is_zero_also_in_used_memory():
    engine = Engine(1)
    for _ in range(2):
        whole, inside = engine.bordered((2, 3, 4, 5), 2, np.float64)
        inside[...] = 1
        assert whole.sum() == inside.size
        assert whole.shape == (2, 7, 8, 5)
        whole[...] = 9
        del whole, inside
    whole, inside = engine.bordered((2, 3, 4, 5), 0, np.float64)
    assert whole.shape == inside.shape


@given(st.integers(1, 5), st.integers(0, 17))
def test_shares_cover_the_work_once_in_order(threads, n):
    engine, shares = Engine(threads), {}
    engine.share(lambda thread, start, stop: shares.__setitem__(thread, (start, stop)), n)
    covered = [k for thread in sorted(shares) for k in range(*shares[thread])]
    assert covered == list(range(n))
    assert max(shares) < threads


def test_a_failure_on_any_thread_reaches_the_caller_and_blas_gets_its_threads_back():
    engine, before = Engine(2), blas_threads()

    def work(thread, start, stop):
        assert set(blas_threads()) == {1}
        if thread == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.share(work, 2)
    assert blas_threads() == before


def test_a_failure_waits_for_the_others():
    """A share that went on behind the caller's back would write into memory that the next one uses."""
    engine, done = Engine(3), []

    def work(thread, start, stop):
        if thread == 0:
            raise KeyboardInterrupt
        time.sleep(0.05)
        done.append(thread)

    with pytest.raises(KeyboardInterrupt):
        engine.share(work, 3)
    assert sorted(done) == [1, 2]


def test_blas_gets_its_threads_back_from_the_last_of_two_engines():
    with threadpool_limits(2, "blas"):
        inside, leave = threading.Event(), threading.Event()
        slow = threading.Thread(target=Engine(2).share, args=(lambda *_: inside.set() or leave.wait(5), 2))
        slow.start()
        inside.wait(5)
        second = threading.Thread(target=Engine(2).share, args=(lambda *_: leave.set() or time.sleep(0.05), 2))
        second.start()
        slow.join()
        second.join()
        assert set(blas_threads()) == {2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_and_a_copy_have_threads_of_their_own():
    engine = Engine(2)
    engine.share(lambda *_: None, 2)
    if (child := os.fork()) == 0:
        signal.alarm(5)
        shares = []
        engine.share(lambda *share: shares.append(share), 2)
        os._exit(len(shares) != 2)
    assert os.waitpid(child, 0)[1] == 0
    assert pickle.loads(pickle.dumps(engine)).threads == 2


def test_an_engine_serves_one_net_at_a_time():
    engine = Engine(1)
    with engine.serving(), pytest.raises(RuntimeError, match="serves one net at a time: give each thread an Engine"):  # noqa: SIM117
        with engine.serving():
            pass
    with engine.serving():
        pass


def test_threads_end_with_their_engine():
    before = set(threading.enumerate())
    engine = Engine(4)
    engine.share(lambda *_: None, 4)
    mine = set(threading.enumerate()) - before
    assert mine
    del engine
    gc.collect()
    for thread in mine:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in mine)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_that_is_none_is_refused(threads):
    with pytest.raises(ValueError, match="threads must be at least 1"):
        Engine(threads)
