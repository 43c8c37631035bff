"""Sasse's thesis: constant, cyclical and calculated learning rates on residual nets, beside the author's own records.

R. Sasse, Investigating the influence of learning rates on the learning speed of neural networks (bachelor's thesis,
University of Stuttgart, 2021), chapters 4 and 5, appendix A.2. Recorded runs: github.com/AverageDude0815/BA.

The setting (sections 4.1.1-4.1.7): CIFAR-10 and CIFAR-100 as they come, pixels from 0 to 1, not normalised, not
augmented; 100 epochs in mini-batches of 128, the last partial one left out: 390 steps an epoch; no weight decay; one
run of each setting; the accuracy reported is the best of all epochs on the test images. In an N-cycle the rate goes up
and down once in N epochs.

What the text does not say, from the code: what it calls SGD is heavy ball, its momentum cycled between 0.9 and 0.8
against the rate by a scheduler's default, also at constant rates; 0.9 at random rates. Simple AdaSecant took the
gradient for the last move: `SimpleAdaSecantReleased`, drawn here beside equation 3.1, `SimpleAdaSecant`. The rates of
AdaSecant that are drawn are means over all parameters, as in the code; the captions call them Euclidean norms. Its
figures of one cycle (4.5, 4.12, 4.15, 4.16) cut off each N-cycle after N epochs, and leave constant rates whole.

In neither, and chosen here: a momentum of 0.9 for the decays, and for the uneven and composed cycles of chapter 5; the
threshold of 10 behind the switch, that of a draft in the code; torchvision's net is trained like the others.

Tables 4.2, 4.4 and 4.5 print the range [0.001, 0.3] for 10- and 25-cycles of Adam, and 4.5 for the 100-cycle, where the
text and the captions of figures 4.12-4.16 have [0.0001, 0.03], and so has the one record of these, of the same
accuracy: that is what is run.

The author's curves, of 47 of the 61 rows of the tables, but no rates, are drawn dotted where REFOPT_DATA holds
thesis-curves/curves.json.gz; without it ours alone. Ours are stretched to a hundred epochs. At `small` a hundred epochs
are six and batches an eighth, a WRN-10-1 takes the place of ResNet-18 and a WRN-16-1 that of ResNet-50, and 500 images
are trained on: 500 test images leave an accuracy uncertain by two percentage points, and the one run of each setting by
more.

What came out at `small`, of two runs of everything, is the first 186 steps, and they are not the thesis. Nor are they
certain: the two differ in rounding alone, by the order of some sums, and their 78 accuracies by 1.4 percentage points
in the median, by more than 4.1 in one of ten, and by 7.6 at most. Not reproduced, in either: super-convergence. No
cycle beats the best constant rate, neither of SGD, 27.8 % and 25.6 %, nor of Adam, 33.4 % and 31.4 % at 0.001, the
worst are 9.0 to 11.2 points below it, and the 25-cycle costs the deeper net 7.0 and 7.8. As in the thesis, in both: SGD
is best at 0.01 or 0.1 and learns nothing at 3, Adam is best at 0.001 and worst at 1; at 0.01, batches of 512 are 6.4
and 5.4 points worse than of 32; Simple AdaSecant learns (19.2 % and 18.6 % with 3, 21.6 % and 19.4 % with 10), but less
than SGD, and without a threshold nothing (10.4 % and 10.0 %); AdaSecant's rates go down as soon as they are used. It
cannot be told whether random rates are worse than cycles (by 1.6, and better by 0.4), decays than 100-cycles, whether
AdaSecant stays ten points below SGD (9.0 and 6.6), CUS-Adam is Adam (3.0 and 0.6 apart), equation 3.1 differs from what
was run for it, what momentum or another cycle of chapter 5 brings, what a switch does, or anything of WRN-16-1 on
CIFAR-100, 5.8 % at best: that 4.3.5 "holds" says only that a cycle hurts less where nothing is learned. At `full`
nothing was run.

Not run: figures 2.x and 4.4 (sketches); of chapter 5 200 epochs, other data and nets, other ranges for Adam, more
exponential decays; full CIFAR-100 only at `full`, from the user's own copy.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np
from experiment import Curve, Panel, Part, Row, Scale, Shown, claim, main

from nets.options import Options
from nets.sweep import Trial
from refopt import (
    Adam,
    AdaSecantThesis,
    Cosine,
    CUSAdam,
    Cycle,
    Exponential,
    HalvingCycle,
    HeavyBall,
    Linear,
    Random,
    Rule,
    Schedule,
    SimpleAdaSecant,
    SimpleAdaSecantReleased,
    Switch,
    namespace,
)

# --- the thesis, row by row ------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """A row of sasse.csv."""

    place: str
    """Where it is in the thesis; chapter 5 proposes it."""
    data: str
    net: str
    optimizer: str
    scheme: str
    rate: str
    """A rate, a range, or a threshold of Simple AdaSecant."""
    batch: int
    accuracy: float | None
    """The largest of all epochs, in per cent; None where the thesis has no number."""
    epoch: int | None
    """When it was reached."""

    @property
    def label(self) -> str:
        """What it is called in tables and pictures: what is not said is ResNet18, CIFAR-10, batches of 128."""
        rest = [name for name in (self.net, self.data, f"batch {self.batch}") if name not in USUAL]
        return ", ".join([f"{self.optimizer} {self.scheme} {self.rate}".strip(), *rest])


USUAL = "ResNet18", "CIFAR-10", "batch 128"


def settings() -> list[Setting]:
    """Return all rows."""
    with Path(__file__).with_suffix(".csv").open(newline="") as file:
        _header, *rows = csv.reader(file)
    return [
        Setting(*words, int(batch), float(accuracy) if accuracy else None, int(epoch) if epoch else None)
        for *words, batch, accuracy, epoch in rows
    ]


SETTINGS = {setting.label: setting for setting in settings()}
PLACES = {place: [row for row in settings() if row.place == place] for place in [row.place for row in settings()]}

# --- figures ---------------------------------------------------------------------------------------------------------

SGD = [f"SGD {scheme} 0.001-1" for scheme in ("100-cycle", "25-cycle", "10-cycle")]
ADAM = [f"Adam {scheme} 0.0001-0.03" for scheme in ("100-cycle", "25-cycle", "10-cycle")]
SIMPLE = ["SimpleAdaSecant calculated 3", "SimpleAdaSecant calculated 10"]
BATCHES = ("", ", batch 32", ", batch 512")
OUTLOOK = [setting.label for setting in PLACES["chapter 5"]]
DEEP, DEEP_100 = ", ResNet50", ", ResNet50, CIFAR-100"
RANGES = ("0.001-1", "0.001-3", "0.01-1", "0.01-3")
ADAM_RANGES = ("0.0001-0.01", "0.0001-0.03", "0.0001-0.1", "0.0001-0.3", "0.001-0.1", "0.001-0.3")


class View(NamedTuple):
    """One pair of axes of a figure: test accuracy, train loss, test loss, rate, or planned rate of some settings."""

    what: str
    labels: Sequence[str]
    until: int = 100
    log: bool = False
    once: bool = False
    """Whether each N-cycle ends with its first cycle, after N epochs: "1-cycle"."""


# as the thesis numbers them, but 5.1 and 5.2, which are ours: what its outlook proposes; where a caption leaves open
# which runs are shown, those its text speaks of
FIGURES = {
    "4.1": ("Cycles", [View("plan", [label]) for label in (SGD[1], SGD[0])]),
    "4.2": ("SGD at ten times the rate of Adam", [
        View("accuracy", [f"SGD constant {ten}", f"Adam constant {one}"])
        for ten, one in (("0.001", "0.0001"), ("0.01", "0.001"), ("0.1", "0.01"))]),
    "4.3": ("Size of batches", [
        View("accuracy", [label + batch for batch in BATCHES])
        for label in ("SGD constant 0.01", "SGD constant 0.1", *SGD[:2], "Adam constant 0.001")]),
    "4.5": ("SGD, accuracy of cycles", [
        View("accuracy", ["SGD constant 0.01", *SGD], once=once) for once in (False, True)]),
    "4.6": ("SGD, training loss of cycles", [
        View("train loss", ["SGD constant 0.01", *SGD]), View("train loss", ["SGD constant 0.01", *SGD], log=True)]),
    "4.7": ("SGD, rates and ranges", [
        View("accuracy", [f"SGD constant {rate}" for rate in ("0.001", "0.01", "0.1", "1", "3")]),
        *(View("accuracy", [f"SGD {n}-cycle {span}" for span in RANGES]) for n in (100, 25, 10))]),
    "4.8": ("Random rates", [
        View("rate", ["SGD random 0.001-1"]), View("accuracy", ["SGD random 0.001-1", *SGD])]),
    "4.9": ("Decaying rates", [
        View(what, ["SGD decay 1", "SGD 100-cycle 0.001-1", "SGD decay 3", "SGD 100-cycle 0.001-3"])
        for what in ("rate", "accuracy")]),
    "4.10": ("SGD, ResNet50", [View("accuracy", ["SGD constant 0.01" + DEEP, SGD[1] + DEEP])]),
    "4.11": ("SGD, ResNet50, CIFAR-100", [View("accuracy", ["SGD constant 0.01" + DEEP_100, SGD[1] + DEEP_100])]),
    "4.12": ("Adam, accuracy of cycles", [
        View("accuracy", ["Adam constant 0.001", *ADAM], once=once) for once in (False, True)]),
    "4.13": ("Adam, training loss of cycles", [
        View("train loss", ["Adam constant 0.001", *ADAM]),
        View("train loss", ["Adam constant 0.001", *ADAM], log=True)]),
    "4.14": ("Adam, rates and ranges", [
        View("accuracy", [f"Adam constant {rate}" for rate in ("0.0001", "0.001", "0.01", "0.1")]),
        View("accuracy", [f"Adam 100-cycle {span}" for span in ADAM_RANGES])]),
    "4.15": ("Adam, ResNet50", [
        View("accuracy", ["Adam constant 0.001" + DEEP, ADAM[1] + DEEP], once=once) for once in (False, True)]),
    "4.16": ("Adam, ResNet50, CIFAR-100", [
        View("accuracy", ["Adam constant 0.001" + DEEP_100, ADAM[1] + DEEP_100], once=once)
        for once in (False, True)]),
    "4.17": ("CUS-Adam", [
        View("accuracy", [name + on for name in ("CUS-Adam constant 0.001", "Adam constant 0.001", ADAM[1])])
        for on in ("", DEEP, DEEP_100)]),
    "4.18": ("AdaSecant", [
        View("accuracy", ["AdaSecant calculated"], until=30),
        View("rate", ["AdaSecant calculated"], until=30, log=True)]),
    "4.19": ("Simple AdaSecant", [
        View("accuracy", ["SGD constant 0.01", *SIMPLE]),
        *(View("accuracy", ["SGD constant 0.01" + on, SIMPLE[1] + on]) for on in (DEEP, DEEP_100))]),
    "4.20": ("Simple AdaSecant, losses", [
        View("train loss", ["SGD constant 0.01", *SIMPLE], log=True),
        View("test loss", ["SGD constant 0.01", *SIMPLE])]),
    "4.21": ("Cyclical SGD, then Simple AdaSecant", [
        View("accuracy", ["Switch 25-cycle 0.001-1", SGD[1], SIMPLE[1]]),
        View("rate", ["Switch 25-cycle 0.001-1"])]),
    "4.22": ("Mean rate of Simple AdaSecant", [View("rate", [label, SGD[0]]) for label in SIMPLE]),
    "A.1": ("torchvision's ResNet18, left, and this one", [
        View("accuracy", [name + on for name in ("SGD constant 0.01", SGD[1])])
        for on in (", torchvision's ResNet18", "")]),
    "5.1": ("Outlook: other cycles", [
        View("plan", OUTLOOK[:3]), View("accuracy", [*OUTLOOK[:5], SGD[1]]),
        View("plan", OUTLOOK[5:10]), View("accuracy", [*OUTLOOK[5:10], SGD[1]])]),
    "5.2": ("Outlook: Simple AdaSecant, images normalised and augmented", [
        View("accuracy", [*OUTLOOK[10:12], SIMPLE[1]]),
        View("accuracy", [name + on for on in (", CIFAR-10 prepared", "") for name in ("SGD constant 0.01", SGD[1])])]),
}  # fmt: skip

# --- what is claimed -------------------------------------------------------------------------------------------------

Accuracy = Callable[[str], float]


def extent(accuracy: Accuracy, labels: Sequence[str]) -> float:
    """Return how far the accuracies of some settings are apart."""
    values = [accuracy(label) for label in labels]
    return max(values) - min(values)


SGD_RATES, ADAM_RATES = FIGURES["4.7"][1][0].labels, FIGURES["4.14"][1][0].labels
# section, claim; two numbers of which the claim says that the first is larger
CLAIMS: list[tuple[str, str, Callable[[Accuracy], tuple[float, float]]]] = [
    ("4.1.6", "at 0.01, batches of 512 are worse than of 32",
     lambda a: (a("SGD constant 0.01, batch 32"), a("SGD constant 0.01, batch 512"))),
    ("4.1.6", "the 25-cycle depends less on the size of batches than 0.01",
     lambda a: tuple(extent(a, [name + batch for batch in BATCHES]) for name in ("SGD constant 0.01", SGD[1]))),
    ("4.3.1", "the worst of the cycles of SGD beats the best constant rate",
     lambda a: (min(map(a, SGD)), max(map(a, SGD_RATES)))),
    ("4.3.2", "constant rates differ more than the ranges of any cycle",
     lambda a: (extent(a, SGD_RATES), max(extent(a, view.labels) for view in FIGURES["4.7"][1][1:]))),
    ("4.3.3", "random rates are worse than any cycle", lambda a: (min(map(a, SGD)), a("SGD random 0.001-1"))),
    ("4.3.3", "both decays are worse than both 100-cycles",
     lambda a: (min(a(SGD[0]), a("SGD 100-cycle 0.001-3")), max(a("SGD decay 1"), a("SGD decay 3")))),
    ("4.3.4", "the 25-cycle helps ResNet50, too", lambda a: (a(SGD[1] + DEEP), a("SGD constant 0.01" + DEEP))),
    ("4.3.5", "and more where images are few, on CIFAR-100",
     lambda a: tuple(a(SGD[1] + on) - a("SGD constant 0.01" + on) for on in (DEEP_100, DEEP))),
    ("4.4.1", "the worst of the cycles of Adam beats the best constant rate",
     lambda a: (min(map(a, ADAM)), max(map(a, ADAM_RATES)))),
    ("4.4.2", "constant rates of Adam differ more than the ranges of its 100-cycle",
     lambda a: (extent(a, ADAM_RATES), extent(a, FIGURES["4.14"][1][1].labels))),
    ("4.4.5", "CUS-Adam is Adam, within one percentage point",
     lambda a: (1, extent(a, ["CUS-Adam constant 0.001", "Adam constant 0.001"]))),
    ("4.5.1", "AdaSecant stays far, 10 points, below SGD",
     lambda a: (a("SGD constant 0.01") - a("AdaSecant calculated"), 10)),
    ("4.5.2", "Simple AdaSecant learns, but less than the best constant rate",
     lambda a: (max(map(a, SGD_RATES)), max(map(a, SIMPLE)))),
    ("4.5.2", "without a threshold it learns nothing: below 15 per cent",
     lambda a: (15, a("SimpleAdaSecant calculated inf"))),
    ("4.5.2", "after 13 epochs of a cycle it becomes better than alone",
     lambda a: (a("Switch 25-cycle 0.001-1"), a(SIMPLE[1]))),
    ("4.5.2", "but not as good as if the cycle had gone on",
     lambda a: (a(SGD[1]), a("Switch 25-cycle 0.001-1"))),
    ("A.2", "the 25-cycle helps torchvision's ResNet18 more than this one",
     lambda a: tuple(a(SGD[1] + on) - a("SGD constant 0.01" + on) for on in (", torchvision's ResNet18", ""))),
]  # fmt: skip


def judge(shown: Shown) -> None:
    """Print of each claim by how much it holds, in the thesis' numbers and ours; a run that diverged has 0 per cent."""
    ours: Accuracy = lambda label: 100 * float(np.nan_to_num(shown.best(label))[0])  # noqa: E731
    theirs: Accuracy = lambda label: SETTINGS[label].accuracy or np.nan  # noqa: E731
    rows = []
    for section, text, numbers in CLAIMS:
        here, there = (round(more - less, 6) for more, less in (numbers(ours), numbers(theirs)))
        rows.append(Row(f"{section}: {text}", np.array([here]), None if np.isnan(there) else there))
    shown.compare(rows, "by how many percentage points each claim holds; below 0 it does not")
    for row in rows:
        claim(row.name, row.ours[0] > 0)


# --- rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Then(Schedule):
    """One schedule for so many steps, then another from its beginning: composed and uneven cycles (chapter 5)."""

    first: Schedule
    steps: float
    second: Schedule

    def __call__(self, k):
        return self.first(k) if k < self.steps else self.second(k - self.steps)


@dataclass
class SimpleAdaSecantMomentum(SimpleAdaSecantReleased):
    """SimpleAdaSecantReleased along an average of its steps (chapter 5): m <- mu m + (1 - mu) d.

    An average, and no sum: the secant has found a length already, and a sum would make it 1/(1 - mu) times as long.
    """

    mu: float = 0.9

    def start(self, x, oracle):
        super().start(x, oracle)
        self.m = namespace(x).zeros_like(x)

    def step(self, x, oracle):
        self.m = self.mu * self.m + (1 - self.mu) * super().step(x, oracle)
        return self.m


def rate(scheme: str, low: float, high: float, n: int) -> float | Schedule:
    """Return the rate over the n steps of a hundred epochs."""
    epoch, ramp, cycle = n / 100, partial(Linear, low, high), partial(Cycle, low, high)
    if match := re.fullmatch(r"(\d+)-cycle", scheme):
        return cycle(int(match[1]) * epoch)
    return {
        "constant": high,
        "random": Random(low, high, seed=0),
        "cosine": Cosine(high, low, n),
        "10-up-90-down": Then(ramp(10 * epoch), 10 * epoch, Linear(high, low, 90 * epoch)),
        "10-then-90-cycle": Then(cycle(10 * epoch), 10 * epoch, cycle(90 * epoch)),
        "90-then-10-cycle": Then(cycle(90 * epoch), 90 * epoch, cycle(10 * epoch)),
        "halving-25-cycle": HalvingCycle(low, high, 25 * epoch),
        "decaying-100-cycle": Then(ramp(50 * epoch), 50 * epoch, Exponential(high, low, 50 * epoch)),
    }[scheme]


def rule(setting: Setting, epochs: int, batches: float) -> Rule:
    """Return the rule of a row for so many epochs of `batches` mini-batches, of which the fraction is left out."""
    n = epochs * int(batches)
    low, *_, high = [float(number) for number in re.findall(r"[\d.]+|inf", setting.rate) * 2] or (inf, inf)
    cycles = re.fullmatch(r"(\d+)-cycle|(constant)", setting.scheme)
    mu = Cycle(0.9, 0.8, int(cycles[1] or 100) * n / 100) if cycles else 0.9
    match setting.optimizer, setting.scheme:
        case "AdaSecant", _:
            return AdaSecantThesis()
        case "SimpleAdaSecant", "equation-3.1":
            return SimpleAdaSecant(threshold=high)
        case "SimpleAdaSecant", "momentum-0.9":
            return SimpleAdaSecantMomentum(threshold=high)
        case "SimpleAdaSecant", _:
            return SimpleAdaSecantReleased(threshold=high)
        case "CUS-Adam", _:
            return CUSAdam(high)
        case "Adam", scheme:
            return Adam(rate(scheme, low, high, n))
        case "Switch", scheme:
            cyclical = HeavyBall(rate(scheme, low, high, n), mu)
            return Switch(cyclical, max(1, round(13 * epochs / 100)), SimpleAdaSecantReleased(threshold=10))
        case "SGD", "decay":
            return HeavyBall(Exponential(high, 0.001, epochs * batches), mu)  # eqs. 4.1, 4.2: partial batches count
    return HeavyBall(rate(setting.scheme, low, high, n), mu)


# --- scales ----------------------------------------------------------------------------------------------------------


class Size(NamedTuple):
    """What a scale makes of the thesis' setting."""

    epochs: int
    divisor: int
    """Of the size of mini-batches."""
    nets: dict[str, str]
    data: dict[str, tuple[str, int]]
    """By the thesis' name: a data set, and how many of its images to train on."""


NETS = ("ResNet18", "ResNet50", "torchvision's ResNet18")
SIZES: dict[Scale, Size] = {
    "tiny": Size(2, 8, dict.fromkeys(NETS, "mlp"), dict.fromkeys(("CIFAR-10", "CIFAR-100"), ("digits", 130))),
    "small": Size(
        6, 8, dict(zip(NETS, ("wrn-10-1", "wrn-16-1", "resnet18-imagenet-stem"), strict=True)),
        {"CIFAR-10": ("cifar10-small", 500), "CIFAR-100": ("cifar100-subset", 500)},
    ),
    "full": Size(
        100, 1, dict(zip(NETS, ("resnet18", "resnet50", "resnet18-imagenet-stem"), strict=True)),
        {"CIFAR-10": ("cifar10", 50_000), "CIFAR-100": ("cifar100", 50_000)},
    ),
}  # fmt: skip


def trial(setting: Setting, size: Size) -> Trial:
    """Return the run of a row."""
    prepared = setting.data.endswith(" prepared")
    data, images = size.data[setting.data.removesuffix(" prepared")]
    batch = setting.batch // size.divisor
    options = Options(
        model=size.nets[setting.net], data=data, epochs=size.epochs, batch=batch, samples=images, drop_last=True,
        scaling="standard" if prepared else "unit", augment="crop-flip" if prepared else "none",
    )  # fmt: skip
    return Trial(setting.label, options, rule(setting, size.epochs, images / batch))


# --- what is shown ---------------------------------------------------------------------------------------------------


def recorded() -> dict[str, dict[str, list[float]]]:
    """Return the author's own curves, by label; none where there is no file, ValueError if it is damaged."""
    path = Path(os.environ.get("REFOPT_DATA", ".")) / "thesis-curves" / "curves.json.gz"
    if not path.exists():
        print("The author's curves are not drawn: REFOPT_DATA has no thesis-curves/curves.json.gz.")
        return {}
    try:
        runs = json.loads(gzip.decompress(path.read_bytes()))["runs"]
    except (OSError, EOFError, ValueError, LookupError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): put it back as it was, or away") from error
    found = {}
    for run in runs:
        data, scheme = run["dataset"].replace("CIFAR", "CIFAR-"), run["scheme"].removesuffix("LR")
        rate, batch = run["lr"].replace("None", ""), run["batch_size"]
        found[Setting("", data, run["network"], run["optimizer"], scheme, rate, batch, None, None).label] = run
    return found


COLUMNS = {
    "accuracy": ("test_accuracy", "val_accuracy", 100, "test accuracy / %"),
    "train loss": ("train_loss", "train_loss", 1, "training loss"),
    "test loss": ("test_loss", "val_loss", 1, "test loss"),
}
"""Ours, the author's, a factor, and what it is called."""


def drawn(what: str, label: str, theirs: dict[str, dict[str, list[float]]], epochs: int, shown: Shown) -> list[Curve]:
    """Return our curve of a setting, over epochs of a hundred, and the author's if there is one."""
    if what == "plan":
        lr = rule(SETTINGS[label], 100, 390).lr  # type: ignore[attr-defined]
        x = np.arange(0, 100, 0.1)
        return [Curve(label, x, np.array([lr(round(390 * epoch)) for epoch in x]))]
    if what == "rate":
        curve = shown.steps(label, "eta")
        return [curve._replace(x=curve.x * 100 / epochs)]
    column, recording, factor, _ = COLUMNS[what]
    curve = shown.epochs(label, column, factor)
    ours = [Curve(label, curve.x * 100 / epochs, curve.y)]
    if label not in theirs:
        return ours
    y = factor * np.array(theirs[label][recording])
    return [*ours, Curve(label, np.arange(len(y)), y, author=True)]


def first_cycle(curve: Curve) -> Curve:
    """Return a curve as far as the first cycle of its setting goes, its first point at least; whole without cycles."""
    cycles = re.fullmatch(r"(\d+)-cycle", SETTINGS[curve.label].scheme)
    end = max(1, np.sum(curve.x <= int(cycles[1]))) if cycles else None
    return curve._replace(x=curve.x[:end], y=curve.y[:end])


def shared(labels: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return what settings have in common, for the title of their axes, and what sets each apart, for the legend."""
    words = {
        label: [*row[3:6], row.net, row.data, f"batch {row.batch}"] for label in labels for row in [SETTINGS[label]]
    }
    same = [len(set(column)) == 1 for column in zip(*words.values(), strict=True)]
    if all(same):
        return "", dict(zip(labels, labels, strict=True))
    apart = {
        label: ", ".join(word for word, common in zip(told, same, strict=True) if word and not common)
        for label, told in words.items()
    }
    common = [word for word, common in zip(words[labels[0]], same, strict=True) if common and word not in ("", *USUAL)]
    return ", ".join(common), apart


def draw(views: Sequence[View], theirs: dict[str, dict[str, list[float]]], epochs: int, shown: Shown) -> None:
    """Draw a figure, the author's curves dotted."""
    panels: list[Panel] = []
    names: dict[str, str] = {}  # a run has one colour, hence one name, in all panels
    for what, labels, until, log, once in views:
        title, apart = shared(labels)
        names = apart | names
        curves = [curve for label in labels for curve in drawn(what, label, theirs, epochs, shown)]
        curves = [first_cycle(curve) if once else curve for curve in curves]
        called = [curve._replace(label=names[curve.label]) for curve in curves]
        ylabel = COLUMNS[what][-1] if what in COLUMNS else "rate"
        panels.append(Panel("epoch of a hundred", ylabel, called, "y" if log else "", title, until))
    shown.draw(panels)


def tell(rows: Sequence[Setting], what: str, shown: Shown) -> None:
    """Print a table: the best accuracy of each run, or when it was reached, in epochs of a hundred."""
    if what == "accuracy":
        compared = [Row(row.label, 100 * shown.best(row.label), row.accuracy) for row in rows]
        shown.compare(compared, "best test accuracy of all epochs, in per cent")
        return
    found = {row.label: np.nan_to_num(shown.found[row.label]["test_accuracy"]) for row in rows}
    when = {label: 100 * (1 + values.argmax(axis=1)) / values.shape[1] for label, values in found.items()}
    shown.compare(
        [Row(row.label, when[row.label], row.epoch) for row in rows], "epoch of a hundred when it was reached"
    )


def parts(scale: Scale) -> list[Part]:
    """Return all tables, then all figures, then what holds of the claims."""
    size, theirs = SIZES[scale], recorded()
    trials = {label: trial(setting, size) for label, setting in SETTINGS.items()}
    found = []
    for place, rows in PLACES.items():
        for what in ("accuracy", "epoch")[: 2 if place.startswith("table") else 1]:
            runs = [trials[row.label] for row in rows]
            name, title = f"{place.replace(' ', '-')}-{what}", f"{place[0].upper()}{place[1:]}: {what}"
            found.append(Part(name, title, runs, partial(tell, rows, what)))
    for name, (title, views) in FIGURES.items():
        labels = dict.fromkeys(label for view in views if view.what != "plan" for label in view.labels)
        runs = [trials[label] for label in labels]
        found.append(Part(f"figure-{name}", f"Figure {name}: {title}", runs, partial(draw, views, theirs, size.epochs)))
    return [*found, Part("claims", "What the thesis claims", list(trials.values()), judge)]


if __name__ == "__main__":
    main(__doc__, parts)
