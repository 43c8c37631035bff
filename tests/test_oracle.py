"""Oracles: samples in their order, and what each wrapper changes and leaves alone."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from unittest.mock import Mock, call

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad

from refopt import (
    L2,
    PROBLEMS,
    AllReduce,
    Ball,
    Box,
    Centralized,
    Clip,
    Constrained,
    FiniteSum,
    Oracle,
    Recorded,
    Shuffled,
)
from refopt.oracle import Block, Wrapper
from refopt.problems import Logistic, Quadratic, QuadraticFamily

quick = settings(max_examples=40, deadline=None)
orders = st.integers(1, 12).flatmap(
    lambda n: st.builds(Shuffled, st.just(n), st.integers(1, n), st.integers(0, 99), st.booleans())
)


def family(n=5, d=4, seed=0):
    """n quadratics in d variables."""
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((n, d, d))
    A = roots @ roots.transpose(0, 2, 1) / d + 0.1 * np.eye(d)
    return QuadraticFamily(A, rng.standard_normal((n, d)), rng.uniform(-1, 1, n), rng.standard_normal(d))


def same(answer, other):
    return answer[0] == other[0] and (answer[1] == other[1]).all()


# --- orders ----------------------------------------------------------------------------------------------------------


@quick
@given(orders)
def test_an_epoch_of_shuffled_batches_holds_every_term_once(order):
    for epoch in range(3):
        start = epoch * order.steps_per_epoch
        batches = [order(t) for t in range(start, start + order.steps_per_epoch)]
        drawn = np.concatenate(batches)
        left_out = order.n % order.batch if order.drop_last else 0
        assert len(drawn) == order.n - left_out
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= set(range(order.n))
        assert all(len(batch) == order.batch for batch in batches[:-1])
        assert len(batches[-1]) == (order.batch if order.drop_last else (order.n - 1) % order.batch + 1)


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    order = Shuffled(50, 50)
    epochs = [tuple(order(t)) for t in range(4)] + [tuple(Shuffled(50, 50, seed=1)(t)) for t in range(4)]
    assert len(set(epochs)) == 8


@quick
@given(orders, st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_shuffled_is_a_pure_function_of_the_step(order, steps):
    """Asked in any order, after other orders have been asked, by an equal object."""
    twin = Shuffled(order.n, order.batch, order.seed, order.drop_last)
    once = {t: order(t).copy() for t in range(61)}
    assert all((twin(t) == once[t]).all() for t in steps)


@pytest.mark.parametrize("batch", [0, -1, 6])
def test_a_batch_that_cannot_be_drawn_is_refused(batch):
    with pytest.raises(ValueError, match=rf"^batch must be between 1 and the 5 samples there are, got {batch}$"):
        Shuffled(5, batch)


def test_recorded_batches_come_in_the_order_of_the_table_and_again():
    table = np.array([[0, 1], [2, 3], [1, 1]])
    order = Recorded(table, steps_per_epoch=2)
    assert [order(t).tolist() for t in range(5)] == [[0, 1], [2, 3], [1, 1], [0, 1], [2, 3]]


# --- finite sums -----------------------------------------------------------------------------------------------------


@quick
@given(st.integers(1, 5), st.integers(0, 99), st.integers(0, 9))
def test_peek_gives_the_answer_of_the_next_draw_without_taking_it(batch, seed, draws):
    total = family()
    oracle = FiniteSum(total, Shuffled(5, batch, seed))
    for _ in range(draws):
        oracle.draw()
    here = oracle(total.x0)
    ahead = oracle.peek(total.x0)
    assert oracle.position() == draws
    assert same(oracle(total.x0), here)
    oracle.draw()
    assert same(oracle(total.x0), ahead)


@quick
@given(st.integers(1, 5), st.integers(0, 20))
def test_seek_goes_where_drawing_leads(batch, position):
    total = family()
    drawn, sought = (FiniteSum(total, Shuffled(5, batch, 7)) for _ in range(2))
    for _ in range(position):
        drawn.draw()
    sought.seek(33)
    sought.seek(position)
    for _ in range(3):
        assert sought.position() == drawn.position()
        assert same(sought(total.x0), drawn(total.x0))
        assert same(sought.peek(total.x0), drawn.peek(total.x0))
        sought.draw()
        drawn.draw()


def test_before_the_first_draw_a_finite_sum_answers_for_the_first_sample():
    total = family()
    oracle = FiniteSum(total, Shuffled(5, 2))
    before = oracle(total.x0)
    oracle.draw()
    assert same(oracle(total.x0), before)


def test_a_sample_is_the_mean_of_its_terms_and_knows_its_size_and_infimum():
    total = family()
    oracle = FiniteSum(total, Shuffled(5, 2, seed=3))
    for _ in range(3):
        oracle.draw()
        terms = [total.sample([i]) for i in oracle.index]
        f, g = oracle(total.x0)
        assert f == pytest.approx(np.mean([term(total.x0)[0] for term in terms]), rel=1e-14)
        assert np.allclose(g, np.mean([term(total.x0)[1] for term in terms], axis=0), rtol=1e-13)
        assert oracle.value(total.x0) == f
        assert oracle.samples == len(oracle.index)
        assert oracle.batch_fraction == len(oracle.index) / 5
        assert oracle.f_star == total.sample(oracle.index).f_star
    assert oracle.samples == 1, "the last batch of an epoch is smaller"
    assert oracle.steps_per_epoch == 3


def test_the_samples_of_an_epoch_weighted_by_size_make_the_whole():
    total = family()
    oracle, f, g = FiniteSum(total, Shuffled(5, 2)), 0, 0
    for _ in range(oracle.steps_per_epoch):
        oracle.draw()
        part = oracle(total.x0)
        f, g = f + oracle.batch_fraction * part[0], g + oracle.batch_fraction * part[1]
    assert f == pytest.approx(total(total.x0)[0], rel=1e-14)
    assert np.allclose(g, total(total.x0)[1], rtol=1e-13)


# --- the default Hessian product -------------------------------------------------------------------------------------


@quick
@given(st.integers(0, 2**32 - 1), st.floats(-6, 6), st.floats(-3, 3))
def test_the_default_hessian_product_is_exact_on_a_quadratic_but_for_rounding(seed, v_scale, x_scale):
    """No truncation; the rounding of g, eps |A| |x|, over h = cbrt(eps) (1 + |x|) / |v|, is about 1e-10 |A| |v|."""
    problem, rng = family(seed=seed), np.random.default_rng(seed)
    x, v = 10**x_scale * rng.standard_normal(4), 10**v_scale * rng.standard_normal(4)
    product = Oracle.hvp(problem, x, v)
    scale = np.linalg.norm(problem.A.mean(axis=0), 2) + np.linalg.norm(problem.A.mean(axis=0) @ problem.x_star)
    assert np.abs(product - problem.hvp(x, v)).max() <= 1e-9 * scale * np.linalg.norm(v)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_default_hessian_product_is_accurate_to_two_thirds_of_the_digits(dtype):
    """On a function that is not quadratic: truncation h² and rounding eps / h meet at eps^(2/3)."""
    problem = PROBLEMS["logistic"]().to(np, dtype)
    v = np.arange(1, 5).astype(dtype)
    product = Oracle.hvp(problem, problem.x0, v)
    assert product.dtype == dtype
    exact = problem.hvp(problem.x0, v)
    assert np.abs(product - exact).max() <= 10 * np.finfo(dtype).eps ** (2 / 3) * np.abs(exact).max()


def test_the_hessian_times_nothing_is_nothing():
    problem = family()
    assert Oracle.hvp(problem, problem.x0, np.zeros(4)).tolist() == [0] * 4


# --- wrappers --------------------------------------------------------------------------------------------------------


def test_a_wrapper_passes_on_all_that_it_does_not_change():
    inner = Mock(spec=Oracle)
    inner.position.return_value = 4
    oracle = Wrapper(inner)
    for name in ("blocks", "f_star", "steps_per_epoch", "batch_fraction", "samples"):
        assert getattr(oracle, name) is getattr(inner, name)
    assert oracle(1) is inner.return_value
    assert oracle.value(2) is inner.value.return_value
    assert oracle.hvp(4, 5) is inner.hvp.return_value
    assert oracle.project(6, 7) is inner.project.return_value
    assert oracle.buffers() is inner.buffers.return_value
    assert oracle.position() == 4
    oracle.draw()
    oracle.seek(8)
    assert oracle.peek(3) is inner.return_value
    assert inner.mock_calls == [
        call(1), call.value(2), call.hvp(4, 5), call.project(6, 7), call.buffers(), call.position(), call.draw(),
        call.seek(8), call.position(), call.seek(5), call(3), call.seek(4),
    ]  # fmt: skip
    public = {name for name in vars(Oracle) if not name.startswith("_")} - {"peek"}  # it is made of the others
    assert public <= set(vars(Wrapper)), "what an oracle has and a wrapper would hide"


def blocky(problem):
    """The problem, its four variables named as a weight (2, 2)."""
    problem.blocks = (Block("weight", slice(0, 4), (2, 2)),)
    return problem


WRAPPERS = {
    "L2": lambda o: L2(o, 0.3),
    "Clip": lambda o: Clip(o, 0.1),
    "Centralized": Centralized,
    "Constrained": lambda o: Constrained(o, Ball(1.0)),
    "AllReduce": lambda o: AllReduce(o, Mock(allreduce=lambda part: part)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_through_every_wrapper_peek_gives_the_answer_of_the_next_draw(wrap):
    total = blocky(family())
    oracle = wrap(FiniteSum(total, Shuffled(5, 2)))
    for t in range(4):
        ahead = oracle.peek(total.x0)
        assert oracle.position() == t
        oracle.draw()
        assert same(oracle(total.x0), ahead)


def test_a_plain_oracle_has_nothing_to_draw_and_every_point_is_feasible():
    problem, x = family(), np.arange(4.0)
    assert problem.project(x).tolist() == x.tolist()
    assert problem.project(x) is not x
    assert problem.project(x, out=x) is x
    target = np.zeros(4)
    assert problem.project(x, out=target) is target
    assert target.tolist() == x.tolist()
    problem.draw()
    problem.seek(5)
    assert problem.position() == 0
    assert problem.buffers() == {}
    assert same(problem.peek(x), problem(x))


def test_weight_decay_is_a_term_of_the_loss_its_gradient_and_its_hessian():
    problem = PROBLEMS["logistic"]()
    oracle, x, v = L2(problem, 0.3), problem.x0, np.arange(4.0)
    assert oracle(x)[0] == pytest.approx(problem(x)[0] + 0.15 * x @ x, rel=1e-15)
    assert oracle.value(x) == oracle(x)[0]
    assert check_grad(lambda x: oracle(x)[0], lambda x: oracle(x)[1], x) < 1e-6  # forward differences
    assert np.allclose(oracle.hvp(x, v), Oracle.hvp(oracle, x, v), rtol=1e-8)
    assert oracle.f_star is None
    assert same(L2(problem, 0)(x), problem(x))


@quick
@given(st.floats(1e-3, 1e3), st.integers(0, 99))
def test_clipping_shortens_a_long_gradient_keeps_its_direction_and_leaves_the_loss(norm, seed):
    problem = family(seed=seed)
    f, g = problem(problem.x0)
    oracle = Clip(problem, norm)
    clipped_f, clipped = oracle(problem.x0)
    assert clipped_f == oracle.value(problem.x0) == f
    length = np.linalg.norm(g)
    if length <= norm:
        assert (clipped == g).all()
    else:
        assert np.linalg.norm(clipped) == pytest.approx(norm, rel=1e-14)
        assert np.allclose(clipped, g * (norm / length), rtol=1e-14)


def test_clipping_leaves_a_zero_gradient_zero():
    problem = Quadratic(np.eye(2), np.ones(2), 0.0, np.zeros(2))
    assert Clip(problem, 1.0)(np.ones(2))[1].tolist() == [0, 0]


@pytest.mark.parametrize("decay", [-0.1, np.nan, np.inf])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match=r"^decay must be a finite number >= 0, got "):
        L2(family(), decay)


@pytest.mark.parametrize("norm", [0, -1.0, np.nan])
def test_a_clipping_norm_that_is_none_is_refused(norm):
    with pytest.raises(ValueError, match=r"^norm must be a positive number, or inf for no cap, got "):
        Clip(family(), norm)


def test_centralizing_takes_the_mean_over_all_axes_but_the_first_from_weights_only():
    shapes = {"bias": (3,), "conv": (2, 2, 2), "matrix": (3, 4)}
    sizes = np.cumsum([0, *(np.prod(shape) for shape in shapes.values())])
    problem = family(n=2, d=sizes[-1] + 1)  # the last variable belongs to no block
    problem.blocks = tuple(
        Block(name, slice(*ends), shape) for (name, shape), ends in zip(shapes.items(), pairwise(sizes), strict=True)
    )
    f, g = problem(problem.x0)
    centred_f, centred = Centralized(problem)(problem.x0)
    assert centred_f == f
    for _, part, shape in problem.blocks:
        before, after = g[part].reshape(shape), centred[part].reshape(shape)
        mean = before.mean(axis=tuple(range(1, len(shape))), keepdims=True) if len(shape) > 1 else 0
        assert np.allclose(after, before - mean, rtol=1e-14, atol=1e-15)
    assert (centred[-1:] == g[-1:]).all()


def test_a_constraint_changes_the_projection_and_nothing_else():
    problem, x = family(), np.full(4, 3.0)
    oracle = Constrained(problem, Ball(1.0))
    assert same(oracle(x), problem(x))
    assert oracle.f_star == problem.f_star
    assert np.allclose(oracle.project(x), 0.5)
    assert oracle.project(x, out=x) is x
    assert np.allclose(x, 0.5)


def test_wrappers_compose_in_the_order_they_are_written():
    problem = family()
    x = 10 * problem.x0
    decayed_then_clipped = Clip(L2(problem, 0.5), 1.0)(x)[1]
    clipped_then_decayed = L2(Clip(problem, 1.0), 0.5)(x)[1]
    assert np.linalg.norm(decayed_then_clipped) == pytest.approx(1, rel=1e-14)
    assert np.allclose(clipped_then_decayed, Clip(problem, 1.0)(x)[1] + 0.5 * x, rtol=1e-14)
    assert np.abs(Clip(Constrained(problem, Box(-1, 1)), 1.0).project(x)).max() <= 1


# --- ranks -----------------------------------------------------------------------------------------------------------


class Comm:
    """What `size` threads share: every allreduce waits for all of them, and gives all of them the sum."""

    def __init__(self, size):
        self.barrier, self.parts, self.messages = threading.Barrier(size, timeout=20), {}, 0

    def allreduce(self, part):
        self.parts[threading.get_ident()] = part
        self.barrier.wait()
        total = sum(self.parts.values())
        if self.barrier.wait() == 0:
            self.messages += 1
        return total

    def ask(self, oracles, question):
        """The answer of each oracle to question(AllReduce(oracle)), all asked at once."""

        def one(oracle):
            try:
                return question(AllReduce(oracle, self))
            except BaseException:
                self.barrier.abort()
                raise

        with ThreadPoolExecutor(len(oracles)) as pool:
            return list(pool.map(one, oracles))


@quick
@given(st.integers(1, 4), st.integers(0, 99))
def test_every_rank_gets_the_mean_over_all_terms(cut, seed):
    total = family(seed=seed)
    ranks = [total.sample(range(cut)), total.sample(range(cut, 5))]
    x, v = total.x0, np.arange(4.0)
    for question in (
        lambda o: np.append(*o(x)), lambda o: np.append(*o.peek(x)), lambda o: o.value(x), lambda o: o.hvp(x, v),
    ):  # fmt: skip
        first, second = Comm(2).ask(ranks, question)
        assert (first == second).all()
        assert np.allclose(first, question(total), rtol=1e-13, atol=1e-13)


def test_an_answer_of_many_ranks_is_one_message_and_keeps_the_precision():
    total = family().to(np, np.float32)
    comm = Comm(2)
    (f, g), _ = comm.ask([total.sample([0, 1]), total.sample([2, 3, 4])], lambda o: o(total.x0))
    assert comm.messages == 2, "the other one to compare their epochs, when they meet"
    assert f.dtype == g.dtype == np.float32
    assert f.ndim == 0


def test_the_infimum_of_many_ranks_is_the_mean_of_theirs_or_unknown():
    """With interpolation that is the infimum of the mean."""
    b = np.tile([1.0, -2, 3], (3, 1))
    total = QuadraticFamily(np.stack([np.eye(3)] * 3), b, np.array([0.25, 0.5, 4.5]), np.zeros(3))
    ranks = [total.sample([0]), total.sample([1, 2])]
    assert Comm(2).ask(ranks, lambda o: o.f_star) == [1.75, 1.75]
    assert total.f_star == pytest.approx(1.75, rel=1e-15)
    assert Comm(2).ask([L2(rank, 0.1) for rank in ranks], lambda o: o.f_star) == [None, None]


def test_the_batch_fraction_of_many_ranks_is_that_of_their_samples_together():
    """Two ranks that draw 1 of 2 and 2 of 3 terms draw 3 of 5; a rule that asks must hear the same on both."""
    total = family()
    ranks = [FiniteSum(total.sample([0, 1]), Shuffled(2, 1)), FiniteSum(total.sample([2, 3, 4]), Shuffled(3, 2))]
    assert Comm(2).ask(ranks, lambda o: o.batch_fraction) == pytest.approx([0.6, 0.6], rel=1e-15)


def test_a_rank_without_samples_adds_nothing():
    """As when the last mini-batch of an epoch is a single term: a mean of none, were it asked for, would be NaN."""
    total, x = family(), family().x0
    order = Recorded(np.arange(5)[None], 1), Recorded(np.empty((1, 0), int), 1)
    for question in (lambda o: np.append(*o(x)), lambda o: o.value(x), lambda o: o.hvp(x, np.arange(4.0))):
        first, second = Comm(2).ask([FiniteSum(total, rows) for rows in order], question)
        assert (first == second).all()
        assert np.allclose(first, question(total), rtol=1e-13, atol=1e-13)


def test_ranks_whose_epochs_differ_are_refused_on_all_of_them():
    """A rule of one rate per epoch would change it here and not there; nobody waits for a rank that has left."""
    total = family()
    ranks = [FiniteSum(total.sample([0, 1]), Shuffled(2, 1)), FiniteSum(total.sample([2, 3, 4]), Shuffled(3, 1))]

    comm, refused = Comm(2), []

    def meet(oracle):
        try:
            AllReduce(oracle, comm)
        except ValueError as error:
            refused.append(str(error))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(meet, ranks))
    assert sorted(refused) == [
        f"the ranks' epochs have different lengths, here of {steps} steps: give each rank its share of every"
        " mini-batch, or mini-batches whose number is the same on all"
        for steps in (2, 3)
    ]


def test_one_infinite_rank_makes_every_rank_infinite():
    """So that all of them refuse the answer, and none goes on alone."""
    good = Logistic(np.ones((2, 1)), np.array([1.0, -1]), np.zeros(1))

    class Broken(Wrapper):
        def __call__(self, x):
            f, g = self.oracle(x)
            return f * np.inf, g

    (first, _), (second, _) = Comm(2).ask([good, Broken(good)], lambda o: o(good.x0))
    assert first == second == np.inf


def test_mini_batches_are_drawn_from_all_terms_and_whole():
    total = PROBLEMS["least-squares"]()
    with pytest.raises(ValueError, match=r"^order draws from 5 terms, but there are 12: give it n=12$"):
        FiniteSum(total, Shuffled(5, 2))
    with pytest.raises(ValueError, match=r"^batch must be a positive integer, got 2.5$"):
        Shuffled(7, 2.5)
