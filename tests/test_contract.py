"""The contract of oracle, rule and loop: every law, held by every rule in RULES.

Each rule is built with its defaults and run on the mean of seven quadratics in six variables, with curvatures between
0.1 and 1, and with minimisers and positive minima of their own: the whole of it, and in mini-batches of 3, 3 and 1
terms. Runs are five epochs and two steps long, so that whatever is counted in epochs comes round more than once.
"""

import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields
from io import BytesIO
from itertools import combinations, islice
from math import inf, nan

import numpy as np
import pytest
import strict
from hypothesis import given, settings
from hypothesis import strategies as st

import refopt
from refopt import (
    L2,
    PROBLEMS,
    RULES,
    SPS,
    AllReduce,
    Ball,
    Box,
    Centralized,
    Clip,
    Constrained,
    FiniteSum,
    Halfspace,
    NonFiniteError,
    Recorded,
    Shuffled,
    Simplex,
    arrays,
    descend,
)
from refopt.arrays import dot
from refopt.oracle import Block, Wrapper
from refopt.problems import LeastSquares, Quadratic, QuadraticFamily

STEPS = 17

# Exemptions, each by name, and each with its reason. A rule named here must break the law: the tests check that too.
# law 8: a line search reads the values it compares
WAITS = frozenset({"Armijo", "SLSRestart", "SLSKeep", "SLS", "Goldstein", "SLSReleased"})
MOVES_DEAD_COORDINATES = frozenset({"AdaSecant"})  # law 9: its mean gradient starts at an eps
IGNORES_F_STAR = frozenset({"SPSSmoothReleased"})  # the authors' code never reads it in this mode

every_rule = pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)
few = settings(max_examples=3, deadline=None)  # times forty rules
seeds = st.integers(0, 2**32 - 1)


def family(seed=0, d=6, spread=0.3, floor=1.0):
    """Seven random quadratics (x - b)' A (x - b) / 2 + s in d variables, and a start."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((7, d, d)))[0]
    A = Q * rng.uniform(0.1, 1, (7, 1, d)) @ Q.transpose(0, 2, 1)
    b = rng.standard_normal(d) + rng.normal(0, 1, (7, d)) * spread
    return QuadraticFamily(A, b, rng.uniform(0.1, 1, 7) * floor, 3 * rng.standard_normal(d))


def whole(problem):
    return problem


def batches(problem):
    return FiniteSum(problem, Shuffled(problem.n, 3))


sources = pytest.mark.parametrize("source", [whole, batches])


def bits(rule, oracle, x, steps=STEPS, **options):
    """The bytes of x and eta after each of the next steps."""
    return [(s.x.tobytes(), np.asarray(s.eta).tobytes()) for s in islice(descend(rule, oracle, x, **options), steps)]


def frozen(state):
    return {name: np.asarray(value).tobytes() for name, value in state.items()}


def with_f_star(kind, f_star):
    """The rule, told the infimum if it can be told."""
    return kind(**{field.name: float(f_star) for field in fields(kind) if field.name == "f_star"})


@every_rule
@sources
def test_in_tiles_a_rule_takes_the_same_steps_bit_for_bit(kind, source, monkeypatch):
    """AR1, AR2, AR3. There averages are written over themselves, and displacements computed as x moves, by `step.d`."""
    plain = bits(kind(), source(family()), family().x0)
    monkeypatch.setattr(arrays, "TILE", 4)  # of 6
    steps = descend(kind(), ReadOnly(source(family())), family().x0)
    for x_eta, before in zip(plain, [family().x0.tobytes(), *(x for x, _ in plain)], strict=False):
        step = next(steps)
        assert (step.x.tobytes(), np.asarray(step.eta).tobytes()) == x_eta
        assert (np.frombuffer(before) + step.d).tobytes() == x_eta[0]


# --- 1, 2: what a step may touch -------------------------------------------------------------------------------------


class ReadOnly(Wrapper):
    """Every array it hands out is locked: NumPy raises ValueError where somebody writes into it."""

    def _locked(self, f, g):
        g.setflags(write=False)
        return f, g

    def __call__(self, x):
        return self._locked(*self.oracle(x))

    def peek(self, x):
        return self._locked(*self.oracle.peek(x))

    def hvp(self, x, v):
        product = self.oracle.hvp(x, v)
        product.setflags(write=False)
        return product


@every_rule
@sources
def test_a_step_writes_into_nothing_it_was_given_and_keeps_copies(kind, source):
    """Here x is a new locked array in every step; in the loop it is one array, moved in place.

    A rule that kept x itself, and not a copy, would find differences of 0 in the loop, and take other steps than here.
    """
    problem = family()
    rule, oracle, x = kind(), ReadOnly(source(problem)), problem.x0.copy()
    x.setflags(write=False)
    rule.start(x, oracle)
    mine = []
    for _ in range(STEPS):
        oracle.draw()
        x = x + rule.step(x, oracle)
        x.setflags(write=False)
        mine.append((x.tobytes(), np.asarray(rule.eta).tobytes()))
    assert mine == bits(kind(), source(problem), problem.x0)


class Walk(Wrapper):
    """A projection that leads x along a path (steps + 1, n), wherever the rule wanted to go."""

    def __init__(self, oracle, path):
        super().__init__(oracle)
        self.path, self.t = path, 0

    def draw(self):
        self.t += 1

    def project(self, x, out=None):
        target = x.copy() if out is None else out
        target[:] = self.path[self.t]
        return target


def test_a_rule_that_finds_the_curvature_measures_the_move_that_happened():
    """On a |x|²/2 some rules find the step 1/a; where a projection moves x elsewhere, they must still find it.

    Which rules, is tried: those whose last step, while the gradient is not yet 0, is 1/a when they move freely. From
    the displacement they proposed, and not the one that happened, secant rules would compute another number.
    """
    a = 2.7  # 1/a is no power of anybody's default
    rng = np.random.default_rng(0)
    f, path = Quadratic(a * np.eye(4), np.zeros(4), 0.3, np.full(4, 2.0)), rng.standard_normal((6, 4))
    finders = []
    for kind in RULES:
        free = [np.asarray(s.eta) for s in islice(descend(kind(), f, f.x0), 5) if np.abs(s.g).max() > 1e-3]
        if np.allclose(free[-1], 1 / a, rtol=1e-9, atol=0):
            finders.append(kind)
            led = [np.asarray(s.eta) for s in islice(descend(kind(), Walk(f, path), path[0]), 5)]
            assert np.allclose(led[1:], 1 / a, rtol=1e-9, atol=0), (kind, led)  # the first step has no past
    assert SPS in finders


# --- 3, 4: what an oracle may do -------------------------------------------------------------------------------------


class OneRank:
    """The communicator of a rank that is alone."""

    def allreduce(self, part):
        return part


def blocky(problem):
    """The problem, with its six variables named as a weight (2, 2) and a bias (2,)."""
    problem.blocks = (Block("weight", slice(0, 4), (2, 2)), Block("bias", slice(4, 6), (2,)))
    return problem


WRAPPED = {
    "FiniteSum": lambda: batches(family()),
    "L2": lambda: L2(family(), 0.1),
    "L2 of nothing": lambda: L2(family(), 0.0),
    "Clip": lambda: Clip(family(), 0.01),
    "Clip of nothing": lambda: Clip(family(), 1e9),
    "Centralized": lambda: Centralized(blocky(family())),
    "Constrained": lambda: Constrained(family(), Ball(1.0)),
    "AllReduce": lambda: AllReduce(family(), OneRank()),
    "all of them": lambda: Constrained(Clip(L2(AllReduce(batches(family()), OneRank()), 0.1), 1.0), Box(-1, 1)),
}
every_oracle = pytest.mark.parametrize("make", [*PROBLEMS.values(), *WRAPPED.values()], ids=[*PROBLEMS, *WRAPPED])


def start_of(oracle):
    return oracle.x0 if hasattr(oracle, "x0") else family().x0


@every_oracle
def test_an_oracle_answers_in_new_arrays_and_writes_into_none(make):
    oracle = make()
    x, v = start_of(oracle).copy(), np.ones_like(start_of(oracle))
    arrays = [
        x, v, oracle(x)[1], oracle(x)[1], oracle.peek(x)[1], oracle(2 * x)[1], oracle.hvp(x, v), oracle.hvp(x, v),
        oracle.project(x),
    ]  # fmt: skip
    before = [array.copy() for array in arrays]
    for a, b in combinations(arrays, 2):
        assert not np.shares_memory(a, b)
    oracle(x), oracle.peek(x), oracle.value(x), oracle.hvp(x, v), oracle.project(x), oracle.draw(), oracle(x)
    assert all((array == copy).all() for array, copy in zip(arrays, before, strict=True))


@every_oracle
def test_between_two_draws_an_oracle_is_a_pure_function(make):
    oracle = make()
    x = start_of(oracle)
    for _ in range(4):
        oracle.draw()
        f, g = oracle(x)
        assert f.ndim == 0
        assert f.dtype == g.dtype == x.dtype
        assert g.shape == x.shape
        oracle(2 * x), oracle.peek(x), oracle.value(-x), oracle.hvp(x, x), oracle.project(-x)
        again = oracle(x)
        assert (again[0], again[1].tobytes()) == (f, g.tobytes())
        assert oracle.value(x) == f


# --- 5, 6: state -----------------------------------------------------------------------------------------------------


@every_rule
@sources
def test_start_forgets_everything(kind, source):
    """The run before is of another size and precision."""
    rule, before, problem = kind(), family(seed=1, d=4).to(np, np.float32), family()
    bits(rule, source(before), before.x0)
    rule.start(problem.x0, source(problem))
    assert "eta" not in vars(rule), "a step size survived"
    assert bits(rule, source(problem), problem.x0) == bits(kind(), source(problem), problem.x0)
    assert repr(rule) == repr(kind()), "a hyper-parameter changed"


@pytest.mark.parametrize("kind", [kind for kind in RULES if isinstance(getattr(kind, "lr", None), float)])
def test_a_rule_says_whether_its_steps_are_lr_times_a_direction(kind):
    """Twice the lr with the same state: twice the displacement, bit for bit."""
    problem, rule, twice = family(), kind(), kind(lr=2 * kind.lr)
    x, steered = problem.x0, True
    rule.start(x, problem)
    for _ in range(STEPS):
        twice.start(x, problem)
        twice.load(rule.state())
        d, doubled = rule.step(x, problem), twice.step(x, problem)
        steered = steered and np.array_equal(doubled, 2 * d)
        x = x + d
    assert steered == kind.steered


@pytest.mark.parametrize("kind", [refopt.SLS, refopt.SLSKeep, refopt.Goldstein, refopt.Armijo])
def test_a_whole_number_for_a_rate_is_that_rate_also_after_a_resume(kind):
    problem = family()
    rule = kind(eta_init=1)
    assert rule == kind(eta_init=1.0)
    *_, last = islice(descend(rule, problem, problem.x0), 3)
    resumed = kind(eta_init=1)
    rest = bits(resumed, problem, last.x.copy(), 3, state=rule.state(), taken=3)
    assert rest == bits(kind(eta_init=1.0), problem, problem.x0, 6)[3:]


@pytest.mark.parametrize("wrong", [2.5, None, "3", 1j, [1, 2]], ids=repr)
def test_a_state_of_other_kinds_of_numbers_is_refused_whole(wrong):
    problem, rule = family(), refopt.HeavyBall()
    with pytest.raises(ValueError, match="call start first"):
        refopt.GradientDescent().load({"t": 3})
    rule.start(problem.x0, problem)
    state = rule.state()
    with pytest.raises(ValueError, match=r"t must hold numbers of int64|this state is not one of HeavyBall"):
        rule.load(state | {"t": wrong})
    assert frozen(rule.state()) == frozen(state)


@pytest.mark.parametrize("cap", [np.ones(6), np.ones(5, np.float32)], ids=["of another precision", "of another size"])
def test_a_cap_for_each_coordinate_is_of_the_kind_of_x(cap):
    problem = family().to(np, np.float32)
    rule = refopt.SPSMax(eta_max=cap)
    with pytest.raises(ValueError, match=r"^eta_max is an array of .*: give one of x's kind, float32 \(6,\)$"):
        next(descend(rule, problem, problem.x0))


def test_numbers_of_numpy_in_wrappers_and_sets_leave_float32_alone():
    problem = family().to(np, np.float32)
    for oracle in (
        L2(problem, np.float64(0.1)), Clip(problem, np.float64(1)), Constrained(problem, Ball(np.float64(1))),
        Constrained(problem, Simplex(np.float64(1))),
    ):  # fmt: skip
        step = next(descend(refopt.HeavyBall(), oracle, problem.x0))
        assert step.x.dtype == step.g.dtype == np.float32


@every_rule
def test_before_the_first_step_eta_is_0(kind):
    rule, problem = kind(), family()
    assert rule.eta == 0
    rule.start(problem.x0, problem)
    assert np.all(rule.eta == 0)
    bits(rule, problem, problem.x0)
    rule.start(problem.x0, problem)
    assert np.all(rule.eta == 0)


@every_rule
@sources
@few
@given(seeds, st.integers(1, STEPS))
def test_a_saved_run_goes_on_bit_for_bit_in_another_object(kind, source, seed, taken):
    problem = family(seed)
    rule, oracle, file = kind(), source(problem), BytesIO()
    steps = descend(rule, oracle, problem.x0)
    *_, last = islice(steps, taken)
    state, x = rule.state(), last.x.copy()
    np.savez(file, **state)
    saved = frozen(state)
    rest = [(s.x.tobytes(), np.asarray(s.eta).tobytes()) for s in islice(steps, STEPS)]
    assert frozen(state) == saved, "state() is not a copy"

    again = source(problem)
    again.seek(taken)
    with np.load(BytesIO(file.getvalue()), allow_pickle=False) as loaded:
        resumed = descend(kind(), again, x, state=dict(loaded), taken=taken)
        assert [(s.x.tobytes(), np.asarray(s.eta).tobytes()) for s in islice(resumed, STEPS)] == rest


@every_rule
def test_state_is_a_flat_dict_of_arrays_and_numbers_and_a_wrong_one_is_refused(kind):
    problem, rule = family(), kind()
    bits(rule, batches(problem), problem.x0)
    state = rule.state()
    assert state
    for name, value in state.items():
        assert isinstance(name, str)
        assert isinstance(value, np.ndarray | np.number | int | float)
        assert np.asarray(value).dtype.kind in "fiub"
        assert not np.shares_memory(value, rule.own_state()[name]), "not a copy"
    last, zeros = list(state)[-1], {name: np.zeros_like(value) for name, value in state.items()}
    wrong = [
        {name: value for name, value in state.items() if name != last},
        {**zeros, "of_another_rule": 1.0},
        {**zeros, last: np.zeros(problem.x0.size + 1)},
        {**zeros, last: np.full(np.shape(state[last]), "no number")},  # of the right shape, and after all others
    ]
    for given_state in wrong:
        with pytest.raises(ValueError, match=r".+"):
            rule.load(given_state)
        assert frozen(rule.state()) == frozen(state)


# --- 7: precision ----------------------------------------------------------------------------------------------------


def check_precision(rule, problem, source):
    dtype, x = problem.x0.dtype, problem.x0.copy()
    oracle = source(problem)
    rule.start(x, oracle)
    for _ in range(STEPS):
        oracle.draw()
        d = rule.step(x, oracle)
        x += d
        assert d.dtype == dtype
        assert d.shape == x.shape
        for name, value in {**rule.state(), "eta": rule.eta}.items():
            if type(value) not in (int, float, bool):  # those are weak: they take the precision of what they meet
                assert value.dtype == dtype or value.dtype.kind in "iub", (name, value.dtype)
                assert value.shape in ((), x.shape) or name != "eta"


@every_rule
@sources
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_displacement_rate_and_state_have_the_precision_of_x(kind, source, dtype):
    problem = family().to(np, dtype)
    check_precision(kind(), problem, source)
    check_precision(with_f_star(kind, problem.f_star), problem, source)


@every_rule
def test_a_hyperparameter_given_as_a_numpy_scalar_does_not_widen_float32(kind):
    """A sweep over np.logspace hands out np.float64, which is not weak as a Python float is."""
    numbers = {field.name: field.default for field in fields(kind) if isinstance(field.default, float)}
    rule = kind(**{name: np.float64(value) for name, value in numbers.items()})
    check_precision(rule, family().to(np, np.float32), batches)


# --- 8: the device ---------------------------------------------------------------------------------------------------


def device_dot(a, b):
    """`refopt.arrays.dot` as it runs on a device; NumPy's own adds the same products up in another order."""
    return (a * b).sum(dtype=np.float64).astype(a.dtype)


def device_run(kind, problem, source, read):
    oracle, rule, x = source(problem), kind(), problem.x0.copy()
    rule.start(x, oracle)
    for _ in range(STEPS):
        oracle.draw()
        x += rule.step(x, oracle)
        yield read(x).tobytes(), read(rule.eta).tobytes()


@every_rule
@sources
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rule_never_makes_the_host_wait_and_computes_on_a_device_what_it_computes_here(
    kind, source, dtype, monkeypatch
):
    for name, module in list(sys.modules.items()):
        if name.startswith("refopt.") and getattr(module, "dot", None) is dot:
            monkeypatch.setattr(module, "dot", device_dot)
    problem, waits = family(), kind.__name__ in WAITS
    if waits:
        with pytest.raises(strict.HostSyncError):
            list(device_run(kind, problem.to(strict, dtype), source, strict.read))
    with strict.watch(may_wait=waits, float64=dtype is np.float64):
        there = list(device_run(kind, problem.to(strict, dtype), source, strict.read))
    assert there == list(device_run(kind, problem.to(np, dtype), source, np.asarray))


# --- 9: dead coordinates ---------------------------------------------------------------------------------------------


@every_rule
@sources
@few
@given(seeds, st.sets(st.integers(0, 5), min_size=1, max_size=5))
def test_a_coordinate_whose_gradient_is_always_zero_never_moves(kind, source, seed, dead):
    rng, dead = np.random.default_rng(seed), sorted(dead)
    A = rng.standard_normal((7, 6)) / 3
    A[:, dead] = 0
    problem = LeastSquares(A, rng.standard_normal(7), rng.standard_normal(6))
    x = problem.x0
    for step in islice(descend(kind(), source(problem), x), STEPS):
        x = step.x
        if kind.__name__ not in MOVES_DEAD_COORDINATES:
            assert (x[dead] == problem.x0[dead]).all()
    if kind.__name__ in MOVES_DEAD_COORDINATES:
        assert (x[dead] != problem.x0[dead]).all()


# --- 10: ranks -------------------------------------------------------------------------------------------------------


class Ranks:
    """Communicators of `size` threads: each hands in its part, and all get the sum."""

    def __init__(self, size):
        self.parts = [None] * size
        self.barrier = threading.Barrier(size, timeout=20)

    def comm(self, rank):
        ranks = self

        class Comm:
            def allreduce(self, part):
                ranks.parts[rank] = part
                ranks.barrier.wait()  # all parts are there
                total = sum(ranks.parts)
                ranks.barrier.wait()  # all have read them
                return total

        return Comm()

    def run(self, task):
        """The results of task(rank, comm), one of each rank, in threads of their own."""

        def guarded(rank):
            try:
                return task(rank, self.comm(rank))
            except BaseException:
                self.barrier.abort()  # else the others wait for it
                raise

        with ThreadPoolExecutor(len(self.parts)) as pool:
            return list(pool.map(guarded, range(len(self.parts))))


@every_rule
@pytest.mark.parametrize("drawn", [True, False], ids=["batches", "whole"])
@few
@given(seeds, st.data())
def test_ranks_with_unequal_shares_take_the_steps_of_one_rank(kind, drawn, seed, data):
    """Rounding apart: the ranks' means are added up in another order. 1e-12 is some thousand ulps, for seven steps.

    Rules that divide by differences of gradients amplify more: 1e4 times what an ulp in the start does to them, then.

    With interpolation every share has the same f*; without it, f* of the mean is not the mean of the ranks' f*.
    """
    problem, rng = family(seed, spread=0, floor=0), np.random.default_rng(seed)
    shares = np.split(rng.permutation(7), [data.draw(st.integers(1, 6), "terms of rank 0")])
    batch = [data.draw(st.integers(1, len(share)), "batch of a rank") for share in shares]
    tables = [rng.integers(0, len(share), (7, size)) for share, size in zip(shares, batch, strict=True)]

    def walk(part, table, wrap=whole, x0=problem.x0):
        oracle = wrap(FiniteSum(part, Recorded(table, 3)) if drawn else part)
        return np.array([step.x.copy() for step in islice(descend(kind(), oracle, x0), 7)])

    def of_rank(rank, comm):
        return walk(problem.sample(shares[rank]), tables[rank], lambda oracle: AllReduce(oracle, comm))

    first, second = Ranks(2).run(of_rank)
    together = np.concatenate([share[table] for share, table in zip(shares, tables, strict=True)], axis=1)
    assert first.tobytes() == second.tobytes(), "the ranks part ways"
    alone, size = walk(problem, together), np.abs(problem.x0).max()
    nudged = np.abs(walk(problem, together, x0=np.nextafter(problem.x0, inf)) - alone).max()
    assert np.abs(first - alone).max() <= max(1e-12 * size, 1e4 * nudged)


# --- 11: projections -------------------------------------------------------------------------------------------------

SETS = [Ball(0.8, 0.1), Box(-0.5, 0.25), Halfspace(np.array([1.0, -2, 3, 0, 1, 1]), -1.0), Simplex(2.0)]


@every_rule
@sources
@pytest.mark.parametrize("feasible", SETS, ids=lambda feasible: type(feasible).__name__)
def test_with_a_projection_every_iterate_is_feasible(kind, source, feasible):
    """And it is the iterate that is projected: projecting it again changes rounding errors at most."""
    problem = family()
    for step in islice(descend(kind(), Constrained(source(problem), feasible), problem.x0), STEPS):
        assert np.abs(feasible.project(step.x) - step.x).max() <= 1e-14 * max(1, np.abs(step.x).max())


@every_rule
def test_a_rule_that_finds_the_optimum_finds_the_constrained_one_too(kind):
    """Told the constrained f*. Which rules, is tried: those whose displacement is -eta g with one number eta, and which
    come within 1e-6 of the free optimum in 1000 steps. (Rules with momentum carry it across the boundary, and need not
    have the right fixed point.)

    Where f* tells the step, the way along the boundary is slow, |x - x*| ~ 2 G / (mu sqrt(t)) at worst: hence 0.06, a
    fifth of how far the free optimum, projected, is from the constrained one at least.
    """
    Q = np.linalg.qr(np.random.default_rng(6).standard_normal((6, 6)))[0]
    problem = Quadratic(Q * np.linspace(0.2, 1, 6) @ Q.T, np.linspace(-3, 2, 6), 0.3, np.zeros(6))
    rule, x, along = with_f_star(kind, problem.f_star), problem.x0.copy(), True
    rule.start(x, problem)
    for _ in range(1000):
        d = rule.step(x, problem)
        along = along and np.ndim(rule.eta) == 0 and np.allclose(d, -rule.eta * problem(x)[1], 1e-9, 1e-12)
        x += d
    if not along or np.abs(x - problem.x_star).max() > 1e-6:
        assert kind not in {SPS, refopt.GradientDescent, refopt.Polyak}, "the criterion lets nobody in"
        return

    for feasible in Ball(1.5, 0.1), Box(-1, 1):
        best = problem.x0
        for _ in range(300):
            best = feasible.project(best - problem(best)[1])
        assert np.abs(feasible.project(best - problem(best)[1]) - best).max() <= 1e-12, "not the optimum: see sets"
        assert np.abs(feasible.project(problem.x_star) - best).max() > 0.3, "projecting the free optimum would do"
        rule = with_f_star(kind, problem(best)[0])
        *_, last = islice(descend(rule, Constrained(problem, feasible), problem.x0), 1000)
        assert np.abs(last.x - best).max() <= (0.06 if hasattr(rule, "f_star") else 1e-6)


# --- answers that are not finite -------------------------------------------------------------------------------------

FAULTS = {
    "f is NaN": lambda f, g: (f * nan, g),
    "f is infinite": lambda f, g: (f.dtype.type(inf), g),
    "one g is NaN": lambda f, g: (f, np.append(g[:-1], g.dtype.type(nan))),
    "one g is infinite": lambda f, g: (f, np.append(g.dtype.type(-inf), g[1:])),
}


class Faulty(Wrapper):
    """Spoils answer number `when`, 0, 1, ..., by a fault; or, given `samples`, all answers on these samples."""

    def __init__(self, oracle, fault, when=-1, samples=()):
        super().__init__(oracle)
        self.fault, self.when, self.bad, self.asked = FAULTS[fault], when, samples, 0

    def _answer(self, sample, f, g):
        self.asked += 1
        return self.fault(f, g) if self.asked == self.when + 1 or sample in self.bad else (f, g)

    def __call__(self, x):
        return self._answer(self.position() - 1, *self.oracle(x))

    def peek(self, x):
        return self._answer(self.position(), *self.oracle.peek(x))

    def hvp(self, x, v):
        f, product = self._answer(self.position() - 1, x.dtype.type(0), self.oracle.hvp(x, v))
        return product + 0 * f  # it has no loss to spoil


@every_rule
@few
@given(st.integers(0, 12), st.sampled_from(list(FAULTS)))
def test_a_non_finite_answer_raises_and_touches_neither_x_nor_state(kind, when, fault):
    problem, rule = family(), kind()
    oracle = Faulty(batches(problem), fault, when)
    rule.start(problem.x0, oracle)
    x, copy, state, t, eta = problem.x0, problem.x0.copy(), rule.state(), 0, rule.eta
    with pytest.raises(NonFiniteError) as caught:  # noqa: PT012
        for step in descend(rule, oracle, problem.x0):
            x, copy, state, t, eta = step.x, step.x.copy(), rule.state(), step.t, step.eta
    error = caught.value
    assert error.step == t + 1
    assert error.rule is rule
    assert np.array_equal(error.eta, eta)
    assert f"step {t + 1}" in str(error)
    assert type(rule).__name__ in str(error)
    assert "\n" not in str(error)
    assert x.tobytes() == copy.tobytes()
    assert frozen(rule.state()) == frozen(state)


@every_rule
@few
@given(st.sets(st.integers(0, 11), min_size=1, max_size=6), st.sampled_from(list(FAULTS)), seeds)
def test_skipping_bad_samples_is_as_if_they_had_never_been_drawn(kind, bad, fault, seed):
    """A skipped step leaves the rule's own count of steps alone, and so its schedules and periods.

    Only a rule that peeks at the next sample is different: it loses the step before a bad sample too.
    """
    problem = family(seed)
    table = np.random.default_rng(seed).integers(0, 7, (12, 3))
    oracle = Faulty(FiniteSum(problem, Recorded(table, 3)), fault, samples=bad)
    peeks = []
    oracle.oracle.peek = lambda x: peeks.append(x) or FiniteSum.peek(oracle.oracle, x)
    skipping = bits(kind(), oracle, problem.x0, 12, nonfinite="skip")
    if peeks:
        return
    good = [t for t in range(12) if t not in bad]
    clean = FiniteSum(problem, Recorded(table[good], 3))
    assert [skipping[t] for t in good] == bits(kind(), clean, problem.x0, len(good))
    for t in bad - {0}:
        assert skipping[t] == skipping[t - 1], "a skipped step moved"


# --- f* --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in RULES if "f_star" in kind.__dataclass_fields__])
def test_under_weight_decay_a_rule_asks_for_f_star_in_one_sentence(kind):
    problem = L2(family(), 0.1)
    bits(kind(f_star=-1.0), problem, family().x0, 3)  # given, it need not ask
    if kind().f_star is not None or kind.__name__ in IGNORES_F_STAR:
        bits(kind(), problem, family().x0, 3)
        return
    with pytest.raises(ValueError, match=rf"^{kind.__name__} needs .* pass f_star, [^\n]*$"):
        bits(kind(), problem, family().x0, 3)


@pytest.mark.parametrize("kind", [kind for kind in RULES if "f_star" in kind.__dataclass_fields__])
def test_f_star_from_the_field_and_from_the_problem_are_the_same_thing(kind):
    problem = family()
    told, asked = (bits(kind(f_star=f_star), problem, problem.x0) for f_star in (problem.f_star, None))
    assert told == asked


# --- hyper-parameters ------------------------------------------------------------------------------------------------


@every_rule
def test_a_rule_says_what_it_is_and_where_it_comes_from(kind):
    own = vars(kind)
    assert "__dataclass_fields__" in own, "a dataclass of its own, not only by inheritance"
    assert own["__doc__"], "a docstring"
    assert not own["__doc__"].startswith(f"{kind.__name__}("), "a docstring of its own, not the generated one"
    assert kind.paper, "a source"
    assert kind() == kind()


@every_rule
def test_hyperparameters_stay_as_given(kind):
    rule = kind()
    for field in fields(kind):
        with pytest.raises(AttributeError, match=rf"^{field.name} .*dataclasses\.replace"):
            setattr(rule, field.name, 0.5)
    assert rule == kind()


POSITIVE, CAP, FRACTION = (0, -1.0, inf), (0, -1.0), (-0.1, 1, 1.5, inf)
NOT_ALLOWED = {  # by name of the hyper-parameter, besides NaN, a string, and None where it is not the default
    "lr": POSITIVE, "c": POSITIVE, "tau": POSITIVE, "eta_init": POSITIVE, "batch_fraction": POSITIVE,
    "eta_max": CAP, "delta_init": CAP,
    "mu": FRACTION, "beta": FRACTION, "damping": FRACTION,
    "tau_0": POSITIVE, "tau_min": POSITIVE, "tau_max": POSITIVE, "threshold": CAP, "period": (0, -1, 0.5, inf),
    "eps_root": (-1e-8, inf), "v_init": (-1e-8, inf), "eps_u": POSITIVE,
    "rho": FRACTION, "beta1": FRACTION, "beta2": FRACTION,
    "meta_lr": (-1e-8, inf), "share": (0, -0.1, 1.5, inf), "gamma": (0, -0.1, 1.5, inf), "factor_max": CAP,
    "grad_clip": CAP, "gamma_clip": CAP, "alpha_clip": CAP, "epochs": (0, -1, 0.5, inf),
    "eps": (-1e-8, inf), "delta": (-1e-8, inf), "f_star": (inf, -inf),
}  # fmt: skip
NOT_ALLOWED_IN = {  # where one name means two things
    ("MoMo", "lr"): CAP,
    **{(kind, "meta_lr"): FRACTION for kind in ("MultiplicativeHD", "WindowMultiplicativeHD")},
    **{(kind, "beta"): (0, -0.1, 1.5, inf) for kind in ("StochasticBB", "StochasticBBBounded", "StochasticBBReleased")},
}


@pytest.mark.parametrize(
    ("kind", "field"),
    [pytest.param(kind, field, id=f"{kind.__name__}-{field.name}") for kind in RULES for field in fields(kind)],
)
def test_a_bad_hyperparameter_is_refused_in_one_sentence_that_names_it(kind, field):
    numbers = NOT_ALLOWED_IN.get((kind.__name__, field.name), NOT_ALLOWED.get(field.name, ()))
    none = () if field.default is None or field.name == "f_star" else (None,)
    for value in (*numbers, *none, nan, True, "0.1", [0.1]):
        with pytest.raises(ValueError, match=rf"^{field.name} must be [^\n]*got {re.escape(repr(value))}(\.0)?$"):
            kind(**{field.name: value})


@every_rule
def test_every_hyperparameter_has_a_default_and_is_known_to_the_tests(kind):
    for field in fields(kind):
        assert field.default is not MISSING or field.default_factory is not MISSING
        assert field.name in NOT_ALLOWED or not isinstance(field.default, float | int), (
            f"add {field.name} to NOT_ALLOWED: which numbers does it refuse?"
        )
