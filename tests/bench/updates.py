"""Every rule's own step on the 11.17 million parameters of ResNet-18: what it costs beside the gradient.

    python -m tests.bench.updates [--rule Adam SPSMax] [--rounds 5] [--json FILE]

The oracle answers at once, with a gradient that lies ready; what is timed is the rule, the loop around it and x += d.
The share is that of a ResNet-18 step at batch 32, forward and backward, timed in the same run. Rules that ask more than
once in a step (line searches, look-ahead) pay for that elsewhere; Newton is not for networks.
"""

import argparse
import json
import statistics
import time
from itertools import islice
from pathlib import Path

import numpy as np

from nets.engine import Engine
from nets.flat import Layout
from nets.oracle import NetOracle
from nets.resnet import resnet18
from refopt import RULES, Newton, Oracle, Recorded, descend
from refopt.rules.gradient import GradientDescent


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


def milliseconds(rule, oracle, x, rounds):
    """Return the median time of a step, after two to warm up."""
    times, last = [], time.perf_counter()
    for _ in islice(descend(rule, oracle, x), rounds + 2):
        now = time.perf_counter()
        times.append(now - last)
        last = now
    return 1000 * statistics.median(times[2:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", nargs="*", help="class names; by default all rules but Newton")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng, model = np.random.default_rng(0), resnet18()
    images, labels = rng.standard_normal((32, 32, 32, 3), dtype=np.float32), rng.integers(0, 10, 32)
    net = NetOracle(model, images, labels, Recorded(np.arange(32)[None], 1), engine=Engine())
    x = net.layout.initial(0)
    whole = milliseconds(GradientDescent(0.01), net, x, 3)
    print(f"ResNet-18, batch 32, by GradientDescent: {whole:.0f} ms a step; {net.layout.size} numbers")
    ready, rows = Ready(Layout(model), rng), []
    for kind in RULES:
        if kind is Newton or (options.rule and kind.__name__ not in options.rule):
            continue
        ms = milliseconds(kind(), ready, x, options.rounds)
        rows.append({"rule": kind.__name__, "ms": ms, "share": ms / whole})
        print(f"{kind.__name__:30} {ms:8.1f} ms {100 * ms / whole:6.1f} %", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
