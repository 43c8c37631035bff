"""What must be true of initial weights: each follows its law, and its fans."""

import math

import numpy as np
import pytest
from scipy import stats

import nets
from nets import Conv2d, Layout, Linear

SHAPE, FAN_IN, FAN_OUT = (60, 5, 5, 40), 1000, 1500  # a convolution's: its fans are not sides of its shape
LAWS = {
    "he_normal": stats.norm(0, math.sqrt(2 / FAN_IN)),
    "he_normal_out": stats.norm(0, math.sqrt(2 / FAN_OUT)),
    "glorot_normal": stats.norm(0, math.sqrt(2 / (FAN_IN + FAN_OUT))),
    "glorot_uniform": stats.uniform(-math.sqrt(6 / 2500), 2 * math.sqrt(6 / 2500)),
    "lecun_normal": stats.norm(0, math.sqrt(1 / FAN_IN)),
    "vgg_normal": stats.norm(0, 0.01),
    "torch_uniform": stats.uniform(-math.sqrt(1 / FAN_IN), 2 * math.sqrt(1 / FAN_IN)),
}


@pytest.mark.parametrize("name", LAWS)
def test_initial_weights_follow_their_law(name):
    """Kolmogorov-Smirnov: sqrt(n) D < 2.2 fails a true law once in 10,000 seeds, and a scale wrong by 2 % always."""
    sample = getattr(nets, name)(np.random.default_rng(0), SHAPE, FAN_IN, FAN_OUT)
    assert sample.shape == SHAPE
    distance = stats.kstest(sample.ravel(), LAWS[name].cdf).statistic
    assert math.sqrt(sample.size) * distance < 2.2
    n, variance = sample.size, LAWS[name].var()
    assert sample.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))  # 5 standard deviations of a normal's
    # the neighbours in a draw are independent
    flat = sample.ravel()
    assert abs((flat[1:] * flat[:-1]).mean()) < 5 * variance / math.sqrt(n)


def test_torchs_default_is_kaiming_uniform_with_slope_sqrt_5():
    gain = math.sqrt(2 / (1 + math.sqrt(5) ** 2))
    bound = gain * math.sqrt(3 / 784)
    sample = nets.torch_uniform(np.random.default_rng(0), (100_000,), 784, 10)
    assert bound * (1 - 1e-3) < abs(sample).max() <= bound * (1 + 1e-15)  # the largest of 1e5 is within 1e-4 or so


def test_linear_draws_each_of_its_parameters_by_the_law_it_was_given():
    layout = Layout(Linear(400, 300, nets.lecun_normal, nets.torch_uniform))
    weight, bias = layout.views(layout.initial(0)).values()
    assert weight.std() == pytest.approx(1 / math.sqrt(400), rel=5 / math.sqrt(2 * weight.size))
    assert 0.9 / math.sqrt(400) < abs(bias).max() <= 1 / math.sqrt(400)  # fan_in of the layer, not of the bias


def test_a_convolution_has_the_fans_of_its_windows():
    layout = Layout(Conv2d(10, 40, 5, weight=nets.lecun_normal, bias=nets.torch_uniform))
    weight, bias = layout.views(layout.initial(0)).values()
    assert weight.std() == pytest.approx(1 / math.sqrt(250), rel=5 / math.sqrt(2 * weight.size))  # 5 x 5 x 10 inputs
    assert 0.8 / math.sqrt(250) < abs(bias).max() <= 1 / math.sqrt(250)  # 40 draws miss the last fifth once in 10^4
    layout = Layout(Conv2d(10, 40, 5, weight=nets.he_normal_out))
    weight = layout.views(layout.initial(0))["weight"]
    assert weight.std() == pytest.approx(math.sqrt(2 / 1000), rel=5 / math.sqrt(2 * weight.size))  # 5 x 5 x 40 outputs


def test_scales_start_from_1_and_shifts_from_0():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(nets.ones(rng, (3, 2), 1, 1), [[1, 1]] * 3)
    np.testing.assert_array_equal(nets.zeros(rng, (3, 2), 1, 1), [[0, 0]] * 3)
