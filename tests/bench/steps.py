"""Full training steps, ours and PyTorch's, on this machine's CPU: forward, loss, backward, SGD, in float32.

    python -m tests.bench.steps [--workload lenet vgg11] [--rounds 15] [--json FILE]

Each peer runs in a process of its own and waits idle while the other is timed; they take turns, one step each, so a
ratio compares steps taken a moment apart. Both start from the same weights and see the same batch; the first three
losses of both are printed, and must agree to 1 %. More than 1 means that PyTorch is faster. The peak of memory is that
of the whole process, libraries included.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

WORKLOADS = {  # name: model, shape of an image, batch
    "mlp1": ("mlp-retsinas", (28, 28, 1), 128),
    "mlp2": ("mlp-liang", (28, 28, 1), 128),
    "lenet": ("lenet", (32, 32, 3), 128),
    "vgg11": ("vgg11", (32, 32, 3), 128),
    "resnet18": ("resnet18", (32, 32, 3), 32),
    "resnet18b128": ("resnet18", (32, 32, 3), 128),
}
LR = 0.01


def batch(workload):
    """Return images (N, H, W, C) float32 and labels (N,)."""
    _, shape, n = WORKLOADS[workload]
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, *shape), dtype=np.float32), rng.integers(0, 10, n)


# --- the peers: each returns a function that takes one step and returns the loss --------------------------------------


def ours(workload, weights):
    from nets.engine import Engine
    from nets.models import MODELS
    from nets.oracle import NetOracle
    from refopt import GradientDescent, Recorded, descend

    name, shape, n = WORKLOADS[workload]
    images, labels = batch(workload)
    order = Recorded(np.arange(n)[None], 1)
    oracle = NetOracle(MODELS[name](shape, 10), images, labels, order, engine=Engine())
    theta = oracle.layout.initial(0)
    oracle.layout.save(weights, theta)
    steps = descend(GradientDescent(LR), oracle, theta)
    return lambda: float(next(steps).f)


def torch_net(workload, weights):
    """Return PyTorch's net of a workload, with weights that `Layout.save` wrote."""
    import torch
    from torch import nn

    name, (h, w, c), _ = WORKLOADS[workload]
    stored = dict(np.load(weights))
    net = {
        "mlp-retsinas": lambda: mlp(nn, h * w * c, 1000, 10),
        "mlp-liang": lambda: mlp(nn, h * w * c, 1024, 1024, 10),
        "lenet": lambda: lenet(nn), "vgg11": lambda: vgg11(nn), "resnet18": lambda: resnet18(nn),
    }[name]()  # fmt: skip
    pixels = {"lenet": (5, 5, 16)}.get(name)  # of the first affine layer's inputs, in our order
    with torch.no_grad():
        for parameter, array in zip(net.parameters(), stored.values(), strict=True):
            theirs = array
            if array.ndim == 4:
                theirs = array.transpose(0, 3, 1, 2)
            elif array.ndim == 2 and pixels:
                theirs, pixels = array.reshape(*pixels, -1).transpose(2, 0, 1, 3).reshape(len(array), -1).T, None
            elif array.ndim == 2:
                theirs = array.T
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(theirs)))
    return net.train()


def torch(workload, weights):
    import torch
    from torch import nn

    net = torch_net(workload, weights)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    images, labels = batch(workload)
    x, t = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), t)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def mlp(nn, *sizes):
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def lenet(nn):
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def vgg11(nn):
    inputs, layers = 3, []
    for stage in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for channels in stage:
            layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
            inputs = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, mlp(nn, 512, 512, 512, 10))


def resnet18(nn):
    def convolution(inputs, outputs, size, stride=1):
        return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.body = nn.Sequential(
                convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU(),
                convolution(outputs, outputs, 3),
            )  # fmt: skip
            self.norm, self.shortcut = nn.BatchNorm2d(outputs), nn.Sequential()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

        def forward(self, x):
            return nn.functional.relu(self.norm(self.body(x)) + self.shortcut(x))

    layers, inputs = [convolution(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU()], 64
    for stage, outputs in enumerate((64, 128, 256, 512)):
        for k in range(2):
            layers.append(Block(inputs, outputs, 2 if stage and k == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


# --- the race --------------------------------------------------------------------------------------------------------


def serve(peer, workload, weights):
    """Take a step for every line read, and answer with its seconds and its loss."""
    answer({"ours": ours, "torch": torch}[peer](workload, weights))


def answer(work):
    """Be a peer: see `Peer`."""
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        figure = work()
        seconds = time.perf_counter() - start
        print(seconds, figure, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


@cache
def has_torch(python):
    """Whether a Python has PyTorch."""
    return not subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode


def demand_torch(python):
    """End with a sentence where there is no PyTorch."""
    if not has_torch(python):
        sys.exit("PyTorch is not installed: pip install torch, or name a Python that has it with --torch")


class Peer:
    """A process that does its work once for every line it reads, answering with seconds, a figure and its peak MiB."""

    peak = 0.0

    def __init__(self, module, python, name, *arguments):
        command = [python, "-m", f"tests.bench.{module}", "--serve", name, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"{name} did not start")

    def step(self):
        """Return seconds and loss of one more step."""
        print(file=self.process.stdin, flush=True)
        seconds, figure, self.peak = map(float, self.process.stdout.readline().split())
        return seconds, figure

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def compare(workload, python, rounds):
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        peers = [
            Peer("steps", sys.executable, "ours", workload, weights), Peer("steps", python, "torch", workload, weights)
        ]  # fmt: skip
        first = np.array([[peer.step()[1] for peer in peers] for _ in range(3)])
        if np.abs(first[:, 0] / first[:, 1] - 1).max() > 0.01:
            sys.exit(f"{workload}: the losses differ, {first.tolist()}")
        times = np.array([[peer.step()[0] for peer in peers] for _ in range(rounds)]) * 1000
        for peer in peers:
            peer.end()
    mine, theirs = (statistics.median(column) for column in times.T)
    ratio = statistics.median(times[:, 0] / times[:, 1])
    return {"workload": workload, "batch": WORKLOADS[workload][2], "ours_ms": mine, "torch_ms": theirs, "ratio": ratio,
            "ours_min": times[:, 0].min(), "torch_min": times[:, 1].min(), "losses": first.tolist(),
            "ours_mib": peers[0].peak, "torch_mib": peers[1].peak}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=15, help="steps of each peer")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help="the Python that has PyTorch")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    demand_torch(options.torch)
    rows = []
    print(
        f"{'workload':14} {'batch':>5} {'ours ms':>9} {'torch ms':>9} {'ratio':>6} {'minima':>15} {'peak MiB':>11}"
        "   losses ours, torch"
    )
    for workload in options.workload:
        rows.append(row := compare(workload, options.torch, options.rounds))
        losses = "; ".join(f"{a:.4f} {b:.4f}" for a, b in row["losses"])
        print(f"{workload:14} {row['batch']:5} {row['ours_ms']:9.2f} {row['torch_ms']:9.2f} {row['ratio']:6.2f} "
              f"{row['ours_min']:7.2f} {row['torch_min']:7.2f} "
              f"{row['ours_mib']:5.0f} {row['torch_mib']:5.0f}   {losses}", flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
