"""CUDA kernels on a CPU: g++ compiles them, and their threads run one after the other.

`kernel` stands in for `refopt.gpu.kernel` and takes arrays of `strict`. Threads of a block that meet at barriers are
coroutines: each runs until it waits, then the next one. So index arithmetic, order of summation and barriers are those
of a GPU; speed, and what threads do to each other without a barrier, are not.
"""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import strict

from nets.kernels import LOSS, WINDOWS
from nets.norm_kernels import NORM
from refopt.gpu import DOTS, PRELUDE

INSTANCES = {  # of the templates, all that is asked for
    PRELUDE + source: tuple(
        f"{name}<{T}{rest}>"
        for T, wide in (("float", 4), ("double", 2))
        for name, parameters in names.items()
        for rest in dict.fromkeys(parameters.format(V=V) for V in (1, wide))
    )
    for source, names in {
        DOTS: {"products_of_blocks": "", "sum_of_blocks": "", "spread": ""},
        LOSS: {"softmax_cross_entropy": ""},
        WINDOWS: {"im2col": ", {V}", "col2im": ", {V}", "max_pool": "", "mean_pool": "", "max_pool_gradient": "",
                  "mean_pool_gradient": ""},
        NORM: {"deviation_sums": ", {V}", "gradient_sums": ", {V}", "finish_statistics": "", "finish_gradients": "",
               "normalise": ", {V}", "normalise_gradient": ", {V}"},
    }.items()
}  # fmt: skip
HEAD = r"""
#include <cmath>
#include <cstdlib>
#include <tuple>
#include <ucontext.h>
#include <utility>
using std::fabs; using std::sqrt; using std::exp; using std::log; using std::fmax;
#define __global__ static
#define __device__ static inline
#define __shared__ static
#define __restrict__
struct Triple { unsigned x, y, z; };
static Triple threadIdx, blockIdx, blockDim, gridDim;
static ucontext_t scheduler, contexts[256], *self = nullptr;
static char stacks[256][1 << 15];
static void __syncthreads() {
    if (!self) abort();  // a thread at a barrier at which the first one of its block was not
    Triple mine = threadIdx;
    swapcontext(self, &scheduler);
    threadIdx = mine;
}
template<class F> struct Block {
    static F* body; static bool done;
    static void start() { (*body)(); done = true; swapcontext(self, &scheduler); }
    static void run(F& f, unsigned threads) {
        body = &f;
        unsigned waiting = 0;
        for (unsigned t = 0; t < threads; t++) {
            threadIdx = {t, 0, 0};
            if (t && !waiting) { self = nullptr; f(); continue; }  // the first one met no barrier
            getcontext(&contexts[t]);
            contexts[t].uc_stack.ss_sp = stacks[t]; contexts[t].uc_stack.ss_size = sizeof stacks[t];
            makecontext(&contexts[t], start, 0);
            self = &contexts[t]; done = false;
            swapcontext(&scheduler, self);
            waiting += !done;
        }
        if (waiting && waiting != threads) abort();
        while (waiting) {
            unsigned ended = 0;
            for (unsigned t = 0; t < threads; t++) {
                threadIdx = {t, 0, 0}; self = &contexts[t]; done = false;
                swapcontext(&scheduler, self);
                ended += done;
            }
            if (ended && ended != threads) abort();  // some left while others wait
            waiting -= ended;
        }
        self = nullptr;
    }
};
template<class F> F* Block<F>::body; template<class F> bool Block<F>::done;
template<class... A, size_t... I>
static void run(void (*f)(A...), unsigned x, unsigned y, unsigned threads, void** a, std::index_sequence<I...>) {
    gridDim = {x, y, 1}; blockDim = {threads, 1, 1};
    auto body = [&] { f(*(A*)a[I]...); };
    for (unsigned j = 0; j < y; j++) for (unsigned i = 0; i < x; i++) {
        blockIdx = {i, j, 0};
        Block<decltype(body)>::run(body, threads);
    }
}
template<class... A> static void run(void (*f)(A...), unsigned x, unsigned y, unsigned threads, void** a) {
    run(f, x, y, threads, a, std::index_sequence_for<A...>());
}
"""
ENTRY = 'extern "C" void entry_{k}(unsigned x, unsigned y, unsigned t, void** a) {{ run({name}, x, y, t, a); }}\n'
folder = tempfile.TemporaryDirectory()


@functools.cache
def library(source, names):
    """Return the compiled kernels of these names: a dict of functions of C."""
    text = HEAD + source.replace('extern "C" __global__', "__global__")
    text += "".join(ENTRY.format(k=k, name=name) for k, name in enumerate(names))
    file = Path(folder.name) / f"{abs(hash((source, names)))}.cpp"
    file.write_text(text)
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-w"]
    built = str(file.with_suffix(".so"))
    ended = subprocess.run(["g++", *flags, str(file), "-o", built], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    opened = ctypes.CDLL(built)
    return {name: getattr(opened, f"entry_{k}") for k, name in enumerate(names)}


def kernel(source, name):
    """Return a kernel as `refopt.gpu.kernel` does."""

    def run(grid, block, arguments):
        assert min(*grid, *block) > 0, "a grid of no blocks"
        strict.now().launches[name.partition("<")[0]] += 1
        held, pointers = [], []
        for argument in arguments:
            if isinstance(argument, strict.Array):
                assert argument.flags.c_contiguous, "a kernel was given an array that is not contiguous"
                held.append(ctypes.c_void_p(argument._host.ctypes.data))
            else:
                kinds = {np.int32: ctypes.c_int, np.float32: ctypes.c_float, np.float64: ctypes.c_double}
                held.append(kinds[type(argument)](argument))
            pointers.append(ctypes.cast(ctypes.pointer(held[-1]), ctypes.c_void_p))
        x, y = (*grid, 1)[:2]
        entry = library(source, INSTANCES.get(source, (name,)))[name]
        entry(x, y, block[0], (ctypes.c_void_p * len(pointers))(*pointers))

    return run
