"""Retsinas, Sfikas, Filntisis and Maragos' trainable rate, TLR: figures 1-3, Table 1, and the two grids on MNIST.

G. Retsinas, G. Sfikas, P. P. Filntisis, P. Maragos, Newton-based trainable learning rate (ICASSP 2023).

The setting (section 3): on MNIST, a perceptron with one hidden layer of 1000 units, 20 epochs, initial rates 10^-1 to
10^-5 and mini-batches of 64 to 512; on CIFAR-100, WRN-16-4. What the text says of its results:

    (a) the rate warms up and then decays by itself                                                   figure 1
    (b) from any α_0 of 10^-1 to 10^-9 the loss gets down; least so from the largest                   figure 2
    (c) at batches of 128, over the initial rates, the loss is 0.095 ± 0.054, and 0.661 ± 0.774 by SGD
    (d) from the largest rate SGD reaches a loss of 0.326 and 92.3 %, TLR 0.095 and 96.0 %
    (e) p and γ from 0.2 to 0.5 hardly matter
    (f) first-order rates need another η in every setting                                             Table 1
    (g) TLR keeps up with a tuned multistep schedule; Adam and SPS stay behind, and SLS trembles        figure 3

Text and captions disagree about the defaults: p = 0.20 and γ = 0.33, or p = 0.33 and γ = 0.2 as in figure 1 and the
code; here the latter. Not in the text, but in the code (github.com/georgeretsi/NTLR): SGD has a momentum of 0.8 and a
weight decay of 5e-4, the multistep schedule, too, which the text calls vanilla; Adam has no decay; 80 epochs on CIFAR;
images there moved by up to 4 pixels and flipped; channels standardised; the partial last mini-batch kept. Not as there:
its perceptron, with dropout (see `mlp-retsinas`), its wide residual net (`wrn-16-4`), its TLR, without guards
(`NTLRReleased`; here `NTLR`, the paper's), and its losses, which are of mini-batches; here of all training images,
after the last epoch. SPS and SLS have the hyper-parameters of their authors' code: c = 0.2 and the smooth bound for the
one, c = 0.1 for the other, no decay. Chosen here: the values of p and γ, which the text does not list; α_0 = 0.01 in
figures 1 and 3, batches of 128 in figures 1 and 2; Adam's rate of 0.001; the first-order rule averages over its
windows.

Table 1 has the two best of five η for each first-order rule: these two are run, as printed. But by the text's formula,
α (1 + η cos), the multiplicative η of 1e-4 and 1e-5 change a rate by 2.5 % at most in the 240 windows of 80 epochs, so
that their columns become those of one constant rate, which the paper's are not (see `hypergradient`).

At `small` the perceptron has 256 hidden units, all of MNIST is used for 10 epochs, in the grids for 2, and these have
fewer values; for CIFAR-100 stands a part of CIFAR-10, of 1,000 images to train and 500 to test, looked for only in
REFOPT_DATA, in mini-batches of a quarter, for WRN-16-4 WRN-10-1, of 77,850 parameters, and for 80 epochs 10, in Table 1
4. At `full` CIFAR-100 is the user's own.

What came out at `small`, of two runs of everything that differ in rounding alone, by the order of some sums, and not at
all on MNIST. (a): with p = 0.33 and γ = 0.2 the rate goes from 0.01 to 0.0225 in epoch 5 and then to 0.0177; with γ =
0.1 it has fallen by less than a tenth, and with p = 1 it still rises after 10 epochs. (b): from 10^-2 to 10^-9 the
rates come together between 0.014 and 0.018. But of all the largest rate ends with the smallest loss, 0.0115, and the
smallest with the largest, 0.112: without dropout 0.1 is not too large. (c): 0.041 ± 0.023 by TLR, 0.38 ± 0.50 by SGD.
(d): 0.0115 and 98.3 %, by SGD 0.0201 and 98.1 %, which is no failure. (e) cannot be told: it is of two cells, and in
two epochs p = 1 never moves the rate; over rates and batches, 0.45 ± 0.42 by TLR, 0.72 ± 0.83 by SGD. (f) cannot be
told from four epochs of 16 or 63 steps, either: the losses of Table 1 lie between 1.92 and 2.24, and what parts the
rules is no larger than the deviation over the batches, nor than that of the two runs: from 0.1 TLR is first in one, at
1.955, and third in the other, at 2.033. (g) neither: beside the multistep schedule TLR ends at a loss of 1.616, and
1.611 there, in one run, and at 1.735, and 1.616 there, in the other, by 2.4 and 7.8 points of accuracy behind it, at
33.8 % and 30.2 % on 500 test images. SPS, at 10 %, a guess, and SLS, which trembles, at 10.4 % and 7.2 %, stay behind;
Adam does not: 38.0 % and 39.6 %. At `full` nothing was run.

Not run: figure 4, ImageNet, which is not at hand; figure 5, translation by a transformer on Multi30k: there is no such
net here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from math import ceil
from typing import NamedTuple

import numpy as np
from experiment import Curve, Panel, Part, Row, Scale, Shown, claim, main
from matplotlib.colors import LogNorm

from nets.options import Options
from nets.plots import figure, save
from nets.sweep import Trial
from refopt import NTLR, SLS, Adam, HeavyBall, MultiStep, Rule, SPSSmooth, WindowHD, WindowMultiplicativeHD

MOMENTUM, DECAY = 0.8, 5e-4
GAMMA, SHARE = 0.2, 0.33
"""Of the captions of figure 1."""

# Table 1: the loss on CIFAR-100, mean and deviation over the batch sizes
ADDITIVE, MULTIPLICATIVE = (1e-1, 1e-2), (1e-4, 1e-5)
TABLE_1 = {
    # α_0: additive η = 0.1, 0.01; multiplicative η = 1e-4, 1e-5; TLR
    1e-1: ((0.48, 0.07), (0.38, 0.26), (0.57, 0.08), (0.10, 0.03), (0.09, 0.01)),
    1e-2: ((0.47, 0.06), (0.59, 0.03), (1.06, 0.14), (0.62, 0.24), (0.16, 0.02)),
    1e-3: ((0.36, 0.07), (0.49, 0.22), (1.61, 0.14), (2.02, 0.71), (0.18, 0.03)),
}
AT_128 = {"SGD": (0.661, 0.774), "TLR": (0.095, 0.054)}
"""Section 3: loss at batches of 128, mean and deviation over the initial rates."""
FROM_LARGEST = {"SGD": (0.326, 92.3), "TLR": (0.095, 96.0)}
"""Section 3: loss and accuracy / % from the largest initial rate."""
FIGURE_2 = tuple(10.0**-i for i in range(1, 10))


Axis = tuple[str, Sequence[float]]
"""What a table's rows or columns differ by, and its values."""


class Setting(NamedTuple):
    """What a scale decides."""

    mnist: Options
    grid: Options
    """MNIST in the two grids."""
    cifar: Options
    """What stands for CIFAR-100."""
    table: Options
    """The same in Table 1."""
    images: int
    """To train on, of that."""
    rates: tuple[float, ...]
    batches: tuple[int, ...]
    gammas: tuple[float, ...]
    shares: tuple[float, ...]
    crossed: tuple[tuple[float, ...], tuple[int, ...]]
    """Initial rates and batches over which the γ x p grid is a mean."""
    divisor: int = 1
    """Of the size of its mini-batches, where images are few."""


RATES, BATCHES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5), (64, 128, 256, 512)
DIGITS = Options(data="digits", epochs=2, samples=512, weight_decay=DECAY)
MNIST = Options(data="mnist", weight_decay=DECAY)
CIFAR_10 = Options(model="wrn-10-1", data="cifar10-small", augment="crop-flip", weight_decay=DECAY)
CIFAR = Options(model="wrn-16-4", data="cifar100", epochs=80, augment="crop-flip", weight_decay=DECAY)
SCALES: dict[Scale, Setting] = {
    "tiny": Setting(
        mnist=DIGITS, grid=DIGITS, cifar=DIGITS, table=DIGITS, images=512,
        rates=(1e-1, 1e-3), batches=(128, 512), gammas=(0.2, 1.0), shares=(0.33, 1.0),
        crossed=((1e-1,), (128,)),
    ),
    "small": Setting(
        mnist=replace(MNIST, model="mlp", epochs=10), grid=replace(MNIST, model="mlp", epochs=2),
        cifar=replace(CIFAR_10, epochs=10), table=replace(CIFAR_10, epochs=4), images=1000, divisor=4,
        rates=RATES, batches=(64, 256), gammas=(0.1, 0.2, 0.5, 1.0), shares=(0.1, 0.33, 1.0),
        crossed=((1e-1, 1e-3), (128,)),
    ),
    "full": Setting(
        mnist=replace(MNIST, model="mlp-retsinas", epochs=20), grid=replace(MNIST, model="mlp-retsinas", epochs=20),
        cifar=CIFAR, table=CIFAR, images=50_000,
        rates=RATES, batches=BATCHES, gammas=(0.1, 0.2, 0.33, 0.5, 1.0), shares=(0.05, 0.1, 0.2, 0.33, 0.5, 1.0),
        crossed=(RATES, BATCHES),
    ),
}  # fmt: skip


def sgd(options: Options, rate: float, batch: int) -> Trial:
    """Return SGD at a constant rate."""
    return trial(options, f"SGD {rate:.0e}", batch, HeavyBall(rate, MOMENTUM))


def tlr(options: Options, rate: float, batch: int, gamma: float = GAMMA, share: float = SHARE) -> Trial:
    """Return SGD whose rate TLR trains."""
    rule = NTLR(HeavyBall(rate, MOMENTUM), gamma=gamma, share=share)
    return trial(options, f"TLR {rate:.0e}, γ {gamma}, p {share}", batch, rule)


def first_order(
    options: Options, rate: float, batch: int, kind: type[WindowHD | WindowMultiplicativeHD], eta: float
) -> Trial:
    """Return SGD whose rate a hypergradient trains."""
    rule = kind(HeavyBall(rate, MOMENTUM), share=SHARE, meta_lr=eta)
    return trial(options, f"{kind.__name__} {eta:.0e}, {rate:.0e}", batch, rule)


def trial(options: Options, name: str, batch: int, rule: Rule) -> Trial:
    """Return a trial whose label says all that differs from others of its scale."""
    return Trial(f"{options.data}, {options.epochs} epochs, {name}, batch {batch}", replace(options, batch=batch), rule)


def part(name: str, title: str, trials: Iterable[Trial], show: Callable[[Shown], None]) -> Part:
    """Return a part that has each trial once."""
    return Part(name, f"Retsinas et al., {title}", list({trial.label: trial for trial in trials}.values()), show)


def named(trials: dict[str, Trial], curve: Callable[..., Curve], *column: str | float) -> list[Curve]:
    """Return a curve of each trial, under its name in the figure."""
    return [curve(trial.label, *column)._replace(label=name) for name, trial in trials.items()]


def losses(shown: Shown, trials: Iterable[Trial]) -> np.ndarray:
    """Return the last training losses of all the trials."""
    return np.concatenate([shown.last(trial.label, "train_loss") for trial in trials])


def smaller(figure: Callable[[np.ndarray], float], ours: np.ndarray, others: np.ndarray) -> bool:
    """Return whether a figure of our losses is below that of the others; a loss that is not there is infinite."""
    return bool(np.isfinite(ours).all() and (not np.isfinite(others).all() or figure(ours) < figure(others)))


# --- the parts -------------------------------------------------------------------------------------------------------


def parts(scale: Scale) -> list[Part]:
    """Return figures, grids and Table 1."""
    s = SCALES[scale]
    return [figure_1(s), figure_2(s), section_3(s), gammas_and_shares(s), rates_and_batches(s), table_1(s), figure_3(s)]


def figure_1(s: Setting) -> Part:
    """Return the rates over the epochs, for different p and for different γ."""
    by_share = {f"p = {share}": tlr(s.mnist, 0.01, 128, share=share) for share in s.shares}
    by_gamma = {f"γ = {gamma}": tlr(s.mnist, 0.01, 128, gamma=gamma) for gamma in s.gammas}

    def show(shown: Shown) -> None:
        left, right = (named(trials, shown.steps, "eta") for trials in (by_share, by_gamma))
        axes = "epoch", "learning rate"
        shown.draw([Panel(*axes, left, "y", f"γ = {GAMMA}"), Panel(*axes, right, "y", f"p = {SHARE}")])
        for label, x, eta, *_ in [*left, *right]:
            top = eta.argmax()
            print(f"{label}: {eta[0]:.3g}, up to {eta[top]:.3g} in epoch {ceil(x[top])}, at last {eta[-1]:.3g}")
            claim(f"(a) {label}: the rate rises, then falls, by a tenth each", 0.9 * eta[top] > max(eta[0], eta[-1]))

    return part("figure-1", "figure 1: rates of TLR on MNIST", [*by_share.values(), *by_gamma.values()], show)


def figure_2(s: Setting) -> Part:
    """Return loss and rate from initial rates of nine decades."""
    trials = {f"α_0 = {rate:.0e}": tlr(s.mnist, rate, 128) for rate in FIGURE_2}

    def show(shown: Shown) -> None:
        loss, rate = named(trials, shown.epochs, "train_loss"), named(trials, shown.steps, "eta")
        shown.draw([Panel("epoch", "training loss", loss, "y"), Panel("epoch", "learning rate", rate, "y")])
        last = {name: losses(shown, [trial]) for name, trial in trials.items()}
        shown.compare([Row(name, values) for name, values in last.items()], "training loss")
        largest, *others = (np.nan_to_num(values, nan=np.inf).max() for values in last.values())
        claim("(b) from every rate the loss gets below 0.23, a tenth of log 10", max(largest, *others) < 0.23)
        claim("(b) it ends highest from the largest rate", largest > max(others))

    return part("figure-2", "figure 2: TLR from many initial rates on MNIST", trials.values(), show)


def section_3(s: Setting) -> Part:
    """Return what the text says of batches of 128, and of the largest rate."""
    by_method = {name: [make(s.mnist, rate, 128) for rate in s.rates] for name, make in (("SGD", sgd), ("TLR", tlr))}

    def show(shown: Shown) -> None:
        rows = [Row(f"loss of {name}, all rates", losses(shown, by_method[name]), *AT_128[name]) for name in by_method]
        for name, (largest, *_rest) in by_method.items():
            loss, accuracy = FROM_LARGEST[name]
            rows += [
                Row(f"loss of {name}, largest rate", losses(shown, [largest]), loss),
                Row(f"accuracy / % of {name}, largest", 100 * shown.last(largest.label, "test_accuracy"), accuracy),
            ]
        shown.compare(rows, "training loss and test accuracy")
        sgd_all, tlr_all, sgd_largest, _, tlr_largest, _ = (row.ours for row in rows)
        claim("(c) over the rates, the loss is smaller by TLR", smaller(np.mean, tlr_all, sgd_all))
        claim("(c) and so is its deviation", smaller(np.std, tlr_all, sgd_all))
        claim("(d) from the largest rate, the loss is smaller by TLR", smaller(np.mean, tlr_largest, sgd_largest))

    return part("section-3", "section 3: MNIST, batches of 128", chain(*by_method.values()), show)


def gammas_and_shares(s: Setting) -> Part:
    """Return the γ x p grid: each cell a mean over initial rates and batches."""
    rates, batches = s.crossed
    cells = {
        (gamma, share): [tlr(s.grid, rate, batch, gamma, share) for rate in rates for batch in batches]
        for gamma in s.gammas
        for share in s.shares
    }

    def show(shown: Shown) -> None:
        found = {cell: losses(shown, trials) for cell, trials in cells.items()}
        rows = [Row(f"γ = {gamma}, p = {share}", values) for (gamma, share), values in found.items()]
        shown.compare(rows, "training loss")
        table = [[np.mean(found[gamma, share]) for share in s.shares] for gamma in s.gammas]
        heat(shown, {"mean training loss": table}, ("γ", s.gammas), ("p", s.shares))
        inner = [found[gamma, share].mean() for gamma, share in cells if 0.2 <= gamma <= 0.5 and 0.2 <= share <= 0.5]
        claim("(e) for γ and p from 0.2 to 0.5 losses differ by less than a factor of 2", max(inner) < 2 * min(inner))

    return part("grid-gamma-p", "section 3: γ x p on MNIST", chain(*cells.values()), show)


def rates_and_batches(s: Setting) -> Part:
    """Return the rate x batch grid, of SGD and of TLR."""
    cells = {
        name: [[make(s.grid, rate, batch) for batch in s.batches] for rate in s.rates]
        for name, make in (("SGD", sgd), ("TLR", tlr))
    }

    def show(shown: Shown) -> None:
        tables = {name: [[losses(shown, [cell])[0] for cell in row] for row in table] for name, table in cells.items()}
        shown.compare([Row(name, np.ravel(table)) for name, table in tables.items()], "training loss, all cells")
        heat(shown, tables, ("α_0", s.rates), ("batch", s.batches))

    rows = chain(*cells.values())
    return part("grid-rate-batch", "section 3: initial rate x batch on MNIST", chain(*rows), show)


def table_1(s: Setting) -> Part:
    """Return Table 1: first-order rules and TLR, each a mean over the batches."""
    first = {f"additive η = {eta:.0e}": partial(first_order, kind=WindowHD, eta=eta) for eta in ADDITIVE}
    first |= {
        f"multiplicative η = {eta:.0e}": partial(first_order, kind=WindowMultiplicativeHD, eta=eta)
        for eta in MULTIPLICATIVE
    }
    cells = {
        f"α_0 = {rate:.0e}, {name}": ([make(s.table, rate, batch // s.divisor) for batch in s.batches], reported)
        for rate, paper in TABLE_1.items()
        for (name, make), reported in zip((first | {"TLR": tlr}).items(), paper, strict=True)
    }

    def show(shown: Shown) -> None:
        rows = [Row(name, losses(shown, trials), *reported) for name, (trials, reported) in cells.items()]
        shown.compare(rows, "training loss")
        width = len(first) + 1
        for *others, own in (rows[k : k + width] for k in range(0, len(rows), width)):
            best = all(smaller(np.mean, own.ours, other.ours) for other in others)
            claim(f"(f) {own.name} has the smallest loss of its rate", best)

    trials = chain.from_iterable(trials for trials, _reported in cells.values())
    return part("table-1", "Table 1: first and second order", trials, show)


def figure_3(s: Setting) -> Part:
    """Return loss and accuracy of five methods."""
    batch, pure = 128 // s.divisor, replace(s.cifar, weight_decay=0.0)
    per_epoch = ceil(s.images / batch)
    milestones = tuple(int(share * s.cifar.epochs) * per_epoch for share in (0.5, 0.75))
    trials = {
        "sgd-mstep": trial(s.cifar, "multistep", batch, HeavyBall(MultiStep(0.1, milestones), MOMENTUM)),
        "TLR": tlr(s.cifar, 0.01, batch),
        "Adam": trial(pure, "Adam", batch, Adam()),
        "SLS": trial(pure, "SLS", batch, SLS()),
        "SPS": trial(pure, "SPS", batch, SPSSmooth(c=0.2)),
    }

    def show(shown: Shown) -> None:
        loss, accuracy = named(trials, shown.epochs, "train_loss"), named(trials, shown.epochs, "test_accuracy", 100)
        shown.draw([Panel("epoch", "training loss", loss, "y"), Panel("epoch", "accuracy / %", accuracy)])
        rows = [Row(name, 100 * shown.last(trial.label, "test_accuracy")) for name, trial in trials.items()]
        shown.compare(rows, "accuracy / % after the last epoch")
        scores = {row.name: float(np.nan_to_num(row.ours)[0]) for row in rows}
        claim("(g) TLR is at most two percentage points below sgd-mstep", scores["TLR"] > scores["sgd-mstep"] - 2)
        claim("(g) Adam and SPS are worse than TLR", scores["TLR"] > max(scores["Adam"], scores["SPS"]))

    return part("figure-3", "figure 3: five methods on CIFAR-100", trials.values(), show)


def heat(shown: Shown, tables: dict[str, list[list[float]]], down: Axis, across: Axis) -> None:
    """Draw tables of losses side by side, in the same colours of their logarithm."""
    fig, axes = figure(len(tables), shown.title)
    low, high = np.nanmin(list(tables.values())), np.nanmax(list(tables.values()))
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        ax.imshow(table, norm=LogNorm(low, high), aspect="auto", cmap="viridis_r")
        ax.set(title=name, ylabel=down[0], xlabel=across[0])
        ax.set_yticks(range(len(down[1])), [f"{value:g}" for value in down[1]])
        ax.set_xticks(range(len(across[1])), [f"{value:g}" for value in across[1]])
        ax.grid(visible=False)
        for (i, k), loss in np.ndenumerate(table):
            ax.text(k, i, f"{loss:.3g}", ha="center", va="center", bbox={"facecolor": "white", "alpha": 0.7, "lw": 0})
    save(fig, shown.out / f"{shown.part.name}.png")


if __name__ == "__main__":
    main(__doc__, parts)
