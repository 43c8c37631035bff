"""Run by the reader of chapter 7: python -m pytest tutorials/exercises/test_ch07.py"""

import numpy as np
from ch07 import adagrad, adam, longest_step

from refopt import AdaGrad, Adam

gradients = np.array([[1.0, -4.0], [2.0, 1.0], [-0.5, 3.0], [0.1, -2.0], [3.0, 0.5]])


def of_the_package(rule, gradients):
    """The displacements of a rule on these gradients."""
    found = []
    rule.start(gradients[0], None)
    for g in gradients:
        found.append(rule.step(g, lambda x: (0.0, x)))
    return np.array(found)


def test_adagrad_is_the_package_s():
    np.testing.assert_allclose(adagrad(gradients, 0.3), of_the_package(AdaGrad(0.3, eps=0.0), gradients), rtol=1e-12)


def test_adagrad_leaves_a_coordinate_alone_that_has_no_gradient():
    with np.errstate(all="raise"):
        d = adagrad(np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 1.0]]), 0.5)
    np.testing.assert_allclose(d[:, 0], [0, 0, -0.5])


def test_adam_is_the_package_s():
    expected = of_the_package(Adam(0.3, beta1=0.8, beta2=0.95, eps=0.0), gradients)
    np.testing.assert_allclose(adam(gradients, 0.3, 0.8, 0.95), expected, rtol=1e-12)


def test_under_a_constant_gradient_adam_s_steps_are_all_lr():
    np.testing.assert_allclose(adam(np.full((9, 1), 5.0), 0.1, 0.9, 0.999), -0.1, rtol=1e-9)


def test_the_longest_step_is_attained():
    for beta1, beta2 in ((0.9, 0.999), (0.5, 0.8)):
        growing = (beta2 / beta1) ** np.arange(30.0)[:, None]
        d = of_the_package(Adam(1.0, beta1=beta1, beta2=beta2, eps=0.0), growing)
        np.testing.assert_allclose([longest_step(beta1, beta2, t) for t in range(1, 31)], -d[:, 0], rtol=1e-9)
