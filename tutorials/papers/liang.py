"""Liang et al.'s Barzilai-Borwein rate of an epoch: figures 1-8, Table 2, and how little the first rate matters.

J. Liang, Y. Xu, C. Bao, Y. Quan, H. Ji 2020, Barzilai-Borwein-based adaptive learning rate for deep learning (Pattern
Recognition Letters 128). The authors' code: github.com/sherrycattt/bb_dl.pytorch.

The setting (section 4.1): mini-batches of 128; channels standardised; CIFAR images turned round by chance; weight decay
5e-4 for every method; methods at PyTorch's defaults, Nesterov's momentum beside them; each at the best constant rate of
a grid in [1e-6, 1], BB at 0.1 everywhere (section 4.2.1). BB: β = 4/T, τ_0 = 1, τ_min and τ_max 0.33 and 3 for the MLP
and LeNet, 0.1 and 10 for VGG and ResNet. The paper prints no accuracy: its figures have to be compared by eye, its
statements are CLAIMS below, after the last epoch, but that methods are "comparable" and VGG "generally worse".

Not in the text, and chosen here: 150 epochs, from the remark that one in 150 rates of BB fell out of its window; the
grid, powers of ten; the best rate is that of the highest accuracy on the test images in the last epoch, for there is no
other part; momentum 0.9; the partial last mini-batch is kept, as PyTorch does; which rates figures 1 and 2 show: all.
Not as in the authors' code, for the text has nothing of it: dropouts of 0.2 in its example on MNIST, of batches of 64,
and a first convolution of ResNet without a border.

At `small` MNIST is whole, at the rates that methods are usually given, without a search; a WRN-10-1 takes the place of
ResNet-18, trained on 500 images of small CIFAR-10 or of a subset of CIFAR-100, in mini-batches of 16; LeNet on 1000, of
32. 500 test images leave an accuracy uncertain by two percentage points. VGG-11, figures 5 and 6, needs 153 million
multiplications an image, minutes an epoch: at `small` LeNet stands for it, too.

What came out at `small`, of two runs of everything that differ in rounding alone, by the order of some sums: Table 2,
to the unit; and robustness: over first rates from 1 to 1e-4 BB's last accuracies lie 8.2 and 5.0 points apart, those of
the other methods 17.0 to 20.4, though BB's best, 23.6 % and 25.2 %, is below the best of each of these, 27.0 % to 31.6
%. NAG has the lowest training loss of LeNet, by 0.010 and 0.029, its accuracy is 4.4 and 2.0 points below the best.
What did not: that BB is best, in so few epochs, and AdaGrad or NAG second in figures 5 and 6. On MNIST it is second, to
AdaGrad, by 0.11 points, where the worst method has 97.6 %, not 98; LeNet, in the narrow window, ends 11.0 and 21.6
points below AdaGrad, and in the wide one 3.0 to 8.0 points below the best; WRN-10-1 11.6 and 8.4 points below it on
CIFAR-10. On the subset of CIFAR-100 BB's accuracy is the highest, by 0.8 points, less than 500 test images can tell,
and its loss is not the lowest. Of BB's rates those of both epochs on MNIST fell out of the window, 37.5 % with LeNet in
the narrow one, up to 12.5 % in the wide one, 25 % with WRN-10-1 on CIFAR-10, where the paper has one in 150. At `full`
nothing was run.

Not run: figures 9 and 10, ImageNet at 32 x 32 and 224 x 224 pixels, for which there is no data here: of these two nets
Table 2 counts the parameters. Full CIFAR-100 only at `full`, from the user's own copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np
from experiment import Curve, Panel, Part, Row, Scale, Shown, claim, main

from nets.models import MODELS
from nets.options import Options
from nets.resnet import imagenet_stem, resnet50
from nets.sweep import Trial
from refopt import AdaGrad, Adam, AMSGrad, Nesterov, RMSProp, Rule, StochasticBB

# --- the paper, figure by figure ------------------------------------------------------------------------------------

METHODS: dict[str, Callable[[float], Rule]] = {
    "AdaGrad": AdaGrad,
    "RMSProp": RMSProp,
    "Adam": Adam,
    "AMSGrad": AMSGrad,
    "NAG": Nesterov,
}
"""Section 4.1.3, by their rate."""
DECADES = 1.0, 0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6
"""Section 4.1.3: "densely grid search in [1e-6, 1]"."""
USUAL = {"AdaGrad": 0.01, "RMSProp": 0.001, "Adam": 0.001, "AMSGrad": 0.001, "NAG": 0.01}
"""Where nothing is searched: not the paper's, whose best rates are not told."""
BB = 0.1
"""Section 4.2.1: "we uniformly use η_0 = 0.1 throughout all experiments"."""
SHALLOW, DEEP = (0.33, 3.0), (0.1, 10.0)
"""Section 4.1.4: τ_min, τ_max."""

FIGURES = {
    "3": ("MLP", "MNIST", SHALLOW),
    "4": ("LeNet", "CIFAR-10", SHALLOW),
    "5": ("VGG", "CIFAR-10", DEEP),
    "6": ("VGG", "CIFAR-100", DEEP),
    "7": ("ResNet18", "CIFAR-10", DEEP),
    "8": ("ResNet18", "CIFAR-100", DEEP),
}
"""Net, data, window. Figures 1 and 2 are the searches of figure 7."""

COUNTS = {
    "MLP, MNIST": (MODELS["mlp-liang"], (28, 28, 1), 10, 1_863_690),
    "LeNet, CIFAR-10": (MODELS["lenet"], (32, 32, 3), 10, 62_006),
    "VGG, CIFAR-10": (MODELS["vgg11"], (32, 32, 3), 10, 9_756_426),
    "ResNet18, CIFAR-10": (MODELS["resnet18-liang"], (32, 32, 3), 10, 11_173_962),
    "ResNet50, ImageNet-32-32": (resnet50, (32, 32, 3), 1000, 25_549_352),
    "ResNet50, ImageNet": (partial(resnet50, stem=imagenet_stem), (224, 224, 3), 1000, 25_557_032),
}
"""Table 2, trainable parameters."""

Scores = dict[str, float]
"""By method, at its best rate: the training loss, or the test accuracy in per cent, of the last epoch; by "BB", too."""


def lead(scores: Scores, of: str) -> float:
    """Return by how much one method exceeds the best of the others."""
    return scores[of] - max(score for method, score in scores.items() if method != of)


def ahead(of: str) -> list[tuple[str, Callable[[Scores, Scores], float]]]:
    """Return the two claims of a winner: how far its loss is below all others, and its accuracy above."""
    lowest = lambda loss, _: lead({method: -value for method, value in loss.items()}, of)  # noqa: E731
    return [
        (f"{of} has the lowest training loss", lowest),
        (f"{of} has the highest test accuracy", lambda _, accuracy: lead(accuracy, of)),
    ]


def second(of: str) -> tuple[str, Callable[[Scores, Scores], float]]:
    """Return the claim of who comes after BB: how far its loss is below that of all the rest."""
    lowest = lambda loss, _: lead({method: -loss[method] for method in METHODS}, of)  # noqa: E731
    return f"but for BB {of} has the lowest training loss", lowest


# by figure: a claim; how far it holds, given training losses and test accuracies: below 0, it does not
CLAIMS: dict[str, list[tuple[str, Callable[[Scores, Scores], float]]]] = {
    "3": [*ahead("BB"), ("all are within a point of 99 %", lambda _, accuracy: min(accuracy.values()) - 98)],
    "4": [*ahead("NAG"), ("BB is better than AdaGrad", lambda _, accuracy: accuracy["BB"] - accuracy["AdaGrad"])],
    "5": [*ahead("BB"), second("AdaGrad")],
    "6": [*ahead("BB"), second("NAG")],
    "7": ahead("BB"),
    "8": ahead("BB"),
}

# --- scales ----------------------------------------------------------------------------------------------------------


class Size(NamedTuple):
    """What stands for a figure's net and data, and how it is searched."""

    options: Options
    rates: Sequence[float] = ()
    """Of the search; without one every method has its usual rate."""


def options(model: str, data: str, epochs: int, batch: int = 128, samples: int | None = None) -> Options:
    """Return the options that differ between the scales; everything else is the same."""
    flipped = "flip" if data.startswith("cifar") else "none"
    return Options(
        model=model, data=data, epochs=epochs, batch=batch, samples=samples, augment=flipped, weight_decay=5e-4
    )


SIZES: dict[Scale, dict[str, Size]] = {
    "tiny": {
        "3": Size(options("mlp", "digits", 4, 32, 160)),
        "4": Size(options("mlp", "digits", 3, 32, 161)),
        "5": Size(options("mlp", "digits", 3, 32, 162)),
        "6": Size(options("mlp", "digits", 3, 32, 163)),
        "7": Size(options("mlp", "digits", 4, 32, 164), DECADES[:2]),
        "8": Size(options("mlp", "digits", 3, 32, 165)),
    },
    "small": {
        "3": Size(options("mlp-liang", "mnist", 4)),
        "4": Size(options("lenet", "cifar10-small", 10, 32), DECADES[1:4]),
        "5": Size(options("lenet", "cifar10-small", 10, 64)),
        "6": Size(options("lenet", "cifar100-subset", 10, 64)),
        "7": Size(options("wrn-10-1", "cifar10-small", 6, 16, 500), DECADES[:5]),
        "8": Size(options("wrn-10-1", "cifar100-subset", 6, 16, 500)),
    },
    "full": {
        "3": Size(options("mlp-liang", "mnist", 150), DECADES),
        "4": Size(options("lenet", "cifar10", 150), DECADES),
        "5": Size(options("vgg11", "cifar10", 150), DECADES),
        "6": Size(options("vgg11", "cifar100", 150), DECADES),
        "7": Size(options("resnet18-liang", "cifar10", 150), DECADES),
        "8": Size(options("resnet18-liang", "cifar100", 150), DECADES),
    },
}


def label(method: str, rate: float, figure: str) -> str:
    """Return what a run is called."""
    return f"{method} {rate:g}, {', '.join(FIGURES[figure][:2])}"


def trials(figure: str, size: Size) -> dict[tuple[str, float], Trial]:
    """Return the runs of a figure by method and rate: those of the search, and BB at 0.1; in figure 7, at all rates."""
    low, high = FIGURES[figure][2]
    first = sorted({BB, *size.rates}) if figure == "7" else [BB]
    rules = {("BB", rate): StochasticBB(rate, tau_min=low, tau_max=high) for rate in first}
    for method, make in METHODS.items():
        rules |= {(method, rate): make(rate) for rate in size.rates or [USUAL[method]]}
    return {key: Trial(label(*key, figure), size.options, rule) for key, rule in rules.items()}


# --- what is shown ---------------------------------------------------------------------------------------------------

Runs = dict[tuple[str, float], Trial]
COLUMNS = {"train_loss": (1, "training loss"), "test_accuracy": (100, "test accuracy / %")}


def accuracy(shown: Shown, name: str) -> float:
    """Return the test accuracy after the last epoch, in per cent; 0 of a run that diverged."""
    return 100 * float(np.nan_to_num(shown.last(name, "test_accuracy"))[0])


def best(shown: Shown, runs: Runs) -> dict[str, str]:
    """Return the label of each method's best rate, and of BB at 0.1, by method."""
    found = {"BB": runs["BB", BB].label}
    for method in METHODS:
        found[method] = max((t.label for (m, _), t in runs.items() if m == method), key=partial(accuracy, shown))
    return found


def panel(shown: Shown, labels: Sequence[str], column: str, method: str = "") -> Panel:
    """Return one pair of axes: of several methods, or of one at many rates."""
    factor, ylabel = COLUMNS[column]
    curves = []
    for name in labels:
        told, rate = name.partition(",")[0].split()
        curve: Curve = shown.epochs(name, column, factor)
        curves.append(curve._replace(label=f"rate {rate}" if method else f"{told} {rate}"))
    return Panel("epoch", ylabel, curves, "y" if column == "train_loss" else "", method)


def by_rate(runs: Runs, method: str) -> list[str]:
    """Return the labels of a method's runs, the largest rate first."""
    return [runs[key].label for key in sorted(runs, key=lambda key: -key[1]) if key[0] == method]


def figure_1(runs: Runs, shown: Shown) -> None:
    """Draw the accuracies of the adaptive methods at all rates."""
    shown.draw([panel(shown, by_rate(runs, m), "test_accuracy", m) for m in METHODS if m != "NAG"])


def figure_2(runs: Runs, shown: Shown) -> None:
    """Draw BB at all first rates, and AdaGrad, which the paper dashes into the same axes, beside it."""
    methods = [(method, column) for column in COLUMNS for method in ("BB", "AdaGrad")]
    shown.draw([panel(shown, by_rate(runs, method), column, method) for method, column in methods])


def robustness(runs: Runs, shown: Shown) -> None:
    """Print how far apart the accuracies of a method are over the rates."""
    rows = []
    for method in ("BB", *METHODS):
        values = [accuracy(shown, name) for name in by_rate(runs, method)]
        near = sum(value > max(values) - 5 for value in values)
        figures = {"best": max(values), "worst": min(values), "rates within 5 points of the best": near}
        rows += [Row(f"{method}, {name}", np.array([float(value)])) for name, value in figures.items()]
    rates = ", ".join(f"{rate:g}" for method, rate in runs if method == "AdaGrad")
    shown.compare(rows, f"test accuracy after the last epoch, in per cent, at rates {rates}; a run that diverged has 0")


def compared(runs: Runs, shown: Shown) -> None:
    """Draw training loss and test accuracy of all methods at their best rates."""
    labels = list(best(shown, runs).values())
    shown.draw([panel(shown, labels, column) for column in COLUMNS])


def window(runs: dict[str, Runs], shown: Shown) -> None:
    """Print how many rates of BB fell out of its window and became τ_0/(k + 1); section 3.2.2 tells of figure 5."""
    rows = []
    for figure, runs_of_it in runs.items():
        curve = shown.steps(runs_of_it["BB", BB].label, "eta")
        k = np.arange(2, round(curve.x[-1]))  # two epochs have the first rate
        rates = np.interp(k + 0.5, curve.x, curve.y)
        replaced = 100 * np.mean(np.isclose(rates * (k + 1), 1, rtol=1e-5)) if len(k) else np.nan
        rows.append(Row(", ".join(FIGURES[figure][:2]), np.array([replaced]), 100 / 150 if figure == "5" else None))
    shown.compare(rows, "rates of BB that were out of their window, in per cent of the epochs")


def judge(runs: dict[str, Runs], shown: Shown) -> None:
    """Print of each claim by how much it holds."""
    rows = []
    for figure, claims in CLAIMS.items():
        labels = best(shown, runs[figure])
        loss = {m: float(np.nan_to_num(shown.last(name, "train_loss"), nan=np.inf)[0]) for m, name in labels.items()}
        accuracies = {method: accuracy(shown, name) for method, name in labels.items()}
        rows += [Row(f"Figure {figure}: {told}", np.array([margin(loss, accuracies)])) for told, margin in claims]
    spread = {m: np.ptp([accuracy(shown, name) for name in by_rate(runs["7"], m)]) for m in ("BB", *METHODS)}
    least = min(value for method, value in spread.items() if method != "BB")
    rows.append(Row("Figure 2: BB depends less on its rate than any other method", np.array([least - spread["BB"]])))
    shown.compare(rows, "by how much each claim holds, in percentage points or units of the loss; below 0 it does not")
    for row in rows:
        claim(row.name, row.ours[0] > 0)


def table_2(shown: Shown) -> None:
    """Count the parameters of the nets as they are built here."""
    rows = []
    for name, (make, shape, classes, count) in COUNTS.items():
        ours = sum(prod(parameter.shape) for _, parameter in make(shape, classes).parameters())
        print(f"{name}: {ours:,}")
        rows.append(Row(name, np.array([float(ours)]), float(count)))
    shown.compare(rows, "trainable parameters, rounded; the difference is exact")


def parts(scale: Scale) -> list[Part]:
    """Return Table 2, all figures, and what holds of the claims."""
    runs = {figure: trials(figure, size) for figure, size in SIZES[scale].items()}
    searched, bb = runs["7"], [found["BB", BB] for found in runs.values()]
    adaptive = [trial for (method, _), trial in searched.items() if method not in ("BB", "NAG")]
    slow = [trial for (method, _), trial in searched.items() if method in ("BB", "AdaGrad")]
    return [
        Part("table-2", "Table 2: parameters", [], table_2),
        Part("figure-1", "Figure 1: adaptive methods, ResNet18 on CIFAR-10", adaptive, partial(figure_1, searched)),
        Part("figure-2", "Figure 2: first rates of BB, ResNet18 on CIFAR-10", slow, partial(figure_2, searched)),
        Part("robustness", "Section 4.2.1: rates", list(searched.values()), partial(robustness, searched)),
        *(
            Part(f"figure-{n}", f"Figure {n}: {net} on {data}", list(runs[n].values()), partial(compared, runs[n]))
            for n, (net, data, _) in FIGURES.items()
        ),
        Part("window", "Section 3.2.2: rates out of the window", bb, partial(window, runs)),
        Part("claims", "What the paper claims", [t for found in runs.values() for t in found.values()],
             partial(judge, runs)),
    ]  # fmt: skip


if __name__ == "__main__":
    main(__doc__, parts)
