"""Chapter 6, from Newton to AdaSecant. Fill in, then: python -m pytest tutorials/exercises/test_ch06.py"""


def reciprocal(a, x, steps):
    """Return Newton's approximations x₁, x₂, ... of 1/a, a list of `steps` numbers, without any division.

    They are those for the root of φ(x) = 1/x - a, from x = x₀.
    """
    raise NotImplementedError


def secant_root(phi, x, x_next, steps):
    """Return the secant method's point after `steps` steps from x₀ = x and x₁ = x_next; stop early where φ agrees."""
    raise NotImplementedError


def best_weight(g, g_next, m):
    """Return the w for which the mean of (m + w (g - m) - g_next)² is least; g, g_next (N,) samples, m a number."""
    raise NotImplementedError
