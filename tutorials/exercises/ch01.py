"""Chapter 1, what a step size is. Fill in, then: python -m pytest tutorials/exercises/test_ch01.py"""


def best_constant_step(eigenvalues):
    """Return the best constant step size on a quadratic with these eigenvalues > 0, and the factor of its error."""
    raise NotImplementedError


def steps_needed(kappa, digits):
    """Return the least number of steps that surely multiply |x - x*| by at most 10^-digits.

    The rule is gradient descent with the best constant step, on a quadratic of condition number kappa > 1.
    """
    raise NotImplementedError


def largest_curvature(hvp, v, iterations):
    """Return the largest eigenvalue of a positive definite matrix, by power iteration from v (n,).

    hvp(v) returns the matrix times v. Each of the `iterations` products replaces v by it, divided by its length; the
    answer is <v, hvp(v)> / <v, v> with the last v.
    """
    raise NotImplementedError
