"""CPU or GPU: the module of arrays that a word stands for, and one sentence where no GPU can be used."""

from __future__ import annotations

import functools
import sys
from importlib import import_module
from importlib.metadata import distributions
from types import ModuleType

import numpy as np


def array_module(device: str) -> ModuleType:
    """Return numpy for "cpu", cupy for "gpu", and for "auto" cupy where a GPU works, else numpy.

    Raises
    ------
    RuntimeError
        If "gpu" is asked for and cannot be used: one sentence says what is missing and what to install.
    ValueError
        If `device` is none of the three.
    """
    if device not in ("cpu", "gpu", "auto"):
        raise ValueError(f"device must be 'cpu', 'gpu' or 'auto', got {device!r}")
    if device == "cpu":
        return np
    problem = gpu_problem()
    if problem is None:
        return sys.modules["cupy"]
    if device == "gpu":
        raise RuntimeError(problem)
    say_once(f"refopt: computing on the CPU ({problem})")
    return np


@functools.cache
def say_once(sentence: str) -> None:
    """Print a sentence on stderr, the first time it is to be said."""
    print(sentence, file=sys.stderr)


@functools.cache
def gpu_problem() -> str | None:
    """Why no GPU can be used, as one sentence with its remedy, or None if one works. Asked once, never at import."""
    wheels = sorted({d.name for d in distributions() if (d.name or "").startswith("cupy-cuda") or d.name == "cupy"})
    if len(wheels) > 1:
        return f"several CuPy wheels overwrite each other ({', '.join(wheels)}): uninstall all but one"
    try:
        import cupy  # noqa: PLC0415  (optional, and slow)
    except ImportError:
        return "CuPy is not installed: install refopt[gpu] (cupy-cuda13x), or use device 'cpu'"
    driver, needed = cupy.cuda.runtime.driverGetVersion() // 1000, cupy.cuda.runtime.runtimeGetVersion() // 1000
    broken = "the GPU does not work ({}): see nvidia-smi, or use device 'cpu'".format
    if not cupy.is_available():
        if driver == 0:
            return "CuPy is installed, but there is no NVIDIA driver: install one, or use device 'cpu'"
        if driver < needed:
            return (
                f"the NVIDIA driver supports CUDA {driver}, CuPy needs {needed}: update it, or use cupy-cuda{driver}x"
            )
        try:
            cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            if "cudaErrorNoDevice" not in str(error):
                return broken(error)
        return "there is an NVIDIA driver, but no visible GPU: check CUDA_VISIBLE_DEVICES"
    checks = {  # each opens one library for the first time; they fail with unrelated types of exceptions
        "NVRTC": ("nvidia-cuda-nvrtc", cupy.cuda.nvrtc.getVersion),
        "the CUDA headers": ("nvidia-cuda-runtime", lambda: cupy.ones(2, np.float16) + 1),  # needs cuda_fp16.h
        "cuBLAS": ("nvidia-cublas", lambda: import_module("cupy.cublas")),
        "a product by cuBLAS": ("nvidia-cublas", lambda: cupy.ones((2, 2)) @ cupy.ones((2, 2))),
    }
    for what, (wheel, check) in checks.items():
        try:
            check()
        except Exception as error:
            if isinstance(error, (cupy.cuda.runtime.CUDARuntimeError, MemoryError)):
                return broken(error)
            name = f"{wheel}-cu{needed}" if needed < 13 else wheel
            return f"{what} cannot be used ({type(error).__name__}): install the wheel {name}, for CUDA {needed}"
    return None
