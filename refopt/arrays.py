"""NumPy or CuPy: the one file that knows there are two kinds of arrays.

Every formula of this project is written once. It asks `namespace(x)` for the module its array comes
from and uses that module's functions, so the same line runs on a CPU and on a GPU. Scalars that come
from data (losses, norms, step sizes) stay 0-d arrays on the device: reading one would make the host
wait for the GPU.

Shapes: n is the length of a flat vector.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import ContextVar, copy_context
from types import ModuleType
from typing import Any

import numpy as np

from . import gpu

Array = Any  # numpy.ndarray or cupy.ndarray: the two share no base class
Scalar = Any  # a 0-d array, or a NumPy scalar, of its vector's dtype

ROW = 512  # elements that `dot` adds in float32
TILE = 1 << 18  # elements: 1 MB of float32; smaller ones cost more in hand-overs between threads than the cache gains
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = ContextVar("threads", default=CORES)  # that tiles may be computed on: what a run was given
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def namespace(x: Array) -> ModuleType:
    """Return the array module of `x` (numpy, cupy): the top-level module its class was defined in.

    (What is no array, but stands for one in a formula, names its own: `gpu.Term`.)
    """
    return getattr(x, "xp", None) or sys.modules[type(x).__module__.partition(".")[0]]


def to_host(x: Array) -> np.ndarray:
    """Return `x` as a NumPy array; from a GPU this copies, and waits for the device."""
    return x if isinstance(x, np.ndarray) else x.get() if hasattr(x, "get") else np.asarray(x)


def to_device(x: Any, like: Array) -> Array:
    """Return `x` as an array on the device of `like`, of its own dtype."""
    return namespace(like).asarray(x)


def dot(a: Array, b: Array) -> Scalar:
    """Inner product <a, b> of two vectors (n,), as a scalar of their dtype.

    A float32 vector is cut into rows of 512: BLAS sums each in float32, and the rows are added in float64. So
    the error does not grow with n: at most 3e-5 of <|a|, |b|>, in practice below 1e-6, and a rule may divide by a
    difference of nearby gradients. (All in float64 would take five times as long, all in float32 just as long.)
    """
    if gpu.has_kernels(xp := namespace(a)):
        return gpu.dots(a, b, [slice(None)], xp)[0]
    if xp is not np:
        return (a * b).sum(dtype=np.float64).astype(a.dtype)
    if a.dtype == np.float64:
        return np.dot(a, b)
    rest = a.size - a.size % ROW
    rows = np.vecdot(a[:rest].reshape(-1, ROW), b[:rest].reshape(-1, ROW))
    return a.dtype.type(rows.sum(dtype=np.float64) + np.dot(a[rest:], b[rest:]))


def dots(a: Array, b: Array, parts: Sequence[slice]) -> Array:
    """Inner products (B,) of the parts of two vectors (n,), as accurate as `dot`; on a GPU in one pass."""
    xp = namespace(a)
    return gpu.dots(a, b, parts, xp) if gpu.has_kernels(xp) else xp.stack([dot(a[part], b[part]) for part in parts])


def spread(values: Array, parts: Sequence[slice], x: Array) -> Array:
    """Return the vector like x (n,) that has values[k] on the k-th part, and 0 on none."""
    xp = namespace(x)
    if gpu.has_kernels(xp):
        return gpu.spread(values, parts, x, xp)
    whole = xp.zeros_like(x)
    for part, value in zip(parts, values, strict=True):
        whole[part] = value
    return whole


def ratio(a: Scalar, b: Scalar) -> Scalar:
    """Return a / b, and 0 where b is 0: a step size along a zero gradient is no step. Free of branches; a is finite."""
    return a / (b + (b == 0)) * (b != 0)


def choose(condition: Array, a: Array, b: Array) -> Array:
    """Return a where the condition holds, else b; all (n,), finite. (`where` is slow where chance decides.)"""
    return condition * a + ~condition * b


def all_finite(x: Array) -> Scalar:
    """Whether no element of `x` is infinite or NaN, as a 0-d boolean.

    A finite sum of squares proves it in one pass, by BLAS; only one that overflowed needs the second look.
    """
    xp = namespace(x)
    if xp is np:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.isfinite(np.dot(x, x)) or np.isfinite(x).all()
    return xp.isfinite(x).all()


def elementwise(formula: Callable[..., Any]) -> Callable[..., Any]:
    """Run a pure element-wise formula in cache-size tiles on the cores of a CPU, as one kernel on a GPU.

    The formula takes vectors (n,) and scalars and returns a vector (n,) or a tuple of them. Written over
    whole vectors, one with five operations moves five temporaries through main memory; in tiles none
    of them leaves the cache. The results are the same, bit for bit.

    `reuse`: arguments that nobody reads again. A long vector's first results are written over them, in this order.
    """

    @functools.wraps(formula)
    def run(*arguments: Any, reuse: Sequence[Array] = ()) -> Any:
        n = max(getattr(a, "size", 1) for a in arguments)
        xps = {namespace(a) for a in arguments if hasattr(a, "ndim")} - {np}
        if n <= TILE or xps:
            fast = any(map(gpu.has_kernels, xps))
            return gpu.fused(formula, arguments, *xps) if fast else formula(*arguments)

        def fill(tile: slice) -> None:
            results = formula(*parts(arguments, tile))
            results = results if isinstance(results, tuple) else (results,)
            results = [r if r.base is None else r.copy() for r in results]  # an argument handed through: it may go
            for target, result in zip(whole, results, strict=True):
                target[tile] = result

        kinds = formula(*parts(arguments, slice(1)))
        kinds, several = (kinds, True) if isinstance(kinds, tuple) else ((kinds,), False)
        whole = (*reuse, *(np.empty(n, kind.dtype) for kind in kinds[len(reuse) :]))
        in_tiles(n, fill)
        return whole if several else whole[0]

    return run


def parts(arguments: Sequence[Any], tile: slice) -> list[Any]:
    """Return a formula's arguments for a tile: slices of its vectors, and its scalars."""
    return [a[tile] if getattr(a, "ndim", 0) else a for a in arguments]


def deferred(formula: Callable[..., Any]) -> Callable[..., Any]:
    """Run a pure element-wise formula when its result, a long displacement, is added to x: one pass in place of two.

    Until then the arguments must stay as they are. Short vectors, and those of a GPU, are computed at once.
    """
    at_once = elementwise(formula)

    @functools.wraps(formula)
    def run(*arguments: Any) -> Any:
        v = next(a for a in arguments if getattr(a, "ndim", 0))
        return Deferred(formula, arguments, v) if namespace(v) is np and v.size > TILE else at_once(*arguments)

    return run


class Deferred(np.lib.mixins.NDArrayOperatorsMixin):
    """A vector (n,) that is not computed yet: a slice of it is, and any operation on it has all."""

    xp, ndim = np, 1

    def __init__(self, formula: Callable[..., Any], arguments: Sequence[Any], like: Array):
        self.formula, self.arguments = formula, arguments
        self.shape, self.size, self.dtype = like.shape, like.size, like.dtype

    def __getitem__(self, tile: slice) -> Array:
        return self.formula(*parts(self.arguments, tile))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*(np.asarray(a) if isinstance(a, Deferred) else a for a in inputs), **options)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return elementwise(self.formula)(*self.arguments).astype(dtype or self.dtype, copy=False)


@elementwise
def moved(x: Array, before: Array) -> tuple[Array, Array]:
    """Return a copy of x, and the move to it from where it was before, all (n,)."""
    return +x, x - before


def add_to(x: Array, d: Array) -> None:
    """Add d to x in place, both (n,); d may be deferred."""
    if namespace(x) is not np or x.size <= TILE:
        x += d
    else:
        in_tiles(x.size, lambda tile: np.add(x[tile], d[tile], out=x[tile]))


def in_tiles(n: int, work: Callable[[slice], Any]) -> None:
    """Call work(tile) for slices of at most TILE elements that cover range(n), on up to four cores at a time."""
    keep_freed_memory()
    tiles = iter([slice(start, min(start + TILE, n)) for start in range(0, n, TILE)])

    def some() -> None:
        for tile in tiles:  # each thread takes the next one
            work(tile)

    others = [helpers().submit(copy_context().run, some) for _ in range(min(4, THREADS.get()) - 1)]  # 4 fill the bus
    try:
        some()
    finally:  # a helper that has not begun finds nothing left, and might wait for this very thread
        others = [other for other in others if not other.cancel()]
        wait(others)
    for other in others:
        other.result()


@functools.cache
def helpers() -> ThreadPoolExecutor:
    """Return the threads that help this one; they start when first needed."""
    return ThreadPoolExecutor(CORES, thread_name_prefix="refopt")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=helpers.cache_clear)  # threads do not survive a fork


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next array: a fresh page costs more than most of what is done to it.

    glibc returns blocks over 128 KB to the system, and fetches and clears new ones every time. Elsewhere this does
    nothing.
    """
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        if libc.mallopt(M_MMAP_THRESHOLD, 1 << 30) or libc.mallopt(M_MMAP_THRESHOLD, 1 << 25):  # older ones: 32 MB
            libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
