"""Chapter 4, trying before stepping. Fill in, then: python -m pytest tutorials/exercises/test_ch04.py"""


def armijo(f, x, eta, c, beta):
    """Return the first of eta, beta eta, beta² eta, ... that lowers f by a share c of the promise.

    f(x) returns the value and the gradient (n,); the gradient is needed once, and is not 0.
    """
    raise NotImplementedError


def passing_interval(curvature, c):
    """Return the least and the greatest step size that pass both tests of Goldstein on curvature x²/2; 0 < c < 1/2."""
    raise NotImplementedError


def global_bb1(f, x, first, memory, steps):
    """Take `steps` steps of BB1 from x (n,), each halved until it passes a test with a memory; return the last point.

    f(x) returns the value and the gradient. The first trial of the first step is `first`, that of the others is
    |s|²/|<s, y>|, or the last step size where <s, y> = 0. A trial passes if f(x - eta g) is at most the highest of
    the last `memory` values, f(x) among them, less 1e-4 eta |g|².
    """
    raise NotImplementedError
