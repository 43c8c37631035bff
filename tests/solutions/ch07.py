"""Solutions of chapter 7."""

import numpy as np


def adagrad(gradients, lr):
    v = np.cumsum(gradients**2, axis=0)
    return -lr * gradients / np.sqrt(np.where(v > 0, v, 1))


def adam(gradients, lr, beta1, beta2):
    m, v, found = 0.0, 0.0, []
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        found.append(-lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t)))
    return np.array(found)


def longest_step(beta1, beta2, t):
    r = beta1**2 / beta2
    unbiased = np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return (1 - beta1) / np.sqrt(1 - beta2) * np.sqrt((1 - r**t) / (1 - r)) * unbiased


SLIPS = [
    ("np.cumsum(gradients**2, axis=0)", "gradients**2"),
    ("np.where(v > 0, v, 1)", "v"),
    ("(1 - beta1**t) / np.sqrt(v /", "(1 - beta1) / np.sqrt(v /"),
    ("(1 - beta2**t)))", "(1 - beta2)))"),
    ("r = beta1**2 / beta2", "r = beta1 / beta2"),
]
