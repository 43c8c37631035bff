"""Solutions of chapter 6."""

import numpy as np


def reciprocal(a, x, steps):
    found = []
    for _ in range(steps):
        x = x * (2 - a * x)
        found.append(x)
    return found


def secant_root(phi, x, x_next, steps):
    for _ in range(steps):
        y, y_next = phi(x), phi(x_next)
        if y == y_next:
            break
        x, x_next = x_next, x_next - y_next * (x_next - x) / (y_next - y)
    return x_next


def best_weight(g, g_next, m):
    return np.mean((g - m) * (g_next - m)) / np.mean((g - m) ** 2)


SLIPS = [
    ("x * (2 - a * x)", "x * (1 - a * x)"),
    ("x_next - y_next *", "x_next - y *"),
    ("        if y == y_next:\n            break\n", ""),
    ("np.mean((g - m) ** 2)", "np.mean(g**2)"),
    ("(g_next - m)) /", "g_next) /"),
]
