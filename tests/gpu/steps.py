"""Whole training steps on a GPU, ours and PyTorch's.

In the same process, on the same stream, on the same batch from the same weights. Times are medians: of a step as it is,
with what the device waits for the host; of what the host spends on asking for it; and of what the device spends on it
when the host is ahead.
"""

import math
import tempfile
from pathlib import Path

import numpy as np

from nets.gpu_engine import GpuEngine
from nets.models import MODELS
from nets.oracle import NetOracle
from refopt import GradientDescent, Recorded, descend
from refopt.arrays import to_host

from .rows import PRECISIONS, Row, busy, times

NETS, BATCH = ("resnet18", "vgg11", "lenet"), 128
LR = 0.01
DEVICE = "cuda"  # of PyTorch


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


def steps(xp, name):
    """A net's training steps: ours, and PyTorch's in both layouts, like with like."""
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            what = f"batch {BATCH}, {precision}"
            xp.get_default_memory_pool().free_all_blocks()
            ms, first = yield from our_steps(xp, name, what, *ours(xp, name, BATCH, precision, Path(folder)))
            if not has_torch():
                yield Row(name, f"{what}: PyTorch", "not installed")
                continue
            best = math.inf
            for layout in ("NCHW", "channels_last"):
                step = theirs(name, BATCH, precision, layout, Path(folder))
                best = min(best, (yield from their_steps(xp, name, f"{what}: PyTorch, {layout}", step, first)))
            asked = (ms <= 1.3 * best, "<= 1.3") if name == "resnet18" else ()
            yield Row(name, f"{what}: ours / PyTorch's better", ms / best, "", *asked)


def our_steps(xp, name, what, net, run):
    """Yield the rows of our training step; return its milliseconds, and the first three losses."""
    import cupyx

    first = [float(to_host(next(run).f)) for _ in range(3)]
    waited = "none"
    with cupyx.allow_synchronize(False):
        try:
            next(run)
        except RuntimeError as wait:  # it ends the run: another one
            waited, run = str(wait), descend(GradientDescent(LR), net, net.layout.initial(0, xp=xp))
    yield Row(name, f"{what}: waits in a step", waited, "", waited == "none", "none")
    ms, host = times(lambda: next(run), rounds=30)
    yield Row(name, f"{what}: ours", ms, "ms")
    yield Row(name, f"{what}: ours, host", host, "ms")
    yield Row(name, f"{what}: ours, peak memory", xp.get_default_memory_pool().total_bytes() / 1e9, "GB")
    yield Row(name, f"{what}: ours, device", times(lambda: next(run), ahead=busy(xp))[0], "ms")
    return ms, first


def their_steps(xp, name, what, step, first):
    """Yield the rows of PyTorch's training step; return its milliseconds."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    losses = [float(step()) for _ in range(3)]
    close = bool(np.allclose(first, losses, rtol=0.01))
    yield Row(name, f"{what}: first losses", rounded(losses), "", close, f"ours, {rounded(first)}, to 1 %")
    ms, host = times(step, rounds=30)
    yield Row(name, what, ms, "ms")
    yield Row(name, f"{what}, host", host, "ms")
    yield Row(name, f"{what}, device", times(step, ahead=busy(xp))[0], "ms")
    yield Row(name, f"{what}, peak memory", torch.cuda.max_memory_reserved() / 1e9, "GB")
    return ms


def rounded(losses):
    return ", ".join(f"{loss:.4f}" for loss in losses)


def launches(xp):
    """How many kernels, copies and fills a step starts, by PyTorch's profiler, which sees them all, and slows them."""
    if not has_torch():
        yield Row("launches", "of a step", "not counted")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in NETS:
            _net, run = ours(xp, name, BATCH, "fp32", Path(folder))
            step = theirs(name, BATCH, "fp32", "NCHW", Path(folder))
            for whose, work in (("ours", lambda run=run: next(run)), ("PyTorch's", step)):
                yield Row("launches", f"{name}: of {whose} step", launched(work))


def launched(work):
    from torch.autograd import DeviceType
    from torch.cuda import synchronize
    from torch.profiler import ProfilerActivity, profile

    for _ in range(3):
        work()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
        synchronize()
    return sum(event.device_type == DeviceType.CUDA for event in seen.events())
