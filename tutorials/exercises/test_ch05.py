"""Run by the reader of chapter 5: python -m pytest tutorials/exercises/test_ch05.py"""

from itertools import islice

import numpy as np
from ch05 import hypergradient_descent, next_rate, slope_of_the_rate

from refopt import PROBLEMS, GradientDescentHD, NTLRLookAhead, descend

logistic = PROBLEMS["logistic"]()


def gradient(x):
    return logistic(x)[1]


def test_the_slope_is_the_derivative():
    x, u, h = logistic.x0, np.array([0.3, -0.2, 0.5, 0.1]), 1e-6
    for alpha in (0.0, 0.5, 2.0):
        difference = logistic.value(x - (alpha + h) * u) - logistic.value(x - (alpha - h) * u)
        np.testing.assert_allclose(slope_of_the_rate(gradient, x, u, alpha), difference / (2 * h), rtol=1e-6)


def test_the_next_rate_is_the_package_s():
    x, g = logistic.x0, gradient(logistic.x0)
    for alpha in (0.1, 3.0, 20.0):
        rule = NTLRLookAhead(lr=alpha, gamma=0.3)
        rule.start(x, logistic)
        rule.step(x, logistic)
        np.testing.assert_allclose(next_rate(alpha, g, g, gradient(x - alpha * g), 0.3), rule.eta, rtol=1e-12)


def test_the_next_rate_has_its_guards():
    u = np.array([1.0])
    assert next_rate(0.1, u, u, np.array([1.5]), 0.2) == 0.1, "negative curvature"
    assert next_rate(0.1, u, u, u, 0.2) == 0.1, "none"
    np.testing.assert_allclose(next_rate(0.1, u, u, np.array([0.9999]), 1.0), 10.0)


def test_hypergradient_descent_is_the_package_s():
    rule = GradientDescentHD(lr=0.5, meta_lr=0.2)
    steps = [(s.x.copy(), float(s.eta)) for s in islice(descend(rule, logistic, logistic.x0), 20)]
    x, rates = hypergradient_descent(gradient, logistic.x0.copy(), 0.5, 0.2, 20)
    np.testing.assert_allclose(x, steps[-1][0], rtol=1e-8)
    np.testing.assert_allclose(rates, [eta for _, eta in steps], rtol=1e-8)
