"""Single operations at the sizes of the nets, ours in tiles and as plain text, and PyTorch's, in float32.

    python -m tests.bench.ops [--only conv] [--rounds 9] [--json FILE]

Each peer is a process of its own, they take turns; a figure is the median of forward and backward together, and a ratio
that of ours in tiles to PyTorch's, step by step.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import numpy as np

from tests.bench.steps import Peer, answer, demand_torch

OPERATIONS = {  # name: batch, channels, pixels of a side, outputs, kernel, stride, padding
    "conv 3-64 32": (128, 3, 32, 64, 3, 1, 1),
    "conv 64-64 32": (32, 64, 32, 64, 3, 1, 1),
    "conv 128-128 16": (32, 128, 16, 128, 3, 1, 1),
    "conv 256-256 8": (32, 256, 8, 256, 3, 1, 1),
    "conv 512-512 4": (32, 512, 4, 512, 3, 1, 1),
    "conv 64-128 32 stride 2": (32, 64, 32, 128, 3, 2, 1),
    "conv 64-128 32 1x1 stride 2": (32, 64, 32, 128, 1, 2, 0),
    "conv 64-128 16": (128, 64, 16, 128, 3, 1, 1),
    "conv 512-512 2": (128, 512, 2, 512, 3, 1, 1),
    "conv 3-6 32 5x5": (128, 3, 32, 6, 5, 1, 0),
    "conv 6-16 14 5x5": (128, 6, 14, 16, 5, 1, 0),
    "norm relu 64 32": (32, 64, 32),
    "norm relu 256 8": (32, 256, 8),
    "norm relu 64 32 b128": (128, 64, 32),
    "pool 64 32": (128, 64, 32),
}


def data(name):
    """Return x (N, H, W, C), and weights (O, K, K, C) of a convolution or γ, β (C,) of a norm."""
    n, c, side, *rest = OPERATIONS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, side, side, c), dtype=np.float32)
    if rest:
        o, k = rest[:2]
        return x, [0.1 * rng.standard_normal((o, k, k, c), dtype=np.float32)]
    return x, [np.ones(c, np.float32), np.zeros(c, np.float32)] if name.startswith("norm") else []


def ours(name, tiled):
    from nets.engine import Engine
    from nets.image_layers import BatchNorm, Conv2d, MaxPool2d
    from nets.layers import Mode
    from nets.tensor import Tensor

    x, weights = data(name)
    engine = Engine() if tiled else None
    _, c, _, *rest = OPERATIONS[name]
    if name.startswith("conv"):
        o, k, stride, padding = rest
        layer = Conv2d(c, o, k, stride, padding, bias=None)
    else:
        layer = BatchNorm(c, relu=True) if name.startswith("norm") else MaxPool2d(2)
    for (_, parameter), array in zip(layer.parameters(), weights, strict=True):
        parameter.data, parameter.needs_grad = array, True
    images, mode = Tensor(x, needs_grad=c > 3), Mode(train=True, engine=engine)
    g = None

    def work():
        nonlocal g
        y = layer(images, mode)
        g = np.ones_like(y.data) if g is None else g
        Tensor(np.zeros((), np.float32), (y, lambda _, out: g)).backward()
        return float(y.data[-1, -1, -1, -1])

    return work


def torch(name):
    import torch
    from torch import nn

    x, weights = data(name)
    _, c, _, *rest = OPERATIONS[name]
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).requires_grad_(c > 3)
    if name.startswith("conv"):
        o, k, stride, padding = rest
        layer = nn.Conv2d(c, o, k, stride, padding, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights[0].transpose(0, 3, 1, 2))))
    else:
        layer = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU()) if name.startswith("norm") else nn.MaxPool2d(2)
    g = None

    def work():
        nonlocal g
        images.grad = None
        layer.zero_grad()
        y = layer(images)
        g = torch.ones_like(y) if g is None else g
        y.backward(g)
        return y[-1, -1, -1, -1].item()

    return work


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="operations whose name begins like this")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help="the Python that has PyTorch")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        peer, name = options.serve
        answer(torch(name) if peer == "torch" else ours(name, peer == "tiled"))
        return
    demand_torch(options.torch)
    print(f"{'operation':28} {'tiles ms':>9} {'plain ms':>9} {'torch ms':>9} {'ratio':>6}")
    rows = []
    for name in filter(lambda name: name.startswith(options.only), OPERATIONS):
        peers = [Peer("ops", sys.executable, "tiled", name), Peer("ops", sys.executable, "plain", name),
                 Peer("ops", options.torch, "torch", name)]  # fmt: skip
        figures = [peer.step()[1] for peer in peers for _ in range(2)]
        if np.ptp(figures) > 1e-3 * max(1, *map(abs, figures)):
            sys.exit(f"{name}: the peers compute different values, {figures}")
        times = 1000 * np.array([[peer.step()[0] for peer in peers] for _ in range(options.rounds)])
        for peer in peers:
            peer.end()
        tiled, plain, theirs = (statistics.median(column) for column in times.T)
        ratio = statistics.median(times[:, 0] / times[:, 2])
        rows.append({"operation": name, "tiled_ms": tiled, "plain_ms": plain, "torch_ms": theirs, "ratio": ratio})
        print(f"{name:28} {tiled:9.2f} {plain:9.2f} {theirs:9.2f} {ratio:6.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
