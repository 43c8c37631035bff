"""The scripts of the papers train with what the papers say; the rows of the thesis agree with its records."""

import importlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from refopt import (
    ALIG,
    NTLR,
    PROBLEMS,
    Cycle,
    HeavyBall,
    Linear,
    SimpleAdaSecantReleased,
    StochasticBB,
    WindowHD,
    WindowMultiplicativeHD,
    descend,
)

FOLDER = Path(__file__).parent.parent / "tutorials" / "papers"


@pytest.fixture
def full(monkeypatch):
    """Returns the trials of the paper's own setting, by the part that has them."""
    monkeypatch.syspath_prepend(FOLDER)
    return lambda name: {part.name: part.trials for part in importlib.import_module(name).parts("full")}


def common(trials, *names):
    """Return the values of options that the trials have in common; an error where they differ."""
    (values,) = {tuple(getattr(trial.options, name) for name in names) for trial in trials}
    return values


def test_king_trains_for_50_epochs_and_searches_five_rates_by_ten_folds(full):
    """Sections 2 and 4.1."""
    parts = full("king")
    trials = [trial for found in parts.values() for trial in found]
    assert common(trials, "data", "epochs", "batch", "samples", "weight_decay") == ("cifar10", 50, 64, None, 0.0)
    for name, model in (("alexnet", "alexnet"), ("resnet18", "resnet18"), ("adagrad", "alexnet")):
        found = parts[f"search-{name}"]
        assert common(found, "model", "validation") == (model, 0.1)
        cells = [(trial.rule.lr, trial.options.fold) for trial in found]
        assert sorted(cells) == sorted(product((0.5, 0.1, 0.01, 0.001, 0.0001), range(10)))


def test_the_trainable_rate_starts_from_all_rates_at_all_batches_of_the_text(full):
    """Section 3: 10^-1 to 10^-5 and 64 to 512 for 20 epochs on MNIST, to 10^-9 in figure 2, to 10^-3 in Table 1."""
    parts = full("retsinas")
    rates, batches = [10.0**-i for i in range(1, 10)], (64, 128, 256, 512)
    for name in ("figure-1", "figure-2", "section-3", "grid-gamma-p", "grid-rate-batch"):
        assert common(parts[name], "model", "data", "epochs") == ("mlp-retsinas", "mnist", 20)
    cells = {}
    for trial in parts["grid-gamma-p"]:
        cells.setdefault((trial.rule.gamma, trial.rule.share), set()).add((trial.rule.base.lr, trial.options.batch))
    assert all(cell == set(product(rates[:5], batches)) for cell in cells.values())
    assert {(0.2, 0.33), (0.33, 0.2)} < set(cells)  # what captions and text call the defaults
    assert [trial.rule.base.lr for trial in parts["figure-2"]] == rates

    def row(rule):
        return type(rule), getattr(rule, "meta_lr", None), rule.base

    kinds = [(NTLR, None), *product([WindowHD], (1e-1, 1e-2)), *product([WindowMultiplicativeHD], (1e-4, 1e-5))]
    expected = [(*kind, HeavyBall(rate, 0.8), batch) for kind, rate, batch in product(kinds, rates[:3], batches)]
    found = [(*row(trial.rule), trial.options.batch) for trial in parts["table-1"]]
    assert len(found) == len(expected)
    assert all(cell in found for cell in expected)
    trials = parts["table-1"] + parts["figure-3"]
    assert common(trials, "model", "data", "epochs", "augment") == ("wrn-16-4", "cifar100", 80, "crop-flip")


def test_alig_has_the_rates_momenta_and_bounds_of_the_note(full):
    """Table 1, and what the code it names trains with."""
    trials = full("berrada")["table-1"]
    settings = "model", "epochs", "batch", "drop_last", "augment", "weight_decay"
    assert common(trials, *settings) == ("resnet34", 200, 128, True, "crop-flip", 0.0)
    rows = [(trial.options.data, trial.rule, trial.options.ball) for trial in trials]
    assert rows == [
        (data, ALIG(0.1, mu, 1e-5), ball) for data in ("cifar10", "cifar100") for mu, ball in ((0.0, None), (0.9, 100))
    ]


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
            assert common(runs.values(), "weight_decay") == (5e-4,)
            assert {method for method, _ in runs} == {"BB", *liang.METHODS}


def test_liang_et_al_search_seven_decades_for_150_epochs_and_flip_cifar_alone(liang):
    """Sections 3.2.2 and 4.1."""
    for figure, size in liang.SIZES["full"].items():
        flipped = "none" if figure == "3" else "flip"
        assert common(liang.trials(figure, size).values(), "epochs", "batch", "augment") == (150, 128, flipped)
        assert sorted(size.rates) == pytest.approx([10.0**-i for i in range(6, -1, -1)])
