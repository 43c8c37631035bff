"""Solutions of chapter 10."""

from math import ceil, log

import numpy as np


def images_needed(points, nets, doubt):
    return ceil(log(2 * nets / doubt) / (2 * (points / 100) ** 2))


def expected_best(results, k):
    share = np.arange(len(results) + 1) / len(results)
    return np.sort(results) @ np.diff(share**k)


def rates_needed(low, high, factor):
    ratio = (1 + factor) / (1 - factor)
    return np.geomspace(low, high, 1 + ceil(log(high / low) / log(ratio)))


SLIPS = [
    ("log(2 * nets / doubt)", "log(nets / doubt)"),
    ("(points / 100) ** 2", "points / 100"),
    ("ceil(log(2", "int(log(2"),
    ("np.sort(results)", "results"),
    ("share**k", "share"),
    ("(1 + factor) / (1 - factor)", "1 / (1 - factor)"),
    ("1 + ceil(log(high", "ceil(log(high"),
    ("np.geomspace", "np.linspace"),
]
