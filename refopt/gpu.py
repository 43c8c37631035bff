"""What a GPU computes in kernels of its own: inner products, and element-wise formulas in one pass.

On a GPU every operation of NumPy's kind is a pass through memory: a formula of ten operations on n numbers reads and
writes thirty times n. So `fused` runs the formula once on `Term`s, which do not compute but write down what is asked
of them, one line of C for each operation, and makes one kernel of the lines: it reads every argument once and writes
every result once. The text of the rule stays the one text; numbers in it are arguments of the kernel, so a rate that
changes from step to step needs no new one. `dots` adds in float64 and has no temporary.

Products and sums are not contracted to fused multiply-adds: a formula gives the bits it gives on a CPU (but numbers
below the smallest normal one are flushed to 0).

A kernel runs on all i of range(n) in strides of the number of threads. Shapes: n is the length of a flat vector.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

THREADS, MOST_BLOCKS = 256, 1056  # eight blocks for each of the 132 multiprocessors of an H100
C_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}

PRELUDE = """
template<typename T, int V> struct alignas(sizeof(T) * V) Vec { T at[V]; };
#define FOR_EACH(t, total) \\
    for (long long t = blockIdx.x * 256LL + threadIdx.x; t < (total); t += gridDim.x * 256LL)
"""

DOTS = """
__device__ double sum_of_block(double mine) {
    __shared__ double sums[256];
    sums[threadIdx.x] = mine;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    return sums[threadIdx.x];  // the whole in thread 0, which nobody else reads
}

/* Row y of the grid has the y-th part of a and b, from bounds[2y] to bounds[2y + 1]. Each block writes the sum of its
   share of the products; then one block for each part adds those, in order, to out[y]. */
template<typename T>
__global__ void products_of_blocks(const T* a, const T* b, const long long* bounds, double* sums) {
    double mine = 0;
    long long start = bounds[2 * blockIdx.y], size = bounds[2 * blockIdx.y + 1] - start;
    FOR_EACH(i, size) mine += (double)a[start + i] * b[start + i];
    double sum = sum_of_block(mine);
    if (threadIdx.x == 0) sums[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

template<typename T> __global__ void sum_of_blocks(const double* sums, T* out, int blocks) {
    double mine = 0;
    for (int i = threadIdx.x; i < blocks; i += 256) mine += sums[blockIdx.y * blocks + i];
    double sum = sum_of_block(mine);
    if (threadIdx.x == 0) out[blockIdx.y] = (T)sum;
}

template<typename T> __global__ void spread(const T* values, const long long* bounds, T* out) {
    long long start = bounds[2 * blockIdx.y], size = bounds[2 * blockIdx.y + 1] - start;
    FOR_EACH(i, size) out[start + i] = values[blockIdx.y];
}
"""


def has_kernels(xp: Any) -> bool:
    """Whether the arrays of a module are CuPy's."""
    return xp.__name__ == "cupy"


@functools.cache
def kernel(source: str, name: str) -> Callable[[tuple[int, ...], tuple[int], tuple[Any, ...]], None]:
    """Return the kernel of a name, or instance of a template, to be called as kernel(grid, block, arguments)."""
    import cupy  # noqa: PLC0415  (optional)

    module = cupy.RawModule(code=source, options=("-std=c++17", "--fmad=false"), name_expressions=(name,))
    return module.get_function(name)


@contextmanager
def products(tf32: bool) -> Iterator[None]:
    """Have cuBLAS multiply float32 in TF32, or in full; CuPy's own setting, that of CUPY_TF32, comes back after it."""
    import cupy._core as core  # noqa: PLC0415  (optional)
    from cupy._core import _routines_linalg as kinds  # noqa: PLC0415

    before = core.get_compute_type(np.float32)
    core.set_compute_type(np.float32, kinds.COMPUTE_TYPE_TF32 if tf32 else kinds.COMPUTE_TYPE_FP32)
    try:
        yield
    finally:
        core.set_compute_type(np.float32, before)


def launch(source: str, name: str, grid: tuple[int, ...], *arguments: Any) -> None:
    """Run a kernel of a source, behind the PRELUDE, on a grid of blocks of THREADS threads; an int is C's int."""
    values = tuple(np.int32(a) if isinstance(a, int) else a for a in arguments)
    kernel(PRELUDE + source, name)(grid, (THREADS,), values)


def blocks(n: int) -> tuple[int]:
    """Return a grid for n independent pieces of work."""
    return (max(1, min(MOST_BLOCKS, -(-n // THREADS))),)


@functools.lru_cache(maxsize=64)
def bounds(parts: tuple[tuple[int, int], ...], device: int, xp: Any) -> tuple[tuple[int, int], Any]:
    """Return a grid with a row of blocks for each part, and the parts' ends (2B,), on the device."""
    longest = max(end - start for start, end in parts)
    return (min(blocks(longest)[0], max(1, 4 * MOST_BLOCKS // len(parts))), len(parts)), xp.asarray(np.ravel(parts))


def rows(parts: Sequence[slice], n: int, xp: Any) -> tuple[tuple[int, int], Any]:
    """Return `bounds` of the parts of range(n): made once, for a host that waits for no device."""
    return bounds(tuple(part.indices(n)[:2] for part in parts), xp.cuda.runtime.getDevice(), xp)


def dots(a: Any, b: Any, parts: Sequence[slice], xp: Any) -> Any:
    """Inner products (B,) of the parts of two vectors (n,): products and sums in float64, in a fixed order."""
    (grid, ends), name = rows(parts, a.size, xp), C_TYPES[a.dtype]
    sums, out = xp.empty(grid, np.float64), xp.empty(len(parts), a.dtype)
    launch(DOTS, f"products_of_blocks<{name}>", grid, *map(xp.ascontiguousarray, (a, b)), ends, sums)
    launch(DOTS, f"sum_of_blocks<{name}>", (1, len(parts)), sums, out, grid[0])
    return out


def spread(values: Any, parts: Sequence[slice], x: Any, xp: Any) -> Any:
    """Return the vector like x (n,) that has values[k] on the k-th part, and 0 on none."""
    (grid, ends), out = rows(parts, x.size, xp), xp.zeros_like(x)
    launch(DOTS, f"spread<{C_TYPES[x.dtype]}>", grid, xp.ascontiguousarray(values), ends, out)
    return out


# --- formulas in one pass ------------------------------------------------------------------------------------------


class Kernel:
    """The lines of a kernel that is being written, and its arguments."""

    def __init__(self, dtype: np.dtype):
        self.dtype, self.lines, self.parameters, self.values = dtype, list[str](), list[str](), list[Any]()

    def term(self, expression: str, kind: str = "T") -> Term:
        """Return the term that a new line computes; kind is T, or bool."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"{kind} {name} = {expression};")
        return Term(self, name, kind)

    def argument(self, x: Any) -> Term:
        """Return the term of an argument: an element of a vector, or a number, on the device or on the host."""
        name = f"a{len(self.values)}"
        number = not hasattr(x, "ndim") or isinstance(x, (np.generic, np.ndarray))  # on the host
        self.values.append(self.dtype.type(x) if number else x)
        if isinstance(self.values[-1], np.generic):
            self.parameters.append(f"T {name}")
            return Term(self, name, "T")
        if x.dtype not in (self.dtype, np.bool_) or x.ndim > 1:
            raise TypeError(f"a formula in {self.dtype} takes vectors and numbers of it, got {x.dtype} {x.shape}")
        kind = "bool" if x.dtype == np.bool_ else "T"
        self.parameters.append(f"const {kind}* {name}")
        return self.term(f"{name}[{'i' if x.ndim else '0'}]", kind)


def _binary(pattern: str, kind: str = "T", flip: bool = False) -> Callable[[Term, Any], Term]:
    def operation(self: Term, other: Any) -> Term:
        a, b = self, other if isinstance(other, Term) else self.kernel.argument(other)
        return self.kernel.term(pattern.format(*(b, a) if flip else (a, b)), kind)

    return operation


class Term:
    """The i-th element of a vector, or a number, in a kernel that is being written."""

    ndim, size = 1, 1

    def __init__(self, kernel: Kernel, name: str, kind: str):
        self.kernel, self.name, self.kind, self.xp = kernel, name, kind, Functions

    def __str__(self) -> str:
        return self.name

    __add__, __radd__ = _binary("{} + {}"), _binary("{} + {}", flip=True)
    __sub__, __rsub__ = _binary("{} - {}"), _binary("{} - {}", flip=True)
    __mul__, __rmul__ = _binary("{} * {}"), _binary("{} * {}", flip=True)
    __truediv__, __rtruediv__ = _binary("{} / {}"), _binary("{} / {}", flip=True)
    __lt__, __le__ = _binary("{} < {}", "bool"), _binary("{} <= {}", "bool")
    __gt__, __ge__ = _binary("{} > {}", "bool"), _binary("{} >= {}", "bool")
    __eq__, __ne__ = _binary("{} == {}", "bool"), _binary("{} != {}", "bool")  # type: ignore[assignment]
    __and__, __or__ = _binary("{} && {}", "bool"), _binary("{} || {}", "bool")
    __hash__ = None  # type: ignore[assignment]

    def __pos__(self) -> Term:
        return self.kernel.term(f"{self}")

    def __invert__(self) -> Term:
        return self.kernel.term(f"!{self}", "bool")

    def __neg__(self) -> Term:
        return self.kernel.term(f"-{self}")

    def __abs__(self) -> Term:
        return self.kernel.term(f"fabs({self})")

    def __pow__(self, power: int) -> Term:
        if power != 2:
            raise TypeError(f"a formula may square, got the power {power}: write the product")
        return self * self


class Functions:
    """The functions that formulas take from `namespace(x)`, where x is a term."""

    abs = staticmethod(abs)

    @staticmethod
    def sqrt(x: Term) -> Term:
        return x.kernel.term(f"sqrt({x})")

    @staticmethod
    def where(condition: Term, x: Any, y: Any) -> Term:
        x, y = (v if isinstance(v, Term) else condition.kernel.argument(v) for v in (x, y))
        return condition.kernel.term(f"{condition} ? {x} : {y}")

    @staticmethod
    def maximum(x: Any, y: Any) -> Term:
        """The larger one; NaN if one is NaN, as NumPy has it and C has not."""
        return _binary("{0} > {1} || {0} != {0} ? {0} : {1}")(*((x, y) if isinstance(x, Term) else (y, x)))

    @staticmethod
    def minimum(x: Any, y: Any) -> Term:
        return _binary("{0} < {1} || {0} != {0} ? {0} : {1}")(*((x, y) if isinstance(x, Term) else (y, x)))

    @staticmethod
    def clip(x: Term, low: Any, high: Any) -> Term:
        return Functions.minimum(Functions.maximum(x, low), high)

    @staticmethod
    def full_like(x: Term, value: float) -> Term:
        return x.kernel.argument(value)

    @staticmethod
    def zeros_like(x: Term) -> Term:
        return x.kernel.term("0")

    @staticmethod
    def ones_like(x: Term) -> Term:
        return x.kernel.term("1")


def fused(formula: Callable[..., Any], arguments: tuple[Any, ...], xp: Any) -> Any:
    """Run an element-wise formula of vectors (n,) and scalars as one kernel; what it hands through is not copied."""
    vectors = [a for a in arguments if getattr(a, "ndim", 0)]
    written = Kernel(np.result_type(*(a.dtype for a in vectors if a.dtype != np.bool_)))
    terms = [written.argument(xp.ascontiguousarray(a) if a.ndim else a) if hasattr(a, "ndim") else a for a in arguments]
    results = formula(*terms)
    parts = results if isinstance(results, tuple) else (results,)
    handed = {str(term): a for term, a in zip(terms, arguments, strict=True) if isinstance(term, Term)}
    outputs: dict[str, Any] = {}
    for k, part in enumerate(parts):
        if str(part) not in handed | outputs:
            outputs[str(part)] = xp.empty(vectors[0].size, np.bool_ if part.kind == "bool" else written.dtype)
            written.parameters.append(f"{part.kind}* o{k}")
            written.lines.append(f"o{k}[i] = {part};")
    if outputs:
        body = "\n    ".join(written.lines)
        source = f"""typedef {C_TYPES[written.dtype]} T;
extern "C" __global__ void formula({", ".join(written.parameters)}, int n) {{
    FOR_EACH(i, n) {{
    {body}
    }}
}}"""
        n = vectors[0].size
        launch(source, "formula", blocks(n), *written.values, *outputs.values(), n)
    whole = tuple((handed | outputs)[str(part)] for part in parts)
    return whole if isinstance(results, tuple) else whole[0]
