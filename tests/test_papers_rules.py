"""Sasse's and Liang et al.'s scripts train with what the papers say; the rows of the thesis agree with its records."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from refopt import PROBLEMS, Cycle, HeavyBall, Linear, SimpleAdaSecantReleased, StochasticBB, descend

FOLDER = Path(__file__).parent.parent / "tutorials" / "papers"


@pytest.fixture
def sasse(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("sasse")


@pytest.fixture
def liang(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("liang")


def test_the_records_of_the_author_have_the_accuracies_and_epochs_of_his_tables(sasse):
    """A row typed wrong would be noticed where there is a record, and there are 47 of them."""
    theirs = sasse.recorded()
    if not theirs:
        pytest.skip("the author's records are not in REFOPT_DATA")
    shared = [sasse.SETTINGS[label] for label in theirs if label in sasse.SETTINGS]
    assert len(shared) == 47
    for row in shared:
        accuracy = theirs[row.label]["val_accuracy"]
        assert 100 * max(accuracy) == pytest.approx(row.accuracy, abs=0.006)  # two decimals are printed
        assert int(np.argmax(accuracy)) == row.epoch


def test_a_25_cycle_is_four_cycles_of_9750_steps_with_the_momentum_against_it(sasse):
    rule = sasse.trial(sasse.SETTINGS["SGD 25-cycle 0.001-1"], sasse.SIZES["full"]).rule
    assert rule == HeavyBall(Cycle(0.001, 1.0, 25 * 390), mu=Cycle(0.9, 0.8, 25 * 390))


def test_the_decays_fall_by_the_factors_printed_in_equations_4_1_and_4_2(sasse):
    for start, gamma in (("1", 0.9998231771), ("3", 0.99979505799)):
        rule = sasse.trial(sasse.SETTINGS[f"SGD decay {start}"], sasse.SIZES["full"]).rule
        assert rule.lr(1) / rule.lr(0) == pytest.approx(gamma, abs=5e-11)


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_every_planned_rate_stays_within_its_range_and_reaches_its_peak(sasse, scale):
    size = sasse.SIZES[scale]
    for row in sasse.PLACES["chapter 5"]:
        rule, low, _, high = sasse.trial(row, size).rule, *row.rate.partition("-")
        if row.optimizer == "SGD" and high:
            images = size.data["CIFAR-10"][1]
            steps = size.epochs * (images // (row.batch // size.divisor))
            rates = np.array([rule.lr(k) for k in range(steps)])
            assert rates.min() >= float(low) * (1 - 1e-9), row.label
            assert float(high) * 0.5 < rates.max() <= float(high) * (1 + 1e-9), row.label


def test_a_cycle_is_cut_off_after_its_first_one_and_a_constant_rate_is_not(sasse):
    """As `to_one_cycle` of the author's plots; where an epoch is longer than a cycle, its one point is left."""
    for label, ends in ((sasse.SGD[1], 25), (sasse.SGD[2], 10), (sasse.SGD[0], 100), ("SGD constant 0.01", 100)):
        for x in (np.arange(101.0), np.arange(1.0, 101)):
            assert sasse.first_cycle(sasse.Curve(label, x, x)).y[-1] == ends
    x = np.arange(1, 7) * 100 / 6
    assert sasse.first_cycle(sasse.Curve(sasse.SGD[2], x, x)).x.tolist() == [100 / 6]


def test_then_begins_its_second_schedule_anew(sasse):
    then = sasse.Then(Linear(0.0, 1.0, 4), 4, Linear(10.0, 20.0, 4))
    assert [then(k) for k in range(7)] == [0, 0.25, 0.5, 0.75, 10, 12.5, 15]


def test_in_the_panels_of_a_figure_a_run_has_one_name_and_no_two_runs_share_one(sasse, tmp_path):
    """Names choose the colours."""

    class Shown:
        out = tmp_path

        def epochs(self, label, column, factor=1):
            return sasse.Curve(label, np.arange(2), np.array([self.runs.index(label)] * 2))

        steps = epochs

        def draw(self, panels):
            self.panels = panels

    for title, views in sasse.FIGURES.values():
        shown = Shown()
        shown.runs = list(dict.fromkeys(label for view in views for label in view.labels))
        measured = [view for view in views if view.what != "plan"]  # a plan has no run to tell it by
        sasse.draw(measured, {}, 2, shown)
        names = {}
        for panel in shown.panels:
            assert len({curve.label for curve in panel.curves}) == len(panel.curves), title
            for curve in panel.curves:
                assert names.setdefault(curve.y[0], curve.label) == curve.label, title


def test_simple_adasecant_with_momentum_averages_the_steps_of_the_one_without(sasse):
    """With mu = 0 it is that rule; the first step with mu = 0.9 is a tenth of it."""
    problem = PROBLEMS["quadratic"]()

    def first(rule, steps):
        run = descend(rule, problem, problem.x0)
        return [next(run).x.copy() for _ in range(steps)]

    plain = first(SimpleAdaSecantReleased(), 3)
    assert np.array_equal(first(sasse.SimpleAdaSecantMomentum(mu=0.0), 3), plain)
    (averaged,) = first(sasse.SimpleAdaSecantMomentum(mu=0.9), 1)
    assert averaged - problem.x0 == pytest.approx(0.1 * (plain[0] - problem.x0))


def test_bb_has_the_narrow_window_on_shallow_nets_alone_and_every_method_the_weight_decay(liang):
    for scale in liang.SIZES:
        for figure, size in liang.SIZES[scale].items():
            runs = liang.trials(figure, size)
            low, high = (0.33, 3.0) if figure in "34" else (0.1, 10.0)  # section 4.1.4
            assert runs["BB", 0.1].rule == StochasticBB(0.1, tau_min=low, tau_max=high)
            assert {trial.options.weight_decay for trial in runs.values()} == {5e-4}
            assert {method for method, _ in runs} == {"BB", *liang.METHODS}
