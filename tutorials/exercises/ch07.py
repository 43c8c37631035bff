"""Chapter 7, a step per coordinate. Fill in, then: python -m pytest tutorials/exercises/test_ch07.py"""


def adagrad(gradients, lr):
    """Return the displacements (T, n) of AdaGrad on gradients (T, n): no eps, and 0 where a gradient was always 0."""
    raise NotImplementedError


def adam(gradients, lr, beta1, beta2):
    """Return the displacements (T, n) of Adam on gradients (T, n) without zeros, with eps = 0."""
    raise NotImplementedError


def longest_step(beta1, beta2, t):
    """Return how long Adam's step t = 1, 2, ... can be, in units of lr, by Theorem 2."""
    raise NotImplementedError
