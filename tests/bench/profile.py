"""Where the time of a training step goes, on this machine's CPU.

    python -m tests.bench.profile [--model resnet18] [--batch 32] [--steps 5]

"The net, all of it" contains the other parts, and what is not listed. The last line is the cost of the graph alone: a
chain of as many nodes as the net has, one operand each, forward and backward, without arithmetic.
"""

import argparse
import time
from collections import Counter
from itertools import islice

import numpy as np

from nets import tiled_conv, tiled_norm
from nets.engine import Engine
from nets.models import MODELS
from nets.oracle import NetOracle
from nets.tensor import Tensor
from refopt import GradientDescent, Recorded, descend

PARTS = {
    "convolution, forward": (tiled_conv._Convolution, "forward"),
    "convolution, backward": (tiled_conv._Convolution, "weight_gradient"),
    "batch norm and ReLU, forward": (tiled_norm._BatchNorm, "__init__"),
    "batch norm and ReLU, backward": (tiled_norm._BatchNorm, "input_gradient"),
    "the net, all of it": (NetOracle, "__call__"),
}


def timed(function, name, spent):
    def run(*arguments, **named):
        start = time.perf_counter()
        result = function(*arguments, **named)
        spent[name] += time.perf_counter() - start
        return result

    return run


def graph(nodes):
    """Return the seconds of a chain of nodes that compute nothing."""
    start, one = time.perf_counter(), np.ones((), np.float32)
    y = Tensor(one, needs_grad=True)
    for _ in range(nodes):
        y = Tensor(one, (y, lambda g, out: g))
    y.backward()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    shape = (28, 28, 1) if options.model.startswith("mlp") else (32, 32, 3)
    rng, n = np.random.default_rng(0), options.batch
    images, labels = rng.standard_normal((n, *shape), dtype=np.float32), rng.integers(0, 10, n)
    net = NetOracle(MODELS[options.model](shape, 10), images, labels, Recorded(np.arange(n)[None], 1), engine=Engine())
    steps = descend(GradientDescent(0.01), net, net.layout.initial(0))
    nodes, spent = Counter(), Counter()
    plain = Tensor.__init__
    Tensor.__init__ = lambda self, *a, **k: nodes.update(["made"]) or plain(self, *a, **k)
    next(steps)
    Tensor.__init__ = plain
    next(steps)
    for name, (owner, method) in PARTS.items():
        setattr(owner, method, timed(getattr(owner, method), name, spent))
    start = time.perf_counter()
    for _ in islice(steps, options.steps):
        pass
    whole = time.perf_counter() - start
    print(f"{options.model}, batch {n}: {1000 * whole / options.steps:.1f} ms a step")
    for name, seconds in spent.items():
        print(f"{name:32} {100 * seconds / whole:5.1f} %")
    alone = min(graph(nodes["made"]) for _ in range(20))
    share = 100 * options.steps * alone / whole
    print(f"{nodes['made']} nodes of a graph: {1e6 * alone:.0f} µs, {share:.2f} % of the step")


if __name__ == "__main__":
    main()
