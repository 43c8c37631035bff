"""Switch: what it runs is the first rule, and then the second as if somebody had started it by hand."""

from itertools import islice

import numpy as np
import pytest
from answers import problem
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import parabola, trajectory

from refopt import (
    BB1,
    Cycle,
    FiniteSum,
    GradientDescent,
    HeavyBall,
    Linear,
    Nesterov,
    Shuffled,
    SimpleAdaSecant,
    Switch,
    descend,
)
from refopt.oracle import Wrapper


def batches(drawn=0):
    """Twelve rows in batches of 3, four to an epoch."""
    oracle = FiniteSum(problem("least-squares"), Shuffled(12, 3))
    oracle.seek(drawn)
    return oracle


X0 = problem("least-squares").x0


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("second", [HeavyBall(Linear(0.1, 0.01, 20)), SimpleAdaSecant(lr=0.1), BB1()], ids=repr)
def test_it_takes_the_steps_of_the_first_rule_and_then_those_of_the_second_started_there(epochs, second):
    """(2), (3), bit for bit, rates included: the momentum and the schedule of the second begin at the switch."""
    first = Nesterov(0.05)
    run = trajectory(Switch(first, epochs, second), batches(), X0, 25)
    end = 4 * epochs
    before = trajectory(first, batches(), X0, end)
    after = trajectory(second, batches(end), before.x[-1], 25 - end)
    assert np.array_equal(run.x, np.concatenate([before.x, after.x[1:]]))
    assert np.array_equal(run.eta[end:], after.eta)
    continued = trajectory(first, batches(), X0, 25).x
    assert not np.array_equal(run.x[end + 1], continued[end + 1])


def test_the_rate_is_that_of_the_running_rule():
    rule = Switch(GradientDescent(0.3), 2, GradientDescent(0.7))
    assert trajectory(rule, batches(), X0, 10).eta.tolist() == [0.3] * 8 + [0.7] * 2


def test_without_epochs_every_step_is_one():
    """λ = 1/2, rates 1 and 2: x is halved three times, and is then the solution."""
    run = trajectory(Switch(GradientDescent(1.0), 3, GradientDescent(2.0)), parabola(0.5), np.ones(1), 5)
    assert run.x[:, 0].tolist() == [1, 0.5, 0.25, 0.125, 0, 0]


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 14))
def test_a_run_is_resumed_bit_for_bit_before_at_and_after_the_switch(taken):
    """Two epochs of four steps, then SimpleAdaSecant, which remembers where it was started."""
    rule = Switch(Nesterov(0.05), 2, SimpleAdaSecant(lr=0.1))
    steps = descend(rule, batches(), X0)
    *_, last = islice(steps, taken)
    state, x = rule.state(), last.x.copy()
    rest = [step.x.tobytes() for step in islice(steps, 6)]
    again = Switch(Nesterov(0.05), 2, SimpleAdaSecant(lr=0.1))
    resumed = descend(again, batches(taken), x, state=state, taken=taken)
    assert [step.x.tobytes() for step in islice(resumed, 6)] == rest


class Broken(Wrapper):
    """Answers NaN on one sample, by its number."""

    def __init__(self, oracle, sample):
        super().__init__(oracle)
        self.sample = sample

    def __call__(self, x):
        f, g = self.oracle(x)
        return (f * np.nan, g) if self.position() == self.sample else (f, g)


@pytest.mark.parametrize("second", [HeavyBall(0.1), SimpleAdaSecant(lr=0.1), BB1()], ids=repr)
def test_an_answer_refused_at_the_switch_only_delays_it(second):
    """The first step of the second rule finds no finite loss: x and state stay, and the next sample is its first."""
    rule, bad = Switch(Nesterov(0.05), 1, second), 5
    run = descend(rule, Broken(batches(), bad), X0, nonfinite="skip")
    states = ((step.x.copy(), {name: np.asarray(v).tobytes() for name, v in rule.state().items()}) for step in run)
    (x, state), (x_then, state_then), (x_after, _) = islice(states, 3, 6)
    assert np.array_equal(x_then, x)
    assert state_then == state
    assert np.array_equal(x_after, trajectory(second, batches(bad), x, 1).x[1])


def test_the_state_is_flat_and_belongs_to_the_switch_not_to_the_rules_it_was_given():
    first, second = Nesterov(0.05), Nesterov(0.01)
    one, other = Switch(first, 1, second), Switch(first, 2, second)
    together = list(zip(*(islice(descend(rule, batches(), X0), 12) for rule in (one, other)), strict=True))
    assert set(one.state()) == {"t", "before.t", "before.m", "after.t", "after.m"}
    assert (one.state()["before.t"], one.state()["after.t"], one.state()["t"]) == (4, 8, 12)
    assert not first.own_state()
    assert not second.own_state()
    alone = trajectory(Switch(first, 2, second), batches(), X0, 12).x
    assert np.array_equal(together[-1][1].x, alone[-1])


def test_a_switch_inside_a_switch_makes_three_phases():
    rule = Switch(GradientDescent(0.3), 1, Switch(GradientDescent(0.2), 1, GradientDescent(0.1)))
    assert trajectory(rule, batches(), X0, 10).eta.tolist() == [0.3] * 4 + [0.2] * 4 + [0.1] * 2


def test_the_default_is_the_thesis_scheme():
    """13 epochs of 390 steps, half an epoch past the top of a 25-cycle; the rate that would come next is 0.96004."""
    rule = Switch()
    assert rule.first == GradientDescent(Cycle(0.001, 1.0, 9750))
    assert rule.epochs * 390 == 5070
    assert rule.first.lr(12.5 * 390) == 1
    assert abs(rule.first.lr(5070) - 0.96004) < 1e-12
    assert rule.second == SimpleAdaSecant(threshold=10.0)


@pytest.mark.parametrize("epochs", [0, -1, 1.5, None])
def test_epochs_that_are_no_positive_number_are_refused(epochs):
    with pytest.raises(ValueError, match=r"^epochs must be a positive integer, got "):
        Switch(epochs=epochs)


@pytest.mark.parametrize("name", ["first", "second"])
@pytest.mark.parametrize("value", [GradientDescent, 0.1, None])
def test_something_that_is_no_rule_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be a rule, such as GradientDescent\(0\.1\), got "):
        Switch(**{name: value})
