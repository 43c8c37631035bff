"""Which module of arrays a machine can use, and the sentence for each way in which a GPU can be missing."""

import re
import sys
import types

import numpy as np
import pytest

from refopt import array_module, probe


class Wheel:
    def __init__(self, name):
        self.name = name


class CUDARuntimeError(RuntimeError):
    pass


@pytest.fixture
def install(monkeypatch):
    """Put a CuPy into this machine, or take it away: install(wheels, driver=..., gpu=..., broken=...)."""

    def put(*wheels, driver=13000, gpu=False, broken=None, error=OSError, count="cudaErrorNoDevice"):
        def get_device_count():
            raise CUDARuntimeError(f"{count}: no such thing")

        def opens(library):
            if library == broken:
                raise error("no such library")

        def ones(shape, dtype=np.float64):
            opens("headers" if dtype == np.float16 else "product")
            return np.ones(shape, dtype)

        cupy = types.ModuleType("cupy")
        cupy.is_available = lambda: gpu
        runtime = types.SimpleNamespace(
            driverGetVersion=lambda: driver, runtimeGetVersion=lambda: 13000, getDeviceCount=get_device_count,
            CUDARuntimeError=CUDARuntimeError,
        )  # fmt: skip
        nvrtc = types.SimpleNamespace(getVersion=lambda: opens("nvrtc"))
        cupy.cuda = types.SimpleNamespace(runtime=runtime, nvrtc=nvrtc)
        cupy.ones = ones
        monkeypatch.setattr(probe, "distributions", lambda: [Wheel(name) for name in ("numpy", None, *wheels)])
        monkeypatch.setitem(sys.modules, "cupy", cupy if wheels else None)  # None makes the import fail
        monkeypatch.setitem(sys.modules, "cupy.cublas", None if broken == "cublas" else types.ModuleType("cublas"))
        for cached in probe.gpu_problem, probe.say_once:
            cached.cache_clear()
        return cupy

    yield put
    for cached in probe.gpu_problem, probe.say_once:
        cached.cache_clear()


BROKEN = {"gpu": True, "broken": "headers", "error": CUDARuntimeError}
CASES = {
    "not installed": ([], {}, r"^CuPy is not installed: install refopt\[gpu\]"),
    "two wheels": (["cupy-cuda12x", "cupy-cuda13x"], {"gpu": True}, r"\(cupy-cuda12x, cupy-cuda13x\): uninstall all"),
    "no driver": (["cupy-cuda13x"], {"driver": 0}, "no NVIDIA driver"),
    "old driver": (["cupy-cuda13x"], {"driver": 12080}, "CUDA 12, CuPy needs 13: update it, or use cupy-cuda12x$"),
    "no device": (["cupy-cuda13x"], {}, "no visible GPU: check CUDA_VISIBLE_DEVICES$"),
    "no compiler": (["cupy-cuda13x"], {"gpu": True, "broken": "nvrtc"}, r"^NVRTC .* the wheel nvidia-cuda-nvrtc, "),
    "no headers": (["cupy-cuda13x"], {"gpu": True, "broken": "headers"}, "^the CUDA headers .* nvidia-cuda-runtime, "),
    "no cuBLAS": (["cupy-cuda13x"], {"gpu": True, "broken": "cublas"}, "^cuBLAS .*Error.: install.* nvidia-cublas, "),
    "no products": (["cupy-cuda13x"], {"gpu": True, "broken": "product"}, "^a product .* nvidia-cublas, for CUDA 13$"),
    "a dead GPU": (["cupy-cuda13x"], BROKEN, r"^the GPU does not work \(no such library\): see nvidia-smi"),
    "a full GPU": (["cupy-cuda13x"], BROKEN | {"error": MemoryError}, r"^the GPU does not work \(no such library\)"),
    "a dead driver": (["cupy-cuda13x"], {"count": "cudaErrorUnknown"}, r"^the GPU does not work \(cudaErrorUnknown: "),
}


@pytest.mark.parametrize("case", CASES)
def test_where_no_gpu_works_gpu_raises_one_sentence_and_auto_says_it_once_and_takes_numpy(case, install, capsys):
    wheels, machine, sentence = CASES[case]
    install(*wheels, **machine)
    with pytest.raises(RuntimeError, match=sentence) as caught:
        array_module("gpu")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""
    assert array_module("auto") is array_module("auto") is np
    said = capsys.readouterr()  # once
    assert said.out == ""
    assert re.fullmatch(rf"refopt: computing on the CPU \({re.escape(str(caught.value))}\)\n", said.err)


@pytest.mark.parametrize("device", ["gpu", "auto"])
def test_where_a_gpu_works_it_is_taken_without_a_word(device, install, capsys):
    cupy = install("cupy-cuda13x", gpu=True)
    assert array_module(device) is cupy
    assert capsys.readouterr().err == ""


def test_cpu_never_asks_for_a_gpu(install, capsys):
    install("cupy-cuda12x", "cupy-cuda13x")
    assert array_module("cpu") is np
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("device", ["cuda", "GPU", "", None])
def test_another_device_is_refused(device):
    with pytest.raises(ValueError, match=rf"^device must be 'cpu', 'gpu' or 'auto', got {device!r}$"):
        array_module(device)
