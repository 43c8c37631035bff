"""King's bounded Polyak steps on AlexNet and ResNet-18: figures 1-3 and the cross-validated grid search.

D. King 2024, Using the Polyak step size in training convolutional neural networks (ICLR, Tiny Papers).

The setting (section 2): CIFAR-10, 50 epochs, mini-batches of 64; a constant rate η of 0.1 for AlexNet and 0.01 for
ResNet-18, found by a ten-fold cross-validated search of five rates (section 4.1); AdaDelta with a rate of 1, and Adam
with its defaults. The paper prints no accuracy: its figures have to be compared by eye, its statements are

    (a) ResNet-18 by γ_t reaches the highest accuracy, in the fewest epochs          figure 1(a)
    (b) γ_t and δ_t compete with the searched constant rates                         figure 1(a)
    (c) AdaGrad does better than γ_t and δ_t, and these than Adam and AdaDelta       figure 1(b)
    (d) without a bound the step "far exceeds" 1                                     figure 2
    (e) δ_t goes down, in steps                                                      figure 3
    (f) the search finds 0.1 for AlexNet and 0.01 for ResNet-18                      section 4.1

Not in the text, and chosen here: the tables of set-ups (4.2) are lost, so AlexNet and ResNet-18 are the usual ones for
32 x 32 pixels, there is no augmentation and no weight decay, channels are standardised, the partial last mini-batch is
kept, and "validation" means the 10,000 test images; the net of figure 2 is AlexNet, that of figure 3; δ_t starts from 1
and moves in every step; AdaDelta's other numbers are PyTorch's; a search runs as long as what it is for, and the best
rate is that of the highest mean accuracy, after the last epoch, on the parts set aside; which rate it found for AdaGrad
is not told: figure 1(b) has 0.01, PyTorch's, beside which search-adagrad prints the one found here.

At `small` LeNet stands for AlexNet and WRN-10-1, of 77,850 parameters, for ResNet-18; the search sets two of ten parts
aside for the one and one for the other, and trains for one epoch.

What came out at `small`, of two runs of everything that differ in rounding alone, by the order of some sums: (c)
AdaGrad, 46.6 % and 47.4 %, is ahead of δ_t, 45.4 % and 45.9 %, and γ_t, 31.8 % and 27.7 %. (d), with steps up to 42.8
and 17.5, and a net that learns nothing. (e), in 9 and 8 steps. (f) for AlexNet. (b) for δ_t on AlexNet, which is ahead
of the searched rate's 39.4 % and 36.4 %. What did not: (b) for γ_t on AlexNet: it is at its bound of 1 in 530 and 648
of 790 steps, too much for LeNet; and for both on ResNet-18, 17.8 % and 20.0 % beside 22.4 % at 0.01: there they are the
same run, at their bound of 1 in every step. (c) Adam is best, 49.8 % and 48.8 %, and AdaDelta, 43.2 % and 45.1 %, ahead
of γ_t. (f) for ResNet-18: 0.1, with 23.6 % and 23.2 %, is better than 0.01, with 13.4 %, after one epoch. (a) cannot be
told from three epochs, which bring WRN-10-1 to 22 %. At `full` nothing was run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from experiment import Panel, Part, Row, Scale, Shown, claim, main

from nets.options import Options
from nets.sweep import Trial
from refopt import PSS, AdaDelta, AdaGrad, Adam, GradientDescent, PSSDelta, PSSGamma, Rule

RATES = 0.5, 0.1, 0.01, 0.001, 0.0001
"""Section 4.1, eq. 4."""
FOUND = {"AlexNet": 0.1, "ResNet-18": 0.01}
"""Section 2: "these acted as preferred initial learning rate choices and were determined using grid-search"."""


class Setting(NamedTuple):
    """What a scale decides."""

    nets: dict[str, Options]
    """What stands for each net of the paper, with its data, epochs and batch."""
    searched: dict[str, Options]
    """The same in the search."""
    folds: dict[str, int]
    """How many of the ten parts are set aside, one after the other."""
    adagrad: float
    """AdaGrad's rate in figure 1(b)."""


def options(model: str, data: str, epochs: int, samples: int | None = None) -> Options:
    """Return the options that differ between the scales; everything else is the same."""
    return Options(model=model, data=data, epochs=epochs, batch=64, samples=samples)


FULL = {"AlexNet": options("alexnet", "cifar10", 50), "ResNet-18": options("resnet18", "cifar10", 50)}
SCALES: dict[Scale, Setting] = {
    "tiny": Setting(
        nets={"AlexNet": options("mlp", "digits", 2, 300), "ResNet-18": options("wrn-10-1", "digits", 1, 128)},
        searched={"AlexNet": options("mlp", "digits", 1, 300), "ResNet-18": options("wrn-10-1", "digits", 1, 64)},
        folds={"AlexNet": 2, "ResNet-18": 1},
        adagrad=0.01,
    ),
    "small": Setting(
        nets={"AlexNet": options("lenet", "cifar10", 10, 5000), "ResNet-18": options("wrn-10-1", "cifar10", 3, 2000)},
        searched={
            "AlexNet": options("lenet", "cifar10", 1, 10_000),
            "ResNet-18": options("wrn-10-1", "cifar10", 1, 2000),
        },
        folds={"AlexNet": 2, "ResNet-18": 1},
        adagrad=0.01,
    ),
    "full": Setting(nets=FULL, searched=FULL, folds={"AlexNet": 10, "ResNet-18": 10}, adagrad=0.01),
}


def parts(scale: Scale) -> list[Part]:
    """Return the figures, and the searches."""
    setting = SCALES[scale]

    def trial(net: str, name: str, rule: Rule) -> Trial:
        return Trial(f"{net}, {name}", setting.nets[net], rule)

    def adaptive(net: str) -> list[Trial]:
        return [trial(net, "γ_t", PSSGamma()), trial(net, "δ_t", PSSDelta())]

    constant = [trial(net, f"η = {rate}", GradientDescent(rate)) for net, rate in FOUND.items()]
    others = [
        trial("AlexNet", f"AdaGrad, {setting.adagrad}", AdaGrad(setting.adagrad)),
        trial("AlexNet", "AdaDelta", AdaDelta(1.0)),
        trial("AlexNet", "Adam", Adam()),
    ]
    unbounded = trial("AlexNet", "α_t", PSS())
    return [
        Part("figure-1a", "King, figure 1(a)", [*adaptive("AlexNet"), *adaptive("ResNet-18"), *constant], figure_1a),
        Part("figure-1b", "King, figure 1(b)", [*adaptive("AlexNet"), *others], figure_1b),
        Part("figure-2", "King, figure 2: the step without a bound", [unbounded], figure_2),
        Part("figure-3", "King, figure 3", adaptive("AlexNet"), figure_3),
        search("search-alexnet", "AlexNet", "η", GradientDescent(), setting),
        search("search-resnet18", "ResNet-18", "η", GradientDescent(), setting),
        search("search-adagrad", "AlexNet", "AdaGrad", AdaGrad(), setting),
    ]


def accuracies(shown: Shown) -> dict[str, float]:
    """Draw accuracy by epoch, print the best and its epoch, and return the best; 0 of a run that diverged."""
    labels = [trial.label for trial in shown.part.trials]
    curves = [shown.epochs(label, "test_accuracy", 100) for label in labels]
    shown.draw([Panel("epoch", "validation accuracy / %", curves)])
    shown.compare([Row(label, 100 * shown.best(label)) for label in labels], "best validation accuracy / %")
    scores = {curve.label: np.nan_to_num(curve.y) for curve in curves}
    print("best in epoch", ", ".join(f"{y.argmax() + 1} ({label})" for label, y in scores.items()))
    return {label: y.max() for label, y in scores.items()}


def figure_1a(shown: Shown) -> None:
    """Draw, and judge (a) and (b)."""
    best = accuracies(shown)
    claim("(a) ResNet-18 by γ_t has the highest accuracy", max(best, key=best.__getitem__) == "ResNet-18, γ_t")
    for net, rate in FOUND.items():
        for name in ("γ_t", "δ_t"):
            close = best[f"{net}, {name}"] > best[f"{net}, η = {rate}"] - 2
            claim(f"(b) {net}: {name} is better than {rate}, or at most two percentage points worse", close)


def figure_1b(shown: Shown) -> None:
    """Draw, and judge (c)."""
    gamma, delta, adagrad, adadelta, adam = accuracies(shown).values()
    claim("(c) AdaGrad is better than γ_t and δ_t", adagrad > max(gamma, delta))
    claim("(c) γ_t and δ_t are better than AdaDelta", min(gamma, delta) > adadelta)
    claim("(c) γ_t and δ_t are better than Adam", min(gamma, delta) > adam)


def steps(shown: Shown) -> dict[str, np.ndarray]:
    """Draw step sizes by epoch, print how large they are, and return them."""
    curves = [shown.steps(trial.label, "eta") for trial in shown.part.trials]
    shown.draw([Panel("epoch", "step size", curves, log="y")])
    for label, _x, eta, *_ in curves:
        print(
            f"{label}: {len(eta)} steps, {(eta > 1).sum()} of them above 1 and {(eta == 1).sum()} equal to it;"
            f" median {np.median(eta):.3g}, largest {eta.max():.3g}, last {eta[-1]:.3g}"
        )
    return {curve.label: curve.y for curve in curves}


def figure_2(shown: Shown) -> None:
    """Draw, and judge (d)."""
    (eta,) = steps(shown).values()
    claim("(d) without a bound there are steps above 10", eta.max() > 10)


def figure_3(shown: Shown) -> None:
    """Draw, and judge (e)."""
    _gamma, delta = steps(shown).values()
    claim(f"(e) δ_t only goes down, in {(np.diff(delta) < 0).sum()} steps", (np.diff(delta) <= 0).all())


def search(name: str, net: str, what: str, rule: GradientDescent | AdaGrad, setting: Setting) -> Part:
    """Return the search of one rate (section 4.1): each tenth of the training images in turn is set aside."""
    base = replace(setting.searched[net], validation=0.1)
    labels = {rate: f"{net}, {what} = {rate}, folds" for rate in RATES}
    folds = range(setting.folds[net])
    trials = [Trial(labels[rate], replace(base, fold=fold), replace(rule, lr=rate)) for rate in RATES for fold in folds]

    def show(shown: Shown) -> None:
        scores = {rate: 100 * shown.last(label, "valid_accuracy") for rate, label in labels.items()}
        shown.compare([Row(labels[rate], scores[rate]) for rate in RATES], "accuracy / % on the parts set aside")
        best = max(RATES, key=lambda rate: np.nan_to_num(scores[rate]).mean())
        if what != "η":
            print(f"best: {best}; figure 1(b) has {setting.adagrad}")
        else:
            print(f"best: {best}; the paper has {FOUND[net]}")
            claim(f"(f) the best rate for {net} is {FOUND[net]}", best == FOUND[net])

    return Part(name, f"King, section 4.1: {what} for {net}, {len(folds)} of 10 folds", trials, show)


if __name__ == "__main__":
    main(__doc__, parts)
