"""How fast on a GPU: what the machine can do, each kernel, the cost of rules, a whole epoch. Times are medians."""

import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from nets import conv, ops
from nets.gpu_engine import GpuEngine, per_channel
from nets.kernels import WINDOWS
from nets.models import MODELS
from nets.oracle import NetOracle
from nets.tensor import Tensor
from refopt import ALIG, BB1, NTLR, Adam, AdaSecant, GradientDescent, Oracle, Shuffled, SPSMax, descend, gpu

from . import rows
from .rows import PRECISIONS, Row, busy, times
from .steps import ours

MODEL, BATCH = "resnet18", 128  # on which rules are timed
COPIED = 1 << 28  # elements
IMAGES = (128, 32, 32, 64)  # of the first stage of ResNet-18


def ceilings(xp):
    big = xp.ones(COPIED, np.float32)
    other = xp.empty_like(big)
    ms, _ = times(lambda: xp.copyto(other, big))
    yield Row("ceilings", f"copy of {big.nbytes >> 20} MiB, read and written", 2 * big.nbytes / ms / 1e6, "GB/s")
    side = rows.SIDE
    a = xp.asarray(np.random.default_rng(0).standard_normal((side, side), np.float32))
    c = xp.empty_like(a)
    for precision in PRECISIONS:
        with gpu.products(precision == "tf32"):
            ms, _ = times(lambda: xp.matmul(a, a, out=c), rounds=5)
        yield Row("ceilings", f"product of {side} x {side}, {precision}", 2 * side**3 / ms / 1e9, "TFLOP/s")


def passes(op, xp, *arrays):
    """Return two functions: one computes an operation, one its gradients, too."""
    leaves = [Tensor(array, needs_grad=True) for array in arrays]
    g = xp.ones_like(op(*leaves).data)

    def both():
        for _leaf, vjp in op(*leaves).operands:
            vjp(g, None)

    return lambda: op(*leaves), both


def kernels(xp):
    """The first stage of ResNet-18 at batch 128; by kernels, and by the plain text; TF32 does not matter to them."""
    rng, C = np.random.default_rng(0), IMAGES[3]
    x = xp.asarray(rng.standard_normal(IMAGES, np.float32))
    w = xp.asarray(rng.standard_normal((C, 3, 3, C), np.float32))
    one, zero, ahead = xp.ones(C, np.float32), xp.zeros(C, np.float32), busy(xp)
    cases = {
        "convolution, 3x3": (lambda m: lambda *a: (m or conv).conv2d(*a, None, 1, 1), x, w),
        "batch norm with ReLU": (lambda m: lambda *a: (m or ops).batch_norm_relu(*a, 1e-5, True)[0], x, one, zero),
        "maxima of 2x2": (lambda m: lambda a: (m or conv).max_pool2d(a, 2, 2), x),
    }
    for name, (of, *arrays) in cases.items():
        for form, engine, rounds in (("kernels", GpuEngine(), 20), ("plain text", None, 3)):
            forward, both = passes(of(engine), xp, *arrays)
            (ms, _), (both_ms, _) = times(forward, rounds, 1, ahead), times(both, rounds, 1, ahead)
            yield Row("kernels", f"{name}: {form}", ms, "ms")
            yield Row("kernels", f"{name}: {form}, with backward", both_ms, "ms")
    N, H, W, _ = IMAGES
    columns, pixels = xp.empty((N * H * W, 9 * C), np.float32), (*IMAGES, H, W, 3, 3, 1, 1)
    for name, arrays in (("im2col", (x, columns)), ("col2im", (columns, xp.empty_like(x)))):
        arguments = WINDOWS, name, x.dtype, N * H * W, C, *arrays, *pixels
        ms, _ = times(lambda arguments=arguments: per_channel(*arguments), ahead=ahead)
        yield Row("kernels", f"{name} alone", (columns.nbytes + x.nbytes) / ms / 1e6, "GB/s")
    y = xp.empty((N * H * W, C), np.float32)
    for precision in PRECISIONS:
        engine = GpuEngine(precision)
        ms, _ = times(lambda engine=engine: engine.product(columns, w.reshape(C, -1).T, y), ahead=ahead)
        yield Row("kernels", f"its product, {precision}", ms, "ms")


class Ready(Oracle):
    """Two gradients and losses in turn, ready-made: what is timed is the rule, and the loop around it."""

    f_star = 0.0
    steps_per_epoch = 10_000

    def __init__(self, layout, xp):
        rng, self.blocks, self.k, self.answers = np.random.default_rng(0), layout.blocks, 0, []
        for f in (1.0, 2.0):
            g = np.zeros(layout.size, np.float32)
            for block in layout.blocks:
                g[block.slice] = 0.01 * rng.standard_normal(block.slice.stop - block.slice.start, dtype=np.float32)
            self.answers.append((xp.asarray(np.float32(f)), xp.asarray(g)))

    def draw(self):
        self.k = 1 - self.k

    def __call__(self, x):
        return self.answers[self.k]

    def peek(self, x):
        return self.answers[1 - self.k]


def rates(xp):
    """The cost of a rule's step and the loop around it, as a share of ResNet-18's training step in fp32."""
    with tempfile.TemporaryDirectory() as folder:
        net, run = ours(xp, MODEL, BATCH, "fp32", Path(folder))
    whole, _ = times(lambda: next(run), rounds=20)
    oracle, x, ahead = Ready(net.layout, xp), net.layout.initial(0, xp=xp), busy(xp)
    for rule in (GradientDescent(1e-6), Adam(1e-6), SPSMax(), ALIG(eta_max=1e-6), BB1(), NTLR(), AdaSecant()):
        steps = descend(rule, oracle, x)
        ms, host = times(lambda steps=steps: next(steps), rounds=20, ahead=ahead)
        name = type(rule).__name__
        yield Row("rates", f"{name}: on the device", 100 * ms / whole, "% of the step", ms < 0.03 * whole, "< 3 %")
        yield Row("rates", f"{name}: on the host", host, "ms")


def epoch(xp):
    """One epoch of ResNet-18 on CIFAR-10 at batch 128, if the data is at hand."""
    from nets.data import load

    try:
        data = load("cifar10")
    except Exception as missing:
        yield Row("epoch", "CIFAR-10", f"not at hand ({type(missing).__name__})")
        return
    for precision in PRECISIONS:
        model = MODELS["resnet18"]((32, 32, 3), 10)
        order = Shuffled(len(data.y_train), 128)
        net = NetOracle(model, data.x_train, data.y_train, order, scale=data.scale, xp=xp, engine=GpuEngine(precision))
        start = time.perf_counter()
        *_, last = islice(descend(SPSMax(), net, net.layout.initial(0, xp=xp)), net.steps_per_epoch)
        xp.cuda.Device().synchronize()
        seconds = time.perf_counter() - start
        _loss, accuracy = net.evaluate(last.x, xp.asarray(data.x_test), xp.asarray(data.y_test))
        yield Row("epoch", f"ResNet-18, CIFAR-10, SPS_max, {precision}", seconds, "s")
        yield Row("epoch", f"test accuracy after it, {precision}", accuracy, "", accuracy > 0.3, "> 0.3")
