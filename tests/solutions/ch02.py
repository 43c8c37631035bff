"""Solutions of chapter 2."""

import numpy as np


def polyak_step(f, f_star, g):
    gg = g @ g
    return max(f - f_star, 0) / gg if gg else 0.0


def onto_row(x, a, b):
    return x - (a @ x - b) / (a @ a) * a


def polyak_from_below(f, x0, lower, epochs, steps):
    least = np.inf
    for _ in range(epochs):
        x, best = x0, np.inf
        for _ in range(steps):
            value, g = f(x)
            best = min(best, value)
            x = x - polyak_step(value, lower, g) / 2 * g
        lower, least = (lower + best) / 2, min(least, best)
    return least


SLIPS = [
    ("max(f - f_star, 0)", "(f - f_star)"),
    ("/ (a @ a) * a", "/ (a @ a) ** 0.5 * a"),
    ("/ 2 * g", "* g"),
    ("lower, least = (lower + best) / 2, min", "least = min"),
]
