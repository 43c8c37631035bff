"""Run by the reader of chapter 10: python -m pytest tutorials/exercises/test_ch10.py"""

from itertools import product
from math import exp

import numpy as np
from ch10 import expected_best, images_needed, rates_needed


def test_the_images_are_enough_and_one_less_is_not():
    for points, nets, doubt in ((1.0, 1, 0.05), (5.0, 4, 0.01), (0.3, 60, 0.05)):
        n = images_needed(points, nets, doubt)
        assert n == int(n)
        chance = [2 * nets * exp(-2 * images * (points / 100) ** 2) for images in (n, n - 1)]
        assert chance[0] <= doubt < chance[1]


def test_the_best_of_k_is_the_mean_over_all_draws():
    results = np.array([96.4, 95.0, 97.5, 96.4])
    for k in (1, 2, 5):
        exact = np.mean([max(draw) for draw in product(results, repeat=k)])
        np.testing.assert_allclose(expected_best(results, k), exact, rtol=1e-12)


def test_the_results_need_not_be_sorted_and_stay_as_they_are():
    results = np.array([3.0, 1.0, 2.0])
    np.testing.assert_allclose(expected_best(results, 1), 2)
    assert results.tolist() == [3, 1, 2]


def test_the_rates_leave_no_curvature_behind_and_are_as_few_as_possible():
    for low, high, factor in ((1e-4, 1.0, 0.5), (1e-3, 2.0, 0.1), (0.1, 0.2, 0.4)):
        rates = np.array(rates_needed(low, high, factor))
        np.testing.assert_allclose([rates.min(), rates.max()], [low, high], rtol=1e-9)
        right = np.geomspace(low, high, 5000)
        assert abs(1 - rates[:, None] / right).min(axis=0).max() <= factor * (1 + 1e-9)
        ratios = rates[1:] / rates[:-1]
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)
        if len(rates) > 2:
            fewer = (high / low) ** (1 / (len(rates) - 2))
            assert (fewer - 1) / (fewer + 1) > factor, "one rate less would do"
