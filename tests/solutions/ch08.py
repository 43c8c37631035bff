"""Solutions of chapter 8."""

import numpy as np


def triangle(k, low, high, steps):
    u = k % steps / steps
    return low + (high - low) * min(2 * u, 2 - 2 * u)


def chebyshev_cycle(mu, L, n):
    j = np.arange(1, n + 1)
    return 2 / (L + mu - (L - mu) * np.cos((2 * j - 1) * np.pi / (2 * n)))


def rate_for_floor(floor, V):
    return 2 * floor / (V + floor)


SLIPS = [
    ("k % steps / steps", "k / steps"),
    ("(2 * j - 1) * np.pi", "(2 * j + 1) * np.pi"),
    ("L + mu - (L - mu)", "L + mu + (L - mu)"),
    ("2 * floor / (V + floor)", "2 * floor / V"),
]
