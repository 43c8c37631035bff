"""How fast on a GPU: what the machine can do, each kernel, whole training steps beside PyTorch's, the cost of rules.

Times are medians; ours and PyTorch's in the same process, on the same stream, on the same batch from the same weights:
a step as it is, with what the device waits for the host; what the host spends on asking for it; and what the device
spends on it when the host is ahead.
"""

import math
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
from refopt import ALIG, BB1, NTLR, Adam, AdaSecant, GradientDescent, Oracle, Recorded, Shuffled, SPSMax, descend, gpu
from refopt.arrays import to_host

from .rows import Row, times

STEPS = {"resnet18": 128, "vgg11": 128, "lenet": 128}  # nets and their mini-batches
MODEL = "resnet18"  # on which rules are timed
COPIED, SIDE = 1 << 28, 8192  # elements, and the side of a matrix, of the ceilings
IMAGES = (128, 32, 32, 64)  # of the first stage of ResNet-18
LR = 0.01
PRECISIONS = ("fp32", "tf32")
DEVICE = "cuda"  # of PyTorch


def ceilings(xp):
    big = xp.ones(COPIED, np.float32)
    other = xp.empty_like(big)
    ms, _ = times(lambda: xp.copyto(other, big))
    yield Row("ceilings", f"copy of {big.nbytes >> 20} MiB, read and written", 2 * big.nbytes / ms / 1e6, "GB/s")
    a = xp.asarray(np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32))
    c = xp.empty_like(a)
    for precision in PRECISIONS:
        with gpu.products(precision == "tf32"):
            ms, _ = times(lambda: xp.matmul(a, a, out=c), rounds=5)
        yield Row("ceilings", f"product of {SIDE} x {SIDE}, {precision}", 2 * SIDE**3 / ms / 1e9, "TFLOP/s")


def busy(xp):
    """Return what keeps the device busy while the host asks for more: 20 ms of an H100."""
    a = xp.ones((SIDE, SIDE), np.float32)
    out = xp.empty_like(a)
    return lambda: xp.matmul(a, a, out=out)


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


# --- training steps --------------------------------------------------------------------------------------------------


def batch_of(n):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 32, 32, 3), dtype=np.float32), rng.integers(0, 10, n)


def ours(xp, name, n, precision, folder):
    """Our training steps as a generator; the weights it starts from lie in the folder."""
    net = NetOracle(MODELS[name]((32, 32, 3), 10), *batch_of(n), Recorded(np.arange(n)[None], 1000), xp=xp,
                    engine=GpuEngine(precision))  # fmt: skip
    x = net.layout.initial(0, xp=xp)
    net.layout.save(folder / f"{name}.npz", x)
    return net, descend(GradientDescent(LR), net, x)


def theirs(name, n, precision, layout, folder):
    """PyTorch's training step, eager: returns a function that takes one and returns the loss there."""
    import torch

    from tests.bench.steps import torch_net

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False
    form = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}[layout]
    net = torch_net(name, folder / f"{name}.npz").to(DEVICE).to(memory_format=form)
    images, labels = batch_of(n)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(DEVICE).to(memory_format=form)
    t, optimizer = torch.from_numpy(labels).to(DEVICE), torch.optim.SGD(net.parameters(), lr=LR)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), t)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def has_torch():
    """Whether there is a PyTorch that sees the GPU."""
    try:
        import torch
    except (ImportError, OSError):  # OSError: its libraries and those that are loaded already do not go together
        return False
    return torch.cuda.is_available()


def steps(xp):
    with tempfile.TemporaryDirectory() as folder:
        for name, n in STEPS.items():
            for precision in PRECISIONS:
                what = f"{name}, batch {n}, {precision}"
                xp.get_default_memory_pool().free_all_blocks()
                ms, first = yield from our_steps(xp, what, *ours(xp, name, n, precision, Path(folder)))
                if not has_torch():
                    yield Row("steps", f"{what}: PyTorch", "not installed")
                    continue
                best = math.inf
                for layout in ("NCHW", "channels_last"):
                    step = theirs(name, n, precision, layout, Path(folder))
                    best = min(best, (yield from their_steps(xp, f"{what}: PyTorch, {layout}", step, first)))
                asked = (ms <= 1.3 * best, "<= 1.3") if name == "resnet18" else ()
                yield Row("steps", f"{what}: ours / PyTorch's better", ms / best, "", *asked)


def our_steps(xp, what, net, run):
    """Yield the rows of our training step; return its milliseconds, and the first three losses."""
    import cupyx

    first = [float(to_host(next(run).f)) for _ in range(3)]
    waited = "none"
    with cupyx.allow_synchronize(False):
        try:
            next(run)
        except RuntimeError as wait:  # it ends the run: another one
            waited, run = str(wait), descend(GradientDescent(LR), net, net.layout.initial(0, xp=xp))
    yield Row("steps", f"{what}: waits in a step", waited, "", waited == "none", "none")
    ms, host = times(lambda: next(run), rounds=30)
    yield Row("steps", f"{what}: ours", ms, "ms")
    yield Row("steps", f"{what}: ours, host", host, "ms")
    yield Row("steps", f"{what}: ours, launches", launches(lambda: next(run)))
    yield Row("steps", f"{what}: ours, peak memory", xp.get_default_memory_pool().total_bytes() / 1e9, "GB")
    yield Row("steps", f"{what}: ours, device", times(lambda: next(run), ahead=busy(xp))[0], "ms")
    return ms, first


def their_steps(xp, what, step, first):
    """Yield the rows of PyTorch's training step; return its milliseconds."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    losses = [float(step()) for _ in range(3)]
    close = bool(np.allclose(first, losses, rtol=0.01))
    yield Row("steps", f"{what}: first losses", rounded(losses), "", close, f"ours, {rounded(first)}, to 1 %")
    ms, host = times(step, rounds=30)
    yield Row("steps", what, ms, "ms")
    yield Row("steps", f"{what}, host", host, "ms")
    yield Row("steps", f"{what}, device", times(step, ahead=busy(xp))[0], "ms")
    yield Row("steps", f"{what}, launches", launches(step))
    yield Row("steps", f"{what}, peak memory", torch.cuda.max_memory_reserved() / 1e9, "GB")
    return ms


def rounded(losses):
    return ", ".join(f"{loss:.4f}" for loss in losses)


def launches(work):
    """How many kernels, copies and fills a call starts, by PyTorch's profiler, which sees them all."""
    if not has_torch():
        return "not counted"
    from torch.autograd import DeviceType
    from torch.cuda import synchronize
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
        synchronize()
    return sum(event.device_type == DeviceType.CUDA for event in seen.events())


# --- rules, and all together -----------------------------------------------------------------------------------------


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
        net, run = ours(xp, MODEL, STEPS[MODEL], "fp32", Path(folder))
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
