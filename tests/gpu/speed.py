"""How fast on a GPU: what the machine can do, each kernel, whole training steps beside PyTorch's, the cost of rules.

Times are medians; ours and PyTorch's in the same process, on the same stream, on the same batch from the same weights.
"""

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

STEPS = {"lenet": 128, "vgg11": 128, "resnet18": 128}
LR = 0.01


def ceilings(xp):
    big = xp.ones(1 << 28, np.float32)
    other = xp.empty_like(big)
    ms, _ = times(lambda: xp.copyto(other, big))
    yield Row("ceilings", "copy of 1 GiB, read and written", 2 * big.nbytes / ms / 1e6, "GB/s")
    a, b, c = (xp.ones((8192, 8192), np.float32) for _ in range(3))
    for precision in (False, True):
        with gpu.products(precision):
            ms, _ = times(lambda: xp.matmul(a, b, out=c), rounds=5)
        yield Row(
            "ceilings", f"product of 8192 x 8192, {'tf32' if precision else 'fp32'}", 2 * 8192**3 / ms / 1e9, "TFLOP/s"
        )


def kernels(xp):
    """The first stage of ResNet-18 at batch 128; by kernels, and by the plain text."""
    rng = np.random.default_rng(0)
    x = xp.asarray(rng.standard_normal((128, 32, 32, 64), np.float32))
    w = xp.asarray(rng.standard_normal((64, 3, 3, 64), np.float32))
    one, zero = xp.ones(64, np.float32), xp.zeros(64, np.float32)

    def backward(op, *arrays):
        leaves = [Tensor(array, needs_grad=True) for array in arrays]
        y = op(*leaves)
        for _operand, vjp in y.operands:
            vjp(x[:, : y.data.shape[1], : y.data.shape[2]] if y.data.shape != x.shape else x, None)

    cases = {
        "convolution, 3x3": lambda m: (lambda *a: (m or conv).conv2d(*a, None, 1, 1), x, w),
        "batch norm with ReLU": lambda m: (lambda *a: (m or ops).batch_norm_relu(*a, 1e-5, True)[0], x, one, zero),
        "maxima of 2x2": lambda m: (lambda a: (m or conv).max_pool2d(a, 2, 2), x),
    }
    for name, case in cases.items():
        found = {}
        for form, engine in (("kernels", GpuEngine()), ("plain text", None)):
            op, *arrays = case(engine)
            rounds = 10 if engine else 3
            found[form] = times(lambda op=op, arrays=arrays: op(*map(Tensor, arrays)), rounds, 1)[0]
            found[form + ", with backward"] = times(lambda op=op, arrays=arrays: backward(op, *arrays), rounds, 1)[0]
        for form, ms in found.items():
            yield Row("kernels", f"{name}: {form}", ms, "ms")
    columns = xp.empty((128 * 1024, 576), np.float32)
    pixels = 128, 32, 32, 64, 32, 32, 3, 3, 1, 1
    ms, _ = times(lambda: per_channel(WINDOWS, "im2col", columns, 64, x, columns, *pixels))
    yield Row("kernels", "im2col alone", (columns.nbytes + x.nbytes) / ms / 1e6, "GB/s")
    ms, _ = times(lambda: xp.matmul(columns, w.reshape(64, -1).T))
    yield Row("kernels", "its product, fp32", ms, "ms")


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
    """PyTorch's training step, eager, on the device: returns a function that takes one and returns the loss there."""
    import torch

    from tests.bench.steps import torch_net

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False
    form = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}[layout]
    net = torch_net(name, folder / f"{name}.npz").cuda().to(memory_format=form)
    images, labels = batch_of(n)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).cuda().to(memory_format=form)
    t, optimizer = torch.from_numpy(labels).cuda(), torch.optim.SGD(net.parameters(), lr=LR)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), t)
        loss.backward()
        optimizer.step()
        return loss

    return step


def has_torch():
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def steps(xp):
    import cupyx

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, n in STEPS.items():
            for precision in ("fp32", "tf32"):
                xp.get_default_memory_pool().free_all_blocks()
                _net, run = ours(xp, name, n, precision, folder)
                first = [float(to_host(next(run).f)) for _ in range(3)]
                with cupyx.allow_synchronize(False):
                    next(run)  # raises if it waits
                what = f"{name}, batch {n}, {precision}"
                yield Row("steps", f"{what}: waits in a step", 0, "", True, "0")
                ms, host = times(lambda run=run: next(run), rounds=30)
                yield Row("steps", f"{what}: ours", ms, "ms")
                yield Row("steps", f"{what}: ours, host", host, "ms")
                if (launched := launches(lambda run=run: next(run))) is not None:
                    yield Row("steps", f"{what}: launches", launched)
                yield Row(
                    "steps", f"{what}: memory of the pool", xp.get_default_memory_pool().total_bytes() / 1e9, "GB"
                )
                if not has_torch():
                    yield Row("steps", f"{what}: PyTorch", "not installed")
                    continue
                best = np.inf
                for layout in ("NCHW", "channels_last"):
                    step = theirs(name, n, precision, layout, folder)
                    losses = [float(step()) for _ in range(3)]
                    close = bool(np.allclose(first, losses, rtol=0.01))
                    yield Row(
                        "steps", f"{what}: first losses as PyTorch's, {layout}", str(losses), "", close, str(first)
                    )
                    torch_ms, torch_host = times(step, rounds=30)
                    best = min(best, torch_ms)
                    yield Row("steps", f"{what}: PyTorch, {layout}", torch_ms, "ms")
                    yield Row("steps", f"{what}: PyTorch, {layout}, host", torch_host, "ms")
                target = 1.3 if name == "resnet18" else None
                ok = None if target is None else ms <= target * best
                yield Row(
                    "steps", f"{what}: ours / PyTorch's better", ms / best, "", ok, f"<= {target}" if target else ""
                )


def launches(work):
    """How many kernels a call starts, by PyTorch's profiler, which sees them all; None without it."""
    if not has_torch():
        return None
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
        import cupy

        cupy.cuda.Device().synchronize()
    return sum(event.device_type == DeviceType.CUDA for event in seen.events())


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


def rules(xp):
    """The cost of a rule's own step, on the parameters of ResNet-18, as a share of the training step by fp32."""
    with tempfile.TemporaryDirectory() as place:
        net, run = ours(xp, "resnet18", 128, "fp32", Path(place))
        whole, _ = times(lambda: next(run), rounds=20)
    oracle, x = Ready(net.layout, xp), net.layout.initial(0, xp=xp)
    for rule in (GradientDescent(1e-6), Adam(1e-6), SPSMax(), ALIG(eta_max=1e-6), BB1(), NTLR(), AdaSecant()):
        steps = descend(rule, oracle, x)
        ms, host = times(lambda steps=steps: next(steps), rounds=20)
        ok, name = ms < 0.03 * whole, type(rule).__name__
        yield Row("rules' steps", f"{name}: on the device", 100 * ms / whole, "% of the step", ok, "< 3 %")
        yield Row("rules' steps", f"{name}: on the host", host, "ms")


def epoch(xp):
    """One epoch of ResNet-18 on CIFAR-10 at batch 128, if the data is at hand."""
    from nets.data import load

    try:
        data = load("cifar10")
    except Exception as missing:
        yield Row("epoch", "CIFAR-10", f"not at hand ({type(missing).__name__})")
        return
    for precision in ("fp32", "tf32"):
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


SECTIONS = [ceilings, kernels, steps, rules, epoch]
