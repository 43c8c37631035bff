"""Chapter 2, the step from the gap. Fill in, then: python -m pytest tutorials/exercises/test_ch02.py"""


def polyak_step(f, f_star, g):
    """Return Polyak's step size from a value f, the infimum f_star, a gradient g (n,): 0 where f ≤ f_star or g = 0."""
    raise NotImplementedError


def onto_row(x, a, b):
    """Return the point of the hyperplane a'y = b that is nearest to x; x, a (n,), a ≠ 0."""
    raise NotImplementedError


def polyak_from_below(f, x0, lower, epochs, steps):
    """Minimise a convex f without knowing f*, from a number `lower` ≤ f*; return the least value of f that was seen.

    f(x) returns the value and a subgradient (n,). An epoch takes `steps` steps of half of Polyak's length, with
    `lower` in place of f*, beginning at x0 again. After it, `lower` moves half way up to the least value of the epoch.
    With T steps in an epoch, |g| ≤ G and d = |x0 - x*|, after K epochs the least value is within
    max{√2 G d/√T, (f* - lower)/2^(K-1)} of f*.
    """
    raise NotImplementedError
