"""Every rule's own step on the 11.17 million parameters of ResNet-18: what it costs beside the gradient.

    python -m tests.bench.updates [--rule Adam SPSMax] [--rounds 15] [--json FILE]

The oracle answers at once, with a gradient that lies ready; what is timed is the rule, the loop around it with its
check that all is finite, and x += d. The shares are those of ResNet-18's steps at batch 32 and 128, forward and
backward, timed in the same run. Rules that ask more than once in a step (line searches, look-ahead) pay for that
elsewhere; Newton is not for networks. Three rules are PyTorch's too: they take turns with the faster of its two forms,
tensor by tensor and foreach, in a process of its own.
"""

import argparse
import json
import statistics
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np

from nets.engine import Engine
from nets.oracle import NetOracle
from nets.resnet import resnet18
from refopt import RULES, Adam, GradientDescent, HeavyBall, Newton, Oracle, Recorded, descend
from tests.bench.steps import Peer, has_torch

THEIRS = {GradientDescent: ("SGD", {"lr": 1e-4}), HeavyBall: ("SGD", {"lr": 1e-4, "momentum": 0.9}), Adam: ("Adam", {})}


class Ready(Oracle):
    """Two gradients and two losses in turn, ready-made; x is looked at only to know its size."""

    f_star = 0.0
    steps_per_epoch = 3

    def __init__(self, layout, rng):
        self.blocks, self.k = layout.blocks, 0
        self.answers = [(np.float32(1 + k), self.gradient(layout, rng)) for k in range(2)]

    @staticmethod
    def gradient(layout, rng):
        g = np.zeros(layout.size, np.float32)
        for block in layout.blocks:
            g[block.slice] = 0.01 * rng.standard_normal(block.slice.stop - block.slice.start, dtype=np.float32)
        return g

    def draw(self):
        self.k = 1 - self.k

    def __call__(self, x):
        return self.answers[self.k]

    def value(self, x):
        return np.float32(-1e9)  # any step of a line search is accepted

    def peek(self, x):
        return self.answers[1 - self.k]

    def hvp(self, x, v):
        return self.answers[1 - self.k][1]


def steps(rule, oracle, x):
    """Yield the milliseconds of one step after the other, without end."""
    last = time.perf_counter()
    for _ in descend(rule, oracle, x):
        yield 1000 * (time.perf_counter() - last)
        last = time.perf_counter()


def third(step):
    """Return the time of the third of three steps: by then the other side's threads have stopped waiting for work."""
    return [step() for _ in range(3)][-1]


def compare(kind, ready, x, options):
    """Return our median, PyTorch's or None, and the ratio; two steps of each are not counted."""
    mine = steps(kind(), ready, x)
    peers = []
    if kind in THEIRS and has_torch(options.torch):
        sizes = [block.slice.stop - block.slice.start for block in ready.blocks]
        told = [json.dumps([*THEIRS[kind], foreach, sizes]) for foreach in (False, True)]
        peers = [Peer("torch_updates", options.torch, text) for text in told]
    turns = [lambda: next(mine), *((lambda peer=peer: 1000 * peer.step()[0]) for peer in peers)]
    rows = [[third(turn) for turn in turns] for _ in range(options.rounds + 2)][2:]
    for peer in peers:
        peer.end()
    ours, *theirs = (statistics.median(column) for column in zip(*rows, strict=True))
    return ours, min(theirs, default=None), ours / min(theirs) if theirs else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", nargs="*", help="class names; by default all rules but Newton")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help="the Python that has PyTorch")
    options = parser.parse_args()
    rng, model, wholes = np.random.default_rng(0), resnet18(), {}
    for batch in (32, 128):
        images, labels = rng.standard_normal((batch, 32, 32, 3), dtype=np.float32), rng.integers(0, 10, batch)
        net = NetOracle(model, images, labels, Recorded(np.arange(batch)[None], 1), engine=Engine())
        x = net.layout.initial(0)
        wholes[batch] = statistics.median(list(islice(steps(GradientDescent(0.01), net, x), 7))[2:])
        print(f"ResNet-18, batch {batch}, by GradientDescent: {wholes[batch]:.0f} ms a step; {net.layout.size} numbers")
    if not has_torch(options.torch):
        print("PyTorch is not installed: no ratios")
    ready, rows = Ready(net.layout, rng), []
    for kind in RULES:
        if kind is Newton or (options.rule and kind.__name__ not in options.rule):
            continue
        ms, theirs, ratio = compare(kind, ready, x, options)
        shares = {f"share_of_b{batch}": ms / whole for batch, whole in wholes.items()}
        rows.append({"rule": kind.__name__, "ms": ms, **shares, "torch_ms": theirs, "ratio": ratio})
        beside = f"{theirs:8.1f} ms PyTorch {ratio:6.2f}" if theirs else ""
        percent = "".join(f"{100 * share:6.1f} %" for share in shares.values())
        print(f"{kind.__name__:30} {ms:8.1f} ms {percent}  {beside}".rstrip(), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
