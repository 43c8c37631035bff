"""CUDA without a GPU: every kernel compiled as on one, and the probe's sentences with the libraries really missing.

Needs CuPy and NVRTC. CuPy asks for the current device before it compiles, so its class for programs of NVRTC is used
itself; it is private: CuPy's minor version is pinned in refopt[gpu-test].
"""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shim
import strict
from test_contract import WAITS, batches, device_run, family

from refopt import RULES, gpu

pytestmark = [pytest.mark.needs("cupy"), pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).parents[1]
architectures = pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])


def build(source, names, architecture, method="cubin"):
    """Compile kernels as refopt.gpu.kernel does, and return what came out and the words of the assembler."""
    from cupy._core.core import assemble_cupy_compiler_options
    from cupy.cuda.compiler import _NVRTCProgram

    told = io.StringIO()
    program = _NVRTCProgram(source, "kernels.cu", name_expressions=names, method=method)
    options = [*assemble_cupy_compiler_options(("-std=c++17", "--fmad=false")), "-ftz=true", "--ptxas-options=-v"]
    built, _ = program.compile((*options, f"-arch={architecture}"), told)
    return built, told.getvalue()


def spills(told):
    """Bytes that each kernel spills into memory."""
    return [int(a) + int(b) for a, b in re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", told)]


@architectures
@pytest.mark.parametrize("source", shim.INSTANCES, ids=lambda source: re.findall(r"void (\w+)\(", source)[-1])
def test_every_kernel_compiles_and_keeps_all_in_registers(source, architecture):
    names = shim.INSTANCES[source]
    _, told = build(source, names, architecture)
    assert spills(told) == [0] * len(names)
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", told)]
    assert len(registers) == len(names)
    assert max(registers) <= 64, "four blocks of 256 threads on a multiprocessor, at least"


@architectures
def test_the_formula_of_every_rule_compiles(architecture, monkeypatch):
    """Those that a run of each asks for; all formulas of one precision as one program."""
    formulas = set()

    def kernel(source, name):
        if name == "formula":
            formulas.add(source)
        return lambda grid, block, arguments: None

    monkeypatch.setattr(gpu, "kernel", kernel)
    monkeypatch.setattr(gpu, "has_kernels", lambda xp: xp is strict)
    kinds = [kind for kind in RULES if kind.__name__ not in WAITS]
    for dtype in (np.float32, np.float64):
        formulas.clear()
        for kind in kinds:
            with np.errstate(all="ignore"):
                list(device_run(kind, family().to(strict, dtype), batches, strict.read))
        bodies = (source.removeprefix(gpu.PRELUDE) for source in sorted(formulas))
        whole = gpu.PRELUDE + "".join(
            body.replace("void formula(", f"void formula_{k}(") for k, body in enumerate(bodies)
        )
        _, told = build(whole, tuple(f"formula_{k}" for k in range(len(formulas))), architecture)
        assert spills(told) == [0] * len(formulas)
        assert len(formulas) >= 25


def test_wide_loads_are_wide():
    """A thread of im2col<float, 4> moves its four channels by one load and one store of 16 bytes."""
    source = next(source for source in shim.INSTANCES if "im2col" in source)
    for name, width in (
        ("im2col<float, 4>", "v4.f32"),
        ("im2col<double, 2>", "v2.f64"),
        ("col2im<float, 4>", "v4.f32"),
    ):
        text, _ = build(source, (name,), "compute_90", "ptx")
        text = text.decode() if isinstance(text, bytes) else text
        assert re.search(rf"ld\.global(\.nc)?\.{width}", text), name
        assert re.search(rf"st\.global\.{width}", text), name


def test_a_slip_in_a_kernel_is_found_with_its_line():
    from cupy.cuda.compiler import CompileException

    source = next(iter(shim.INSTANCES))
    with pytest.raises(CompileException, match=r"kernels.cu\(\d+\): error: .*undefined"):
        build(source.replace("sums[threadIdx.x] = mine;", "sums[threadIdx.x] = min_e;"), (), "sm_90")


def test_the_precision_of_products_comes_back_whatever_happens():
    """Of full precision: TF32 asks for a device."""
    from cupy import _core
    from cupy._core import _routines_linalg as kinds

    before = _core.get_compute_type(np.float32)
    with gpu.products(False):
        assert _core.get_compute_type(np.float32) == kinds.COMPUTE_TYPE_FP32 != before
    with pytest.raises(ZeroDivisionError), gpu.products(False):
        _ = 1 / 0
    assert _core.get_compute_type(np.float32) == before


# --- the probe -------------------------------------------------------------------------------------------------------

ASK = """
import sys
from refopt import array_module
try:
    array_module("gpu")
except RuntimeError as error:
    print(error)
"""
SEEN = "import cupy; cupy.is_available = lambda: True\n"  # as if there were a GPU: the libraries are looked for
ON_HOST = SEEN + "import numpy; cupy.ones = numpy.ones\n"
WITHOUT_HEADERS = (
    SEEN
    + """
from cupy._core.core import assemble_cupy_compiler_options
from cupy.cuda.compiler import _NVRTCProgram
def ones(shape, dtype=float):
    options = [o for o in assemble_cupy_compiler_options(()) if "cupy" in o or o.startswith("--")]
    _NVRTCProgram("#include <cupy/float16.cuh>", method="cubin").compile((*options, "-arch=sm_90"))
cupy.ones = ones
"""
)


def asked(setup="", options=(), **environment):
    """What the probe says, in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", *options, "-c", setup + ASK],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **environment},
    )  # fmt: skip
    return run.stdout.strip()


DRIVER = r"""
#include <string.h>
int cuInit(unsigned flags) { return ERROR; }
int cuDriverGetVersion(int* version) { *version = VERSION; return 0; }
int none() { return ERROR; }
int cuGetProcAddress_v2(const char* name, void** found, int version, unsigned long flags, int* status) {
    if (status) *status = 0;
    *found = !strcmp(name, "cuInit") ? (void*)cuInit : !strcmp(name, "cuDriverGetVersion") ? (void*)cuDriverGetVersion
        : !strcmp(name, "cuGetProcAddress") ? (void*)cuGetProcAddress_v2 : (void*)none;
    return 0;
}
"""


@pytest.fixture
def driver(tmp_path):
    """Build a driver that supports a version of CUDA and has nothing but an error to say; returns what leads to it."""

    def build_driver(version, error=100):  # CUDA_ERROR_NO_DEVICE
        (tmp_path / "driver.c").write_text(DRIVER)
        command = ["gcc", "-w", "-shared", "-fPIC", f"-DVERSION={version}", f"-DERROR={error}",
                   str(tmp_path / "driver.c"), "-o", str(tmp_path / "libcuda.so.1")]  # fmt: skip
        subprocess.run(command, check=True)
        return {"LD_LIBRARY_PATH": str(tmp_path)}

    return build_driver


def test_without_a_driver_it_says_so():
    import cupy

    if cupy.cuda.runtime.driverGetVersion():
        pytest.skip("there is an NVIDIA driver here")
    assert asked() == "CuPy is installed, but there is no NVIDIA driver: install one, or use device 'cpu'"
    assert asked(SEEN).startswith("the GPU does not work (cudaErrorInsufficientDriver: ")


@pytest.mark.needs("g++")
def test_an_old_driver_is_told_from_one_without_a_device_and_from_one_that_fails(driver):
    old = "the NVIDIA driver supports CUDA 12, CuPy needs 13: update it, or use cupy-cuda12x"
    assert asked(**driver(12080)) == old
    assert asked(**driver(13000)) == "there is an NVIDIA driver, but no visible GPU: check CUDA_VISIBLE_DEVICES"
    assert asked(**driver(13000, 999)) == (
        "the GPU does not work (cudaErrorUnknown: unknown error): see nvidia-smi, or use device 'cpu'"
    )


@pytest.fixture
def bare(tmp_path):
    """The packages that are installed here, but for NVIDIA's wheels."""
    for entry in Path(np.__file__).parents[1].iterdir():
        if entry.name != "nvidia":
            (tmp_path / entry.name).symlink_to(entry)
    return {"PYTHONPATH": str(tmp_path)}


def test_each_library_that_is_missing_is_named_with_its_wheel(bare):
    wheel = "{} cannot be used ({}): install the wheel nvidia-{}, for CUDA 13".format
    assert asked(SEEN, **bare, options=["-S"]) == wheel("NVRTC", "DynamicLibNotFoundError", "cuda-nvrtc")
    assert asked(WITHOUT_HEADERS) == wheel("the CUDA headers", "CompileException", "cuda-runtime")
    without_nvrtc = ON_HOST + "cupy.cuda.nvrtc.getVersion = lambda: (13, 0)\n"
    assert asked(without_nvrtc, **bare, options=["-S"]) == wheel("cuBLAS", "ImportError", "cublas")


def test_two_wheels_are_named(tmp_path):
    other = tmp_path / "cupy_cuda12x-14.2.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: cupy-cuda12x\nVersion: 14.2.0\n")
    both = "several CuPy wheels overwrite each other (cupy-cuda12x, cupy-cuda13x): uninstall all but one"
    assert asked(PYTHONPATH=str(tmp_path)) == both
