"""A race: the clock counts evaluations, and SciPy's methods run by the same clock."""

from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
from scipy.optimize import minimize

from nets.race import race, race_scipy
from refopt import BB1, PROBLEMS, GradientDescent, Newton, SecondOrderDirectionalNewton, SLSRestart


@pytest.fixture
def quadratic():
    return PROBLEMS["quadratic"]()  # of eight variables


def test_the_gap_is_that_of_the_iterates_and_the_clock_starts_at_zero(quadratic):
    run = race(GradientDescent(0.01), quadratic, quadratic, 3)
    x, gap = quadratic.x0, []
    for _ in range(4):
        gap.append(quadratic.value(x) - quadratic.f_star)
        x = x - 0.01 * quadratic(x)[1]
    assert run.gap.tolist() == pytest.approx(gap, rel=1e-12)
    assert run.evaluations.tolist() == [0, 1, 2, 3]
    assert run.eta.tolist() == [0.01] * 3


def test_every_trial_and_every_product_is_counted(quadratic):
    """A product counts as two gradients. From lr = 1, 0.9^k ≤ about 2/100 takes some forty trials on condition 100."""
    assert race(Newton(), quadratic, quadratic, 2).evaluations.tolist() == [0, 1 + 16, 2 * 17]
    assert race(SecondOrderDirectionalNewton(), quadratic, quadratic, 2).evaluations.tolist() == [0, 3, 6]
    trials = np.diff(race(SLSRestart(), quadratic, quadratic, 3).evaluations) - 1
    assert (trials > 10).all()


def test_a_rule_that_diverges_stops_early_and_is_told(quadratic, capsys):
    run = race(GradientDescent(1e200), quadratic, quadratic, 9)
    assert len(run.gap) == len(run.evaluations) == len(run.eta) + 1 < 9
    assert "stopped early" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["bfgs", "l-bfgs-b", "cg", "newton-cg", "tnc", "slsqp", "trust-constr"])
def test_scipys_methods_run_by_the_same_clock(method):
    """Their own count of evaluations is ours, but for products; the last gap is that of the solution they report."""
    problem = PROBLEMS["logistic"]()
    run, asked = race_scipy(method, problem, 40), []

    def counted(x):
        asked.append(1)
        return problem(x)

    with catch_warnings():
        simplefilter("ignore")  # of what a method does not take
        minimize(counted, problem.x0, jac=True, hessp=problem.hvp, method=method, tol=1e-15, options={"maxiter": 40})
    assert len(run.gap) == len(run.evaluations)
    assert (np.diff(run.evaluations) >= 0).all()
    assert run.gap[0] > 0.05
    assert run.gap[-1] < 1e-6
    if method not in ("newton-cg", "trust-constr"):
        assert run.evaluations[-1] <= len(asked)


def test_bb_and_l_bfgs_stand_in_one_order_of_magnitude(quadratic):
    """On a quadratic of condition 100 to 1e-10 of the first gap: neither takes more than five times as long."""

    def time_to(run):
        return run.evaluations[np.argmax(run.gap <= 1e-10 * run.gap[0])]

    ours, theirs = time_to(race(BB1(), quadratic, quadratic, 200)), time_to(race_scipy("l-bfgs-b", quadratic, 200))
    assert 0 < ours <= 5 * theirs
    assert 0 < theirs <= 5 * ours
