"""Walks to be taken by one rank or by many.

`mpiexec -n 2 python -m mpi4py tests/ranks.py FOLDER` leaves those of each rank.
"""

import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from nets import mlp
from nets.data import load
from nets.oracle import NetOracle
from refopt import (
    L2,
    NTLR,
    PROBLEMS,
    Adam,
    AdaSecant,
    AllReduce,
    FiniteSum,
    HeavyBall,
    Polyak,
    Shuffled,
    SPSMax,
    descend,
)

STEPS = 20


class Share:
    """What rank `rank` of `ranks` has of each sample of an order: every `ranks`-th term."""

    def __init__(self, order, rank, ranks):
        self.order, self.rank, self.ranks = order, rank, ranks
        self.steps_per_epoch = order.steps_per_epoch

    def __call__(self, t):
        return self.order(t)[self.rank :: self.ranks]


def convex(share):
    """Mini-batches of three rows: two ranks have two of them and one."""
    rows = PROBLEMS["least-squares"]()
    return FiniteSum(rows, share(Shuffled(rows.n, batch=3, seed=1))), rows.x0


def net(share):
    """Mini-batches of 33 digits, in float64, with weight decay: whose norm is no mean over samples."""
    digits = load("digits")
    order = share(Shuffled(len(digits.y_train), batch=33, seed=1))
    part = NetOracle(mlp((64, 16, 10)), digits.x_train, digits.y_train, order, scale=digits.scale, dtype=np.float64)
    return part, part.layout.initial(0, np.float64)


RULES = {"heavy ball": HeavyBall(lr=0.05), "Adam": Adam(), "SPS_max": SPSMax(), "NTLR": NTLR(period=4)}
WALKS = {f"convex, {name}": (convex, rule) for name, rule in (RULES | {"Polyak": Polyak(f_star=0.0)}).items()}
WALKS |= {f"net, {name}": (net, rule) for name, rule in (RULES | {"AdaSecant": AdaSecant()}).items()}


def walk(name, rank=0, ranks=1, wrap=lambda oracle: oracle):
    """The iterates (STEPS, n) of one rank."""
    make, rule = WALKS[name]
    oracle, x0 = make(partial(Share, rank=rank, ranks=ranks))
    oracle = wrap(oracle)
    if make is net and name != "net, SPS_max":
        oracle = L2(oracle, 1e-3)
    return np.array([step.x.copy() for step in islice(descend(rule, oracle, x0), STEPS)])


if __name__ == "__main__":
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    walks = {name: walk(name, comm.rank, comm.size, lambda oracle: AllReduce(oracle, comm)) for name in WALKS}
    np.savez(Path(sys.argv[1]) / f"{comm.rank}-of-{comm.size}.npz", **walks)
