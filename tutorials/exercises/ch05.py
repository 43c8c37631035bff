"""Chapter 5, learning the step. Fill in, then: python -m pytest tutorials/exercises/test_ch05.py"""


def slope_of_the_rate(gradient, x, u, alpha):
    """Return the derivative of f(x - alpha u) by alpha; gradient(x) returns that of f (n,)."""
    raise NotImplementedError


def next_rate(alpha, u, g, g_ahead, gamma):
    """Return Newton's next rate from the gradients g at x and g_ahead at x - alpha u; all vectors (n,).

    Where the curvature along u is not positive the rate stays; it grows at most 100-fold.
    """
    raise NotImplementedError


def hypergradient_descent(gradient, x, alpha, beta, steps):
    """Take `steps` steps of gradient descent from x (n,); return the last point and the list of rates.

    The first rate is alpha. Each later one is the one before plus beta times <g_t, g_(t-1)>.
    """
    raise NotImplementedError
