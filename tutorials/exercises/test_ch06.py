"""Run by the reader of chapter 6: python -m pytest tutorials/exercises/test_ch06.py"""

from fractions import Fraction

import numpy as np
from ch06 import best_weight, reciprocal, secant_root

from refopt import secant


class Multiplied(Fraction):
    """A number that cannot be divided."""

    def __truediv__(self, other):
        raise AssertionError("a division")

    __rtruediv__ = __truediv__

    def __mul__(self, other):
        return Multiplied(Fraction(self) * Fraction(other))

    def __sub__(self, other):
        return Multiplied(Fraction(self) - Fraction(other))

    def __rsub__(self, other):
        return Multiplied(Fraction(other) - Fraction(self))

    def __add__(self, other):
        return Multiplied(Fraction(self) + Fraction(other))

    __rmul__, __radd__ = __mul__, __add__


def test_reciprocal_doubles_the_digits_and_never_divides():
    """1 - a x is squared in every step, exactly."""
    a, x = Multiplied(3), Multiplied(Fraction(1, 4))
    found = reciprocal(a, x, 4)
    assert [Fraction(1) - 3 * Fraction(each) for each in found] == [Fraction(1, 4) ** 2**k for k in (1, 2, 3, 4)]


def test_secant_root_is_the_package_s():
    def phi(x):
        return x**3 - 2 * x - 5

    for steps in (1, 2, 5):
        *_, last = (x for x, _ in zip(secant(phi, 2.0, 3.0), range(steps), strict=False))
        np.testing.assert_allclose(secant_root(phi, 2.0, 3.0, steps), last, rtol=1e-12)


def test_secant_root_stops_where_the_line_is_level():
    assert secant_root(lambda x: x * x, 1.0, -1.0, 5) == -1.0


def test_no_other_weight_is_better():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(5000)
    g, g_next = 1 + signal + rng.standard_normal(5000), 1 + signal + rng.standard_normal(5000)

    def error(w):
        return np.mean((0.8 + w * (g - 0.8) - g_next) ** 2)

    best = best_weight(g, g_next, 0.8)
    for other in (best - 0.01, best + 0.01):
        assert error(best) < error(other)


def test_the_weight_is_0_where_the_two_have_nothing_in_common_and_1_where_they_agree():
    g = np.array([1.0, 3.0, 1.0, 3.0])
    assert best_weight(g, np.array([1.0, 1.0, 3.0, 3.0]), 2.0) == 0
    assert best_weight(g, g, 2.0) == 1
