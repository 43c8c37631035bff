"""Chapter 8, the step as a function of time. Fill in, then: python -m pytest tutorials/exercises/test_ch08.py"""


def triangle(k, low, high, steps):
    """Return the rate of step k = 0, 1, ... of a cycle: from low up to high and back in `steps` steps, for ever."""
    raise NotImplementedError


def chebyshev_cycle(mu, L, n):
    """Return the n step sizes, longest first, that reduce every quadratic with eigenvalues in [mu, L] best."""
    raise NotImplementedError


def rate_for_floor(floor, V):
    """Return the constant rate at which E x² of Theorem 2 tends to `floor` > 0, samples having the variance V."""
    raise NotImplementedError
