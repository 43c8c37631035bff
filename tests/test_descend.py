"""The loop: its order, who owns which array, what a Step tells, and going on from where a run was saved."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
import strict
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Function

from refopt import (
    ALIG,
    NTLR,
    PROBLEMS,
    Adam,
    AdaSecant,
    Armijo,
    Ball,
    Box,
    Constrained,
    Cosine,
    Cycle,
    DecSPS,
    Every,
    FiniteSum,
    GradientDescent,
    HeavyBall,
    NesterovLookAhead,
    NonFiniteError,
    Oracle,
    Polyak,
    Random,
    Rule,
    Shuffled,
    SPSSmooth,
    descend,
)
from refopt.oracle import Wrapper

QUADRATIC = PROBLEMS["quadratic"]()


def small():
    """Twelve equations, in batches of 5, 5 and 2."""
    return FiniteSum(PROBLEMS["least-squares-noisy"](), Shuffled(12, 5))


# --- order and ownership ---------------------------------------------------------------------------------------------


class Diary(Oracle):
    """f = |x|²/2 on [-1, 1]^n; writes down who was called, and with what x."""

    def __init__(self):
        self.entries = []

    def note(self, name, x):
        self.entries.append((name, x.tolist()))

    def __call__(self, x):
        self.note("ask", x)
        return x @ x / 2, x.copy()

    def draw(self):
        self.entries.append("draw")

    def peek(self, x):
        self.note("peek", x)
        return x @ x, 2 * x

    def project(self, x, out=None):
        self.note("project", x)
        return np.clip(x, -1, 1, out=out)


@dataclass
class Twice(Rule):
    """Peeks, then asks twice, and steps back by half."""

    def start(self, x, oracle):
        super().start(x, oracle)
        oracle.oracle.note("start", x)

    def step(self, x, oracle):
        oracle.peek(x)
        _f, g = oracle(x)
        oracle(2 * x)
        self.eta = 0.5 + self.t
        self.t += 1
        return -0.5 * g


def test_the_loop_projects_starts_and_then_draws_asks_moves_and_projects():
    diary = Diary()
    first, second = islice(descend(Twice(), diary, np.array([4.0])), 2)
    assert diary.entries == [
        ("project", [4]), ("start", [1]),
        "draw", ("peek", [1]), ("ask", [1]), ("ask", [2]), ("project", [0.5]),
        "draw", ("peek", [0.5]), ("ask", [0.5]), ("ask", [1]), ("project", [0.25]),
    ]  # fmt: skip
    assert (first.t, first.f, first.g.tolist(), first.eta) == (1, 0.5, [1], 0.5)
    assert (second.t, second.f, second.g.tolist(), second.eta) == (2, 0.125, [0.5], 1.5)
    assert second.x.tolist() == [0.25]


def test_a_resumed_run_starts_where_it_was_left():
    """The last iterate was projected already; doing it again could move it by a rounding error."""
    diary = Diary()
    step = next(descend(Twice(), diary, np.array([4.0]), state={"t": 7}, taken=5))
    assert diary.entries[:2] == [("start", [4]), "draw"]
    assert (step.t, step.eta) == (6, 7.5)


def test_a_step_tells_what_was_answered_at_x_before_the_move():
    """At the look-ahead point, of a rule that asks there first."""
    x = QUADRATIC.x0
    for step in islice(descend(GradientDescent(lr=0.01), QUADRATIC, x), 5):
        f, g = QUADRATIC(x)
        assert step.f == f
        assert (step.g == g).all()
        assert (step.x == x - 0.01 * g).all()
        x = step.x.copy()
    steps = descend(NesterovLookAhead(lr=0.001, mu=0.5), QUADRATIC, QUADRATIC.x0)
    before = next(steps).x.copy()
    ahead = before + 0.5 * (before - QUADRATIC.x0)
    assert np.allclose(next(steps).g, QUADRATIC(ahead)[1], rtol=1e-12)


def test_the_loop_owns_x_and_moves_it_in_place():
    x0 = QUADRATIC.x0.copy()
    x0.setflags(write=False)
    steps = descend(GradientDescent(lr=0.01), QUADRATIC, x0)
    first, second = next(steps), next(steps)
    assert first.x is second.x
    assert not np.shares_memory(first.x, x0)
    assert (x0 == QUADRATIC.x0).all()
    resumed = next(descend(GradientDescent(lr=0.01), QUADRATIC, x0, state={"t": 3}, taken=3))
    assert not np.shares_memory(resumed.x, x0)


def test_a_gradient_in_a_step_is_the_callers_to_keep():
    kept = [(step.g, step.g.copy()) for step in islice(descend(HeavyBall(), small(), np.zeros(5)), 10)]
    assert all((g == copy).all() for g, copy in kept)


@dataclass
class Buffered(Rule):
    """Returns the same locked array in every step."""

    def start(self, x, oracle):
        super().start(x, oracle)
        self.d = np.full_like(x, 0.25)
        self.d.setflags(write=False)

    def step(self, x, oracle):
        oracle(x)
        return self.d


def test_the_loop_only_reads_the_displacement():
    oracle, rule = Constrained(QUADRATIC, Box(-3, 3)), Buffered()
    *_, last = islice(descend(rule, oracle, QUADRATIC.x0), 6)
    assert last.x.tolist() == [3] * 8
    assert rule.d.tolist() == [0.25] * 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_x_keeps_its_precision(dtype):
    problem = PROBLEMS["quadratic"]().to(np, dtype)
    for oracle in problem, Constrained(problem, Ball(1.0)):
        step = next(descend(GradientDescent(lr=0.01), oracle, problem.x0))
        assert step.x.dtype == step.f.dtype == step.g.dtype == dtype


def test_a_rule_that_asks_nothing_is_caught():
    class Blind(Rule):
        def step(self, x, oracle):
            return 0 * x

    with pytest.raises(AssertionError, match="asks the oracle"):
        next(descend(Blind(), QUADRATIC, QUADRATIC.x0))


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x", [[1.0], np.zeros((2, 1)), np.zeros(()), np.zeros(3, int), np.zeros(3, complex), 1.0, np.zeros(0)]
)
def test_a_start_that_is_no_vector_of_floats_is_refused(x):
    with pytest.raises(ValueError, match=r"^x must be a 1-D array of float32 or float64, not empty: "):
        next(descend(GradientDescent(), QUADRATIC, x))


@pytest.mark.parametrize("word", ["ignore", "", None, True])
def test_another_word_for_nonfinite_is_refused(word):
    with pytest.raises(ValueError, match=rf"^nonfinite must be 'raise' or 'skip', got {word!r}$"):
        next(descend(GradientDescent(), QUADRATIC, QUADRATIC.x0, nonfinite=word))


def test_the_state_of_another_rule_is_refused():
    *_, _ = islice(descend(rule := HeavyBall(), small(), np.zeros(5)), 3)
    with pytest.raises(ValueError, match=r"^this state is not one of GradientDescent: it holds .*, expected .*$"):
        next(descend(GradientDescent(), small(), np.zeros(5), state=rule.state(), taken=3))


# --- going on --------------------------------------------------------------------------------------------------------

RESUMED = [
    lambda: HeavyBall(lr=Cosine(0.5, 0.01, 20), mu=Cycle(0.5, 0.9, 7)),
    lambda: HeavyBall(lr=Every(3, Random(0.01, 0.5, seed=4))),
    lambda: SPSSmooth(eta_init=0.1),
]


@pytest.mark.parametrize("make", RESUMED)
@settings(max_examples=8, deadline=None)
@given(st.integers(1, 13))
def test_a_run_cut_anywhere_goes_on_without_a_seam(make, taken):
    """Schedules, batches and bounds go on from the step where they were; a projection is not repeated."""
    whole = [
        (step.t, step.x.tobytes(), step.f, np.float64(step.eta))
        for step in islice(descend(make(), Constrained(small(), Ball(2.0)), np.ones(5)), 20)
    ]
    rule = make()
    *_, last = islice(descend(rule, Constrained(small(), Ball(2.0)), np.ones(5)), taken)
    oracle = Constrained(small(), Ball(2.0))
    oracle.seek(taken)
    rest = islice(descend(make(), oracle, last.x, state=rule.state(), taken=taken), 20 - taken)
    assert [(step.t, step.x.tobytes(), step.f, np.float64(step.eta)) for step in rest] == whole[taken:]


def test_a_rule_in_two_runs_at_once_is_refused():
    """Its state would be a mixture of both."""
    rule = HeavyBall()
    one, other = descend(rule, small(), np.zeros(5)), descend(rule, small(), np.ones(5))
    next(one), next(one)
    next(other)
    with pytest.raises(RuntimeError, match=r"is in another run, too: give each its own"):
        next(one)
    again = descend(rule, small(), np.ones(5), nonfinite="skip")
    assert [step.t for step in islice(again, 3)] == [1, 2, 3]


# --- answers of the wrong kind ---------------------------------------------------------------------------------------


class Given(Oracle):
    """Answers (f, g) whatever x is."""

    f_star = 0.0

    def __init__(self, f, g):
        self.f, self.g = f, g

    def __call__(self, x):
        return self.f, self.g


@pytest.mark.parametrize(
    "g", [np.ones(1), np.ones((5, 1)), np.ones(5, np.float32), np.ones(5, int), [1.0] * 5, None], ids=repr
)
def test_a_gradient_unlike_x_is_refused_and_never_broadcast(g):
    for rule in (GradientDescent(), Curved()):
        with pytest.raises(ValueError, match=r"^an oracle must answer with a gradient like x, float64 \(5,\), got "):
            next(descend(rule, Given(np.float64(1), g), np.ones(5)))


@pytest.mark.parametrize("f", [2.0, np.float64(2), np.array(2.0), 2, np.array(2.0, np.float32)], ids=repr)
@pytest.mark.parametrize("kind", [ALIG, DecSPS, Armijo])
def test_a_value_may_be_any_one_number_and_the_run_keeps_the_precision_of_x(kind, f):
    x = np.ones(5, np.float32)
    rule = kind()
    step = next(descend(rule, Given(f, np.ones(5, np.float32)), x))
    assert step.x.dtype == step.f.dtype == np.float32
    assert all(np.asarray(value).dtype != np.float64 or isinstance(value, float) for value in rule.state().values())


def test_a_value_of_more_than_one_number_is_refused():
    with pytest.raises(ValueError, match=r"^an oracle must answer with one number f, got an array of shape \(1,\)$"):
        next(descend(GradientDescent(), Given(np.ones(1), np.ones(5)), np.ones(5)))


def test_the_same_rule_object_starts_afresh_in_every_run():
    rule = HeavyBall()
    first, again = (
        [step.x.tobytes() for step in islice(descend(rule, small(), np.zeros(5)), 7)] for _ in range(2)
    )  # fmt: skip
    assert first == again


# --- answers that are not finite -------------------------------------------------------------------------------------


class Bad(Wrapper):
    """Answers NaN on the listed samples, 1, 2, ..."""

    def __init__(self, oracle, *bad):
        super().__init__(oracle)
        self.bad = bad

    def __call__(self, x):
        f, g = self.oracle(x)
        return (f * np.nan if self.position() in self.bad else f), g


def test_skip_passes_over_a_bad_sample_and_says_so_in_the_step():
    steps = islice(descend(GradientDescent(), Bad(small(), 3), np.ones(5), nonfinite="skip"), 4)
    rows = [(step.t, step.f, step.x.copy()) for step in steps]
    assert [t for t, _, _ in rows] == [1, 2, 3, 4]
    assert [bool(np.isnan(f)) for _, f, _ in rows] == [False, False, True, False]
    assert (rows[2][2] == rows[1][2]).all()
    assert (rows[3][2] != rows[2][2]).any()


def test_skip_does_not_pass_over_samples_for_ever_once_x_itself_is_lost():
    """A rate of 1e39 takes float32 to infinity in its first step: no sample can help any more."""
    total = QUADRATIC.to(np, np.float32)
    with pytest.raises(NonFiniteError), np.errstate(all="ignore"):
        list(islice(descend(GradientDescent(1e39), total, total.x0, nonfinite="skip"), 9))


def test_the_error_tells_step_rule_and_rate_and_what_to_do():
    rule = GradientDescent(lr=0.125)
    with pytest.raises(NonFiniteError) as caught:
        list(descend(rule, Bad(small(), 3), np.ones(5)))
    error = caught.value
    assert (error.step, error.rule, error.eta) == (3, rule, 0.125)
    assert isinstance(error, ArithmeticError)
    assert str(error) == (
        "loss or gradient is not finite from step 3 on, under GradientDescent(lr=0.125) with last step size 0.125:"
        " lower its rate or its bound (refopt.descend can leave such samples out: nonfinite='skip')"
    )


@dataclass
class Curved(Rule):
    """Uses the Hessian."""

    def step(self, x, oracle):
        _f, g = oracle(x)
        self.last = oracle.hvp(x, g)
        return -self.last


def test_a_hessian_product_that_is_not_finite_is_refused_too():
    class Kinked(Wrapper):
        def hvp(self, x, v):
            return v * np.inf

    rule = Curved()
    with pytest.raises(NonFiniteError):
        next(descend(rule, Kinked(QUADRATIC), QUADRATIC.x0))
    assert "last" not in rule.state()


@pytest.mark.parametrize(("bad", "told"), [(1, 3), (2, 3), (3, 3), (4, 6)])
def test_on_a_device_raise_reads_once_an_epoch_and_names_the_first_bad_step(bad, told, monkeypatch):
    """Three steps are an epoch here: the error comes with the last of them."""
    reads = []
    monkeypatch.setattr(strict.Array, "tolist", lambda self: reads.append(1) or strict.read(self).tolist())
    problem = PROBLEMS["least-squares-noisy"]().to(strict, np.float64)
    oracle, taken = Bad(FiniteSum(problem, Shuffled(12, 5)), bad, bad + 1), 0
    steps = descend(GradientDescent(), oracle, problem.x0)
    with pytest.raises(NonFiniteError) as caught:  # noqa: PT012
        for step in steps:
            taken = step.t
    assert caught.value.step == bad
    assert taken == told - 1
    assert len(reads) == told / 3


def test_on_a_device_without_epochs_raise_reads_every_hundred_steps(monkeypatch):
    reads = []
    monkeypatch.setattr(strict.Array, "tolist", lambda self: reads.append(self.size) or strict.read(self).tolist())
    problem = PROBLEMS["quadratic"]().to(strict, np.float32)
    *_, last = islice(descend(GradientDescent(lr=0.01), problem, problem.x0), 250)
    assert reads == [100, 100]
    assert last.t == 250


# --- one number for a step size --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [HeavyBall(0.001), NTLR(HeavyBall(0.001), period=9)], ids=repr)
def test_the_size_of_a_step_is_its_eta_if_that_is_one_number(rule):
    """Heavy ball moves by more than lr times the gradient: its step size is lr all the same, also if it is steered."""
    for step in islice(descend(rule, QUADRATIC, QUADRATIC.x0), 5):
        assert step.size == step.eta == 0.001
    assert np.linalg.norm(step.d) > 0.0011 * np.linalg.norm(step.g)


@pytest.mark.parametrize("rule", [Adam(0.01, eps=0.0), AdaSecant(), NTLR(Adam(0.01, eps=0.0))], ids=repr)
def test_the_size_of_a_step_by_rates_is_its_length_over_that_of_the_gradient(rule):
    """Not the mean of the rates: a coordinate without a gradient has any rate, and goes nowhere."""
    dead = Function(lambda x: (x[0] ** 2 + 2 * x[1] ** 2, np.array([2 * x[0], 4 * x[1], 0])))
    for step in islice(descend(rule, dead, np.array([3.0, -1, 5])), 5):
        assert step.size == pytest.approx(np.linalg.norm(step.d) / np.linalg.norm(step.g), rel=1e-14)
        assert step.eta.shape == (3,)
        assert step.size.ndim == 0


def test_a_step_along_no_gradient_has_size_0():
    still = Function(lambda x: (0.0, 0 * x))
    assert next(descend(Adam(), still, np.ones(2))).size == 0


def test_rates_computed_when_asked_are_remembered_and_gone_with_the_next_step():
    steps = descend(Adam(0.01), QUADRATIC, QUADRATIC.x0)
    first, second = next(steps), None
    rates = first.eta
    second = next(steps)
    assert first.eta is rates
    next(steps)
    with pytest.raises(RuntimeError, match=r"^the step size of step 2 is gone: read it before the next step"):
        _ = second.eta
    steps = list(islice(descend(Polyak(), QUADRATIC, QUADRATIC.x0), 9))
    assert len({float(step.eta) for step in steps}) == 9, "one number is kept"


def test_a_displacement_is_gone_with_the_next_step_unless_it_was_asked_for(monkeypatch):
    """It may be computed from what the rule remembers, and that has moved on by then."""
    monkeypatch.setattr("refopt.arrays.TILE", 4)
    problem = PROBLEMS["quadratic"]()
    assert problem.x0.size > 4
    steps, before = descend(Adam(0.01), problem, problem.x0), problem.x0
    first = next(steps)
    d = first.d
    np.testing.assert_array_equal(first.x, before + d)
    second = next(steps)
    assert first.d is d
    next(steps)
    with pytest.raises(RuntimeError, match=r"^the displacement of step 2 is gone: read it before the next step"):
        _ = second.d


def test_a_skipped_step_proposes_nothing():
    problem = PROBLEMS["least-squares-noisy"]()
    oracle = Bad(FiniteSum(problem, Shuffled(12, 5)), 2)
    steps = islice(descend(GradientDescent(), oracle, problem.x0, nonfinite="skip"), 3)
    assert [bool(step.d.any()) for step in steps] == [True, False, True]


def test_a_gradient_that_is_a_view_of_x_is_read_before_x_moves(monkeypatch):
    """f = <x, Jx> / 2 with J the reversal: in tiles, x would move while its other end is still to be read."""
    monkeypatch.setattr("refopt.arrays.TILE", 4)
    x = np.arange(12.0)

    class Reversal(Oracle):
        def __call__(self, x):
            return x @ x[::-1] / 2, x[::-1]

    step = next(descend(GradientDescent(0.1), Reversal(), x))
    assert (step.x == x + -0.1 * x[::-1]).all()
