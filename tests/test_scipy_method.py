"""A rule is a method of SciPy: `minimize(fun, x0, jac=True, method=SPSMax(f_star=0))`."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, minimize, rosen, rosen_der, rosen_hess_prod

from refopt import PROBLEMS, RULES, GradientDescent, HeavyBall, MoMo, NesterovLookAhead, Polyak, Rule, SPSMax, descend

QUADRATIC = PROBLEMS["quadratic"]()  # eight variables, curvatures from 1 to 100, f* = -2.5
STEEPEST = GradientDescent(lr=0.018)


def separate(problem):
    """The value and the gradient as two functions."""
    return (lambda x: problem(x)[0]), (lambda x: problem(x)[1])


# --- the function ----------------------------------------------------------------------------------------------------


def test_it_takes_the_steps_of_the_loop():
    rule, seen = HeavyBall(lr=0.005), []
    minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=rule, callback=seen.append, options={"maxiter": 20})
    steps = [step.x.copy() for step in islice(descend(rule, QUADRATIC, QUADRATIC.x0), 20)]
    assert np.array_equal(seen, steps)


def test_value_and_gradient_may_come_together_or_apart_and_take_args():
    together = minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST)
    fun, jac = separate(QUADRATIC)
    apart = minimize(fun, QUADRATIC.x0, jac=jac, method=STEEPEST)
    shifted = minimize(
        lambda x, a, b: QUADRATIC(a * x + b), (QUADRATIC.x0 - 3) / 2, (2, 3), jac=True, method=GradientDescent(lr=0.009)
    )
    square = (lambda x, c: (x - c) @ (x - c)), (lambda x, c: 2 * (x - c))
    one = minimize(square[0], np.zeros(2), 5.0, jac=square[1], method=GradientDescent())
    assert np.array_equal(together.x, apart.x)
    assert together.nit == apart.nit
    assert np.allclose(2 * shifted.x + 3, together.x, atol=1e-5)  # what gtol leaves
    assert np.allclose(one.x, 5, atol=1e-5)


@pytest.mark.parametrize("x0", [[2, 2], np.array([2, 2]), np.float32([2, 2]), np.float64([2, 2])])
def test_the_start_may_be_a_list_or_integers_and_its_precision_is_kept(x0):
    result = minimize(lambda x: (x @ x, 2 * x), x0, jac=True, method=GradientDescent(), tol=1e-3)
    dtype = np.float32 if getattr(x0, "dtype", None) == np.float32 else np.float64
    assert result.x.dtype == result.jac.dtype == dtype
    assert result.success


# Without mini-batches the theory of AdaSecant never moves; started by plain steps, it then takes huge ones. NTLR with
# windows of one step overshoots after a great change of its rate, and comes back later than these five steps.
NO_DESCENT = {"AdaSecantTheory", "AdaSecantLagged", "AdaSecantThesis", "AdaSecantThesisCorrected", "NTLR"}


@pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)
def test_every_rule_is_a_method(kind):
    told = {"f_star": 0.5} if "f_star" in kind.__dataclass_fields__ else {}
    f = lambda x: (x @ x / 2 + 0.5, x)  # noqa: E731
    result = minimize(f, np.ones(3), jac=True, method=kind(**told), options={"maxiter": 5})
    assert isinstance(result, OptimizeResult)
    assert 1 <= result.nit <= 5
    assert (result.fun < 2) == (kind.__name__ not in NO_DESCENT)


@pytest.mark.parametrize("value", [lambda v: v, np.array, lambda v: np.array([v]), np.float32])
def test_the_value_may_be_a_number_or_an_array_of_one(value):
    result = minimize(lambda x: value(x @ x), np.ones(2), jac=lambda x: 2 * x, method=SPSMax(f_star=0.0))
    assert result.success
    assert type(result.fun) is float
    assert result.x.shape == (2,)


def test_a_function_that_writes_into_its_argument_does_no_harm():
    def spoil(x):
        f, g = QUADRATIC(x)
        x[:] = np.nan
        return f, g

    clean, spoiled = (minimize(f, QUADRATIC.x0, jac=True, method=STEEPEST) for f in (QUADRATIC, spoil))
    assert np.array_equal(clean.x, spoiled.x)
    fun, jac = separate(spoil)
    assert np.array_equal(minimize(fun, QUADRATIC.x0, jac=jac, method=STEEPEST).x, clean.x)
    assert (QUADRATIC.x0 == 2).all()


def test_a_function_that_returns_one_buffer_again_and_again_does_no_harm():
    buffer = np.zeros(8)

    def jac(x):
        buffer[:] = QUADRATIC(x)[1]
        return buffer

    method = MoMo(f_star=-2.5)  # keeps gradients
    result = minimize(separate(QUADRATIC)[0], QUADRATIC.x0, jac=jac, method=method)
    assert np.array_equal(result.x, minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=method).x)


@dataclass
class Suspicious(Rule):
    """Asks at x, elsewhere, and at x again."""

    def step(self, x, oracle):
        (f, g), _, (f_again, g_again) = oracle(x), oracle.value(2 * x), oracle(x)
        assert f_again == f
        assert (g_again == g).all()
        assert not np.shares_memory(g_again, g)
        return -0.01 * g


def test_every_answer_is_an_array_of_its_own():
    """Of a function, too, that always returns the same one."""
    buffer = np.zeros(8)

    def both(x):
        f, buffer[:] = QUADRATIC(x)
        return f, buffer

    assert minimize(both, QUADRATIC.x0, jac=True, method=Suspicious(), options={"maxiter": 3}).nit == 3


@dataclass
class Curved(Rule):
    """Steepest descent by 1 / curvature along the gradient; it asks for f twice a step."""

    def step(self, x, oracle):
        _f, g = oracle(x)
        oracle.value(x)
        self.eta = g @ g / (g @ oracle.hvp(x, g))
        return -self.eta * g


def test_hessp_and_hess_are_what_a_rule_gets_as_hessian_product_else_differences():
    asked = []

    def hessp(x, p, *args):
        asked.append(args)
        x[:] = np.nan  # a copy
        return QUADRATIC.A @ p

    def run(**options):
        return minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=Curved(), options={"maxiter": 30}, **options)

    exact = run(hessp=hessp)
    assert len(asked) == exact.nit == 30
    assert np.allclose(run(hess=lambda x: QUADRATIC.A).x, exact.x, rtol=1e-12)
    assert np.allclose(run().x, exact.x, rtol=1e-6)
    rosenbrock = minimize(rosen, [0.5, 0.2], jac=rosen_der, hessp=rosen_hess_prod, method=Curved(), tol=1e-3)
    assert rosenbrock.fun < 1e-5


@pytest.mark.parametrize("write", [False, True])
def test_a_hessian_product_is_a_new_array_and_leaves_the_direction_alone(write):
    """Though the function returns what it was given, the identity times p, and may write into it."""

    def hessp(x, p):
        if write:
            p *= 1e9
        return p

    @dataclass
    class Careful(Rule):
        def step(self, x, oracle):
            _f, g = oracle(x)
            before = g.copy()
            assert not np.shares_memory(oracle.hvp(x, g), g)
            assert (g == before).all()
            return -0.01 * g

    result = minimize(QUADRATIC, QUADRATIC.x0, jac=True, hessp=hessp, method=Careful(), options={"maxiter": 2})
    assert result.nit == 2


# --- the result ------------------------------------------------------------------------------------------------------


def test_the_result_is_complete_and_tells_the_truth():
    result = minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST)
    f, g = QUADRATIC(result.x)
    assert result.fun == f
    assert (result.jac == g).all()
    assert (result.status, result.success) == (0, True)
    assert result.message == "The gradient is as small as asked."
    assert type(result.fun) is float
    assert {type(result[name]) for name in ("nit", "nfev", "njev", "status")} == {int}
    assert 0 < result.nit < 1000
    assert np.allclose(result.x, QUADRATIC.x_star, atol=1e-5)  # |x - x*| <= |g| / mu, and mu = 1


@pytest.mark.parametrize(
    ("rule", "asks"), [(STEEPEST, 1), (NesterovLookAhead(lr=0.001), 1), (Polyak(f_star=-2.5), 1), (Curved(), 2)]
)
def test_nfev_counts_what_the_rule_asked_for_and_nothing_is_computed_twice(rule, asks):
    calls = []
    result = minimize(
        lambda x: calls.append(x) or QUADRATIC(x)[0], QUADRATIC.x0, jac=separate(QUADRATIC)[1],
        hessp=lambda x, p: QUADRATIC.A @ p, method=rule, options={"maxiter": 7},
    )  # fmt: skip
    assert result.nit == 7
    assert result.nfev == 7 * asks
    assert result.njev == 7
    at_iterates_only = not isinstance(rule, NesterovLookAhead)
    assert len(calls) <= (7 * asks + 1 if at_iterates_only else 14 + 1)  # the monitor adds the last iterate at most


def test_it_stops_when_no_component_of_the_gradient_exceeds_tol():
    for options in {"tol": 0.01}, {"options": {"gtol": 0.01}}, {"tol": 0.01, "options": {"gtol": 10}}:
        seen = []
        result = minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST, callback=seen.append, **options)
        assert np.abs(QUADRATIC(result.x)[1]).max() <= 0.01
        assert all(np.abs(QUADRATIC(x)[1]).max() > 0.01 for x in seen[:-1])
        assert result.nit == len(seen)


def test_at_the_optimum_it_takes_no_step():
    result = minimize(QUADRATIC, QUADRATIC.x_star, jac=True, method=STEEPEST)
    assert (result.nit, result.nfev, result.success) == (0, 0, True)
    assert (result.x == QUADRATIC.x_star).all()
    assert not np.shares_memory(result.x, QUADRATIC.x_star)


@pytest.mark.parametrize("maxiter", [0, 1, 5])
def test_it_stops_after_maxiter_steps(maxiter):
    result = minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST, options={"maxiter": maxiter})
    assert (result.nit, result.status, result.success) == (maxiter, 1, False)
    assert "iterations" in result.message


def test_where_the_loss_is_infinite_it_returns_the_last_finite_iterate():
    """A wall at 0.7: the first step from 1 goes to 0.8, the second to 0.64."""

    def walled(x):
        f, g = x @ x, 2 * x
        return (f, g) if x[0] > 0.7 else (np.inf, g)

    result = minimize(walled, np.ones(1), jac=True, method=GradientDescent(lr=0.1))
    assert (result.status, result.success) == (3, False)
    assert "infinite" in result.message
    assert result.nit == 1
    assert result.x.tolist() == [0.8]
    assert result.fun == pytest.approx(0.64)
    assert np.isfinite(result.jac).all()


def test_a_rule_can_be_used_again():
    rule = HeavyBall(lr=0.005)
    first, again = (minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=rule) for _ in range(2))
    assert np.array_equal(first.x, again.x)
    assert rule == HeavyBall(lr=0.005)


# --- bounds ----------------------------------------------------------------------------------------------------------

BOUNDS = {
    "Bounds": Bounds([-1, -np.inf, 0.2, -np.inf], [1, 0.1, np.inf, 0]),
    "pairs": [(-1, 1), (None, 0.1), (0.2, None), (None, 0)],
    "array": np.array([[-1, 1], [-np.inf, 0.1], [0.2, np.inf], [-np.inf, 0]]),
}


@pytest.mark.parametrize("form", BOUNDS)
def test_with_bounds_it_finds_the_optimum_of_l_bfgs_b_and_every_iterate_is_feasible(form):
    A = np.array([[2.0, 0.6, -0.4, 0], [0.6, 1, 0.3, 0], [-0.4, 0.3, 1.5, 0.2], [0, 0, 0.2, 1]])
    b = np.array([2, 2, 2, -3])
    f = lambda x: (x @ A @ x / 2 - b @ x, A @ x - b)  # noqa: E731
    x0, seen = np.array([5.0, 5, -5, 5]), []  # not feasible
    bounds = BOUNDS[form]
    result = minimize(f, x0, jac=True, method=GradientDescent(lr=0.3), bounds=bounds, callback=seen.append, tol=1e-10)
    peer = minimize(f, np.array([0, 0, 1.0, 0]), jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-14)
    assert result.success
    assert np.allclose(result.x, peer.x, atol=1e-7)  # L-BFGS-B's own
    assert result.fun <= peer.fun + 1e-12
    assert all((BOUNDS["Bounds"].lb <= x).all() and (x <= BOUNDS["Bounds"].ub).all() for x in seen)
    assert result.x[1] == 0.1, "no bound is active: the test shows nothing"
    assert result.x[2] > 1, "where there is no upper bound"
    assert result.x[3] < -1, "where there is no lower bound"


def test_scalar_bounds_hold_for_all_variables():
    result = minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST, bounds=Bounds(-0.5, 0.5))
    assert result.success
    assert np.abs(result.x).max() == 0.5


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_a_callback_may_take_xk_or_the_intermediate_result():
    points, results = [], []

    def with_point(xk):
        points.append(xk)

    def with_result(*, intermediate_result):
        results.append(intermediate_result)

    for callback in with_point, with_result:
        minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST, callback=callback, options={"maxiter": 6})
    assert np.array_equal(points, [result.x for result in results])
    assert [result.nit for result in results] == [1, 2, 3, 4, 5, 6]
    assert all(result.fun == QUADRATIC(result.x)[0] for result in results)
    assert all((result.jac == QUADRATIC(result.x)[1]).all() for result in results)


@pytest.mark.parametrize("name", ["xk", "intermediate_result"])
def test_a_callback_may_write_into_what_it_gets(name):
    def spoil_point(xk):
        xk[:] = np.nan

    def spoil_result(intermediate_result):
        intermediate_result.x[:] = intermediate_result.jac[:] = np.nan

    callback = {"xk": spoil_point, "intermediate_result": spoil_result}[name]
    result = minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST, callback=callback)
    assert np.array_equal(result.x, minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST).x)
    assert np.isfinite(result.jac).all()


@pytest.mark.parametrize("name", ["xk", "intermediate_result"])
def test_a_callback_stops_the_run_by_raising_stop_iteration(name):
    seen = []

    def at_third(x):
        seen.append(x)
        if len(seen) == 3:
            raise StopIteration

    def by_point(xk):
        at_third(xk)

    def by_result(intermediate_result):
        at_third(intermediate_result.x)

    callback = {"xk": by_point, "intermediate_result": by_result}[name]
    result = minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST, callback=callback)
    assert (result.nit, result.status, result.success) == (3, 99, False)
    assert np.array_equal(result.x, seen[-1])
    assert result.fun == QUADRATIC(result.x)[0]
    assert "StopIteration" in result.message


def test_any_other_exception_reaches_the_caller():
    def fail(xk):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST, callback=fail)


# --- what it cannot do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jac", [None, False, "2-point"])
def test_without_a_gradient_it_asks_for_one(jac):
    with pytest.raises(ValueError, match=r"^a learning-rate rule needs the gradient: pass jac=True .*$"):
        minimize(lambda x: x @ x, np.ones(2), jac=jac, method=STEEPEST)


@pytest.mark.parametrize(
    "constraints", [{"type": "eq", "fun": np.sum}, [{"type": "ineq", "fun": np.sum}], LinearConstraint([1, 1], 0, 1)]
)
def test_constraints_are_refused_with_the_way_out(constraints):
    with pytest.raises(ValueError, match=r"^a learning-rate rule takes bounds, not constraints: see refopt\.sets .*$"):
        minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=STEEPEST, constraints=constraints)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1)])
def test_a_gradient_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"^jac must return a gradient of the shape of x0, \(2,\), got \(.*\)$"):
        minimize(lambda x: x @ x, np.ones(2), jac=lambda x: np.ones(shape), method=STEEPEST)


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"^fun must return one number, got an array of shape \(2,\)$"):
        minimize(lambda x: x * x, np.ones(2), jac=lambda x: 2 * x, method=STEEPEST)


def test_a_value_that_is_not_finite_is_no_success():
    result = minimize(lambda x: (np.nan, np.zeros(2)), np.ones(2), jac=True, method=GradientDescent())
    assert (result.success, result.status) == (False, 3)


@pytest.mark.parametrize("maxiter", [-1, 10.0, None])
def test_a_number_of_steps_that_is_none_is_refused(maxiter):
    with pytest.raises(ValueError, match=r"^maxiter must be an integer >= 0, got "):
        minimize(lambda x: (x @ x, 2 * x), np.ones(2), jac=True, method=GradientDescent(), options={"maxiter": maxiter})


def test_bounds_are_one_pair_for_each_variable():
    with pytest.raises(ValueError, match=r"^bounds must be one pair for each of the 2 variables, got 1$"):
        minimize(lambda x: (x @ x, 2 * x), np.ones(2), jac=True, method=GradientDescent(), bounds=[(0, 1)])


def test_an_unknown_infimum_is_asked_for():
    with pytest.raises(ValueError, match=r"^SPSMax needs the infimum of the loss, .*: pass f_star, "):
        minimize(QUADRATIC, QUADRATIC.x0, jac=True, method=SPSMax())
