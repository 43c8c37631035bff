"""Solutions of chapter 1."""

from math import ceil, log

import numpy as np


def best_constant_step(eigenvalues):
    mu, L = np.min(eigenvalues), np.max(eigenvalues)
    return 2 / (L + mu), (L - mu) / (L + mu)


def steps_needed(kappa, digits):
    return ceil(digits * log(10) / log((kappa + 1) / (kappa - 1)))


def largest_curvature(hvp, v, iterations):
    for _ in range(iterations):
        v = hvp(v)
        v = v / np.linalg.norm(v)
    return v @ hvp(v) / (v @ v)


SLIPS = [
    ("return 2 / (L + mu)", "return 1 / L"),
    ("np.min(eigenvalues), np.max(eigenvalues)", "eigenvalues[0], eigenvalues[-1]"),
    ("ceil(", "int("),
    ("        v = v / np.linalg.norm(v)\n", ""),
    ("range(iterations)", "range(iterations - 1)"),
]
