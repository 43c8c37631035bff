"""How a CPU computes the hot operations of a CNN: its threads, its cache, and memory that is used again.

An engine belongs to whoever trains, and goes with it; without one, nets compute by their plain text (`conv`, `ops`).
It hands out three things:

Memory. A step of a CNN fills some hundred megabytes, and fresh memory costs a page fault for every 4 KB. `empty`
gives the memory of an array that nobody refers to any more; which is known because every array and view of it
keeps its `Lease` alive, and its end returns the chunk.

Threads. NumPy lets go of the interpreter in copies and matrix products. So `share` has each of a few Python threads
take its part of the batch, with a BLAS of one thread; elsewhere BLAS keeps its own threads. A hand-over costs some
75 µs: convolutions are shared, batch norm and pooling are not.

Tiles. What is computed in pieces stays in the cache between the operations on it: see `tiles`.

An engine serves one run at a time; two runs in two threads have one each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from math import prod
from threading import Lock
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from refopt.arrays import CORES, Array

from . import conv, ops, tiled_conv, tiled_norm
from .losses import softmax_cross_entropy
from .tensor import Tensor

ALIGNMENT = 64


class Lease:
    """A chunk of memory, lent to an array and all of its views; it comes back when the last of them is gone."""

    __slots__ = ("__array_interface__", "chunk", "home")

    def __init__(self, chunk: np.ndarray, home: dict[int, list[np.ndarray]], size: int):
        self.chunk, self.home = chunk, home
        start = -chunk.ctypes.data % ALIGNMENT
        self.__array_interface__ = chunk[start : start + size].__array_interface__

    def __del__(self):
        self.home.setdefault(self.chunk.nbytes, []).append(self.chunk)


class _Blas:
    """The BLAS libraries of this process, and how many are in need of their having one thread."""

    def __init__(self) -> None:
        self.lock, self.inside = Lock(), 0
        self.libraries: list[Any] | None = None
        self.before: list[int] = []

    @contextmanager
    def on_one_thread(self) -> Iterator[None]:
        """Give BLAS one thread, until the last who asked for it has left."""
        with self.lock:
            if self.libraries is None:
                self.libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            if self.inside == 0:
                self.before = [library.num_threads for library in self.libraries]
                for library in self.libraries:
                    library.set_num_threads(1)
            self.inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    for library, threads in zip(self.libraries, self.before, strict=True):
                        library.set_num_threads(threads)


BLAS = _Blas()


class Engine:
    """The CPU of one run.

    Parameters
    ----------
    threads : how many threads share long work; None takes one for each core this process may use. Results depend on
        their number by rounding alone, and not on anything else.
    """

    def __init__(self, threads: int | None = None):
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.threads = threads or CORES
        self._free: dict[int, list[np.ndarray]] = {}
        self._owned = 0
        self._scratch: dict[tuple[str, int], np.ndarray] = {}
        self._busy, self._process = Lock(), 0

    # memory

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of any content, in memory that may have been used before."""
        size = prod(shape) * np.dtype(dtype).itemsize
        free = self._free.get(size + ALIGNMENT)
        chunk = free.pop() if free else self._new(size + ALIGNMENT)
        return np.asarray(Lease(chunk, self._free, size)).view(dtype).reshape(shape)

    def _new(self, nbytes: int) -> np.ndarray:
        """Return a new chunk; if more lies free, of other sizes, than is in use, that is let go first."""
        free = sum(size * len(chunks) for size, chunks in list(self._free.items()))
        if 2 * free > self._owned:
            self._free.clear()
            self._owned -= free
        self._owned += nbytes
        return np.empty(nbytes, np.uint8)

    def bordered(self, shape: tuple[int, ...], border: int, dtype: Any) -> tuple[Array, Array]:
        """Return an array (N, H + 2 border, W + 2 border, C) that is 0 on its border, and its inside (N, H, W, C)."""
        n, h, w, c = shape
        whole = self.empty((n, h + 2 * border, w + 2 * border, c), dtype)
        whole[:, :border] = whole[:, border + h :] = 0
        whole[:, border : border + h, :border] = whole[:, border : border + h, border + w :] = 0
        return whole, whole[:, border : border + h, border : border + w]

    def scratch(self, name: str, thread: int, size: int, dtype: Any) -> Array:
        """Return a vector (size,) of any content, for one use within one operation of one thread."""
        held = self._scratch.get((name, thread))
        nbytes = size * np.dtype(dtype).itemsize
        if held is None or held.nbytes < nbytes:
            held = self._scratch[name, thread] = np.empty(nbytes, np.uint8)
        return held[:nbytes].view(dtype)

    # threads

    def __reduce__(self):
        """Threads and memory stay where they are: a copy, or another process, gets an engine like this one."""
        return Engine, (self.threads,)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Keep other threads out; RuntimeError if one is in."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("an engine serves one net at a time: give each thread an Engine() of its own")
        try:
            yield
        finally:
            self._busy.release()

    def share(self, work: Callable[[int, int, int], None], n: int) -> int:
        """Call work(thread, start, stop) on shares of range(n), one a thread, and wait; return how many there were."""
        parts = min(self.threads, n)
        if parts < 2:
            work(0, 0, n)
            return 1
        if self._process != os.getpid():  # the first time, or in a fork, which has no threads
            self._workers, self._process = ThreadPoolExecutor(self.threads - 1), os.getpid()
        bounds = [n * k // parts for k in range(parts + 1)]
        others: list[Future[None]] = []
        with BLAS.on_one_thread():
            try:
                others += (self._workers.submit(work, k, bounds[k], bounds[k + 1]) for k in range(1, parts))
                work(0, 0, bounds[1])
            finally:
                wait(others)
        for other in others:
            other.result()
        return parts

    # operations

    softmax_cross_entropy = staticmethod(softmax_cross_entropy)
    avg_pool2d = staticmethod(conv.avg_pool2d)

    def conv2d(self, x: Tensor, w: Tensor, b: Tensor | None, stride: int, padding: int) -> Tensor:
        """Return what `conv.conv2d` returns."""
        return tiled_conv.conv2d(x, w, b, stride, padding, self)

    def batch_norm_relu(  # noqa: PLR0917
        self, x: Tensor, gamma: Tensor, beta: Tensor, eps: float,
        relu: bool = False, plus: Tensor | None = None, given: tuple[Array, Array] | None = None,
    ) -> tuple[Tensor, Array, Array]:  # fmt: skip
        """Return what `ops.batch_norm_relu` returns."""
        if x.data.ndim == 4:
            return tiled_norm.batch_norm(x, gamma, beta, eps, self, relu, plus, given)
        return ops.batch_norm_relu(x, gamma, beta, eps, relu, plus, given)

    def max_pool2d(self, x: Tensor, size: int, stride: int, padding: int) -> Tensor:
        """Return what `conv.max_pool2d` returns."""
        if (size, stride, padding) == (2, 2, 0):
            return tiled_norm.max_pool2x2(x, self)
        return conv.max_pool2d(x, size, stride, padding)
