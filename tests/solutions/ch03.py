"""Solutions of chapter 3."""

import numpy as np


def bb_steps(s, y):
    return s @ s / abs(s @ y), abs(s @ y) / (y @ y)


def finishing_steps(A):
    eigenvalues = np.linalg.eigvalsh(A)
    different = np.diff(eigenvalues, prepend=0) > 1e-9 * eigenvalues[-1]
    return 1 / eigenvalues[different]


def stabilised_bb1(gradient, x, first, longest, steps):
    eta, last_x, last_g = first, x, None
    for t in range(steps):
        g = gradient(x)
        if t and (x - last_x) @ (g - last_g) != 0:
            eta = bb_steps(x - last_x, g - last_g)[0]
        last_x, last_g = x, g
        length = np.linalg.norm(g)
        x = x - (min(eta, longest / length) if length else 0) * g
    return x


SLIPS = [
    ("s @ s / abs(s @ y)", "s @ s / (s @ y)"),
    ("abs(s @ y) / (y @ y)", "abs(s @ y) / (s @ s)"),
    ("1 / eigenvalues[different]", "1 / eigenvalues"),
    ("min(eta, longest / length)", "min(eta, longest)"),
    ("eta, longest / length", "eta, 2 * longest / length"),
]
