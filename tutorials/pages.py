"""What the chapters share: a rule's source, runs as arrays, a small network, and pictures.

A chapter is a script. Run it from anywhere: it prints what it computes, asserts what a theorem says, and leaves its
pictures, `<chapter>-<name>.png` or `.gif`, in the folder REFOPT_FIGURES, by default `build/figures` of this clone.
With QUICK=1 in the environment it computes less, and asserts the same.

Shapes: T steps, n variables.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image, PngImagePlugin
from threadpoolctl import threadpool_limits

from nets import Layer
from nets.data import Dataset, load
from nets.models import mlp
from nets.oracle import NetOracle
from refopt import NonFiniteError, Oracle, Rule, Shuffled, descend

ROOT = Path(__file__).resolve().parent.parent
QUICK = os.environ.get("QUICK") == "1"
FIGURES = Path(os.environ.get("REFOPT_FIGURES") or ROOT / "build" / "figures")
BLUE, ORANGE, GREEN, PINK, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"

threadpool_limits(1, "blas")  # matrices here are so small that threads cost more than they bring
plt.style.use(Path(__file__).with_name("book.mplstyle"))
if QUICK:
    plt.rcParams.update({"savefig.dpi": 40, "figure.constrained_layout.use": False})


def pick(full: Any, quick: Any) -> Any:
    """Return the first, or with QUICK=1 the second."""
    return quick if QUICK else full


# --- sources ---------------------------------------------------------------------------------------------------------


def show(*objects: Any) -> None:
    """Print the source of classes and functions as it stands, and where it stands."""
    for each in map(inspect.unwrap, objects):
        lines, first = inspect.getsourcelines(each)
        file = Path(inspect.getsourcefile(each) or "").resolve()
        place = file.relative_to(ROOT) if file.is_relative_to(ROOT) else Path(*file.parts[-3:])
        print(f"# {place.as_posix()}, line {max(first, 1)}\n{dedent(''.join(lines))}")


# --- runs ------------------------------------------------------------------------------------------------------------


class Formula(Oracle):
    """A formula x -> (f, g) to minimise, with the f* it has and the start x0 (n,) it is given."""

    def __init__(self, formula: Callable, x0: Any, f_star: float | None = None):
        self.formula, self.x0, self.f_star = formula, np.atleast_1d(np.asarray(x0, float)), f_star

    def __call__(self, x):
        f, g = self.formula(x)
        return np.float64(f), np.array(g, float)


class Run(NamedTuple):
    """What T steps did."""

    x: np.ndarray
    """Iterates (T + 1, n), the start first."""
    f: np.ndarray
    """The whole objective at them, (T + 1,)."""
    g: np.ndarray
    """The gradients the steps were taken with, (T, n)."""
    eta: np.ndarray
    """Step sizes (T,), or (T, n)."""


def run(rule: Rule, problem: Any, steps: int, oracle: Oracle | None = None) -> Run:
    """Run a rule from problem.x0, on the problem or on another view of it, such as its mini-batches."""
    oracle = oracle or problem
    taken = [(s.x.copy(), s.g, s.eta) for s in islice(descend(rule, oracle, problem.x0), steps)]
    x, g, eta = (np.array(np.broadcast_arrays(*column)) for column in zip(*taken, strict=True))
    x = np.concatenate([[oracle.project(problem.x0)], x])
    return Run(x, np.array([problem.value(row) for row in x]), g, eta)


def squares(e: np.ndarray) -> np.ndarray:
    """Return |e|² along the last axis."""
    return (e * e).sum(axis=-1)


def all_paths(rule: Rule, family: Any, k: int) -> np.ndarray:
    """Return the mean of |x_t - x*|² over all n^t paths of a rule without memory, for t = 0, ..., k."""
    parts = [family.sample([i]) for i in range(family.n)]
    points, mean = [family.x0], [squares(family.x0 - family.x_star)]
    for _ in range(k):
        moved = []
        for part in parts:
            for point in points:
                rule.start(point, part)
                moved.append(point + rule.step(point, part))
        points = moved
        mean.append(squares(np.array(points) - family.x_star).mean())
    return np.array(mean)


class Trained(NamedTuple):
    """What a rule made of a small network on the handwritten digits."""

    loss: np.ndarray
    """Mean loss over each epoch's mini-batches, before the step taken on them, (epochs,); shorter if it diverged."""
    accuracy: np.ndarray
    """Share of right answers on the test images after each epoch, (epochs,)."""
    eta: np.ndarray
    """The step size of every step; |d| / |g| where coordinates have their own."""
    steps: np.ndarray
    """The loss of every mini-batch, before the step taken on it."""
    theta: np.ndarray
    """The last parameters."""
    net: NetOracle
    """The network and its data."""


@cache
def handwritten_digits() -> Dataset:
    """Return 1437 images of 8 x 8 pixels to train on, and 360 to test."""
    return load("digits")


def train(
    rule: Rule, epochs: int, *, batch: int = 32, seed: int = 0, wrap: Callable = lambda net: net,
    model: Callable[[], Layer] = lambda: mlp((64, 32, 10)), xp: ModuleType = np,
) -> Trained:  # fmt: skip
    """Train 64-32-10, ReLU between, on 1437 images in mini-batches; stop where the loss is no number any more.

    Or another model, or on another device: `xp` is the module of its arrays.
    """
    digits = handwritten_digits()
    order = Shuffled(len(digits.y_train), batch, seed)
    net = NetOracle(model(), digits.x_train, digits.y_train, order, scale=digits.scale, xp=xp)
    theta, losses, accuracy, eta = net.layout.initial(seed, xp=xp), [], [], []
    try:
        for step in islice(descend(rule, wrap(net), theta), epochs * net.steps_per_epoch):
            losses.append(float(net.data_loss))
            eta.append(float(step.size))
            theta = step.x
            if step.t % net.steps_per_epoch == 0:
                accuracy.append(net.evaluate(theta, digits.x_test, digits.y_test)[1])
    except NonFiniteError:
        pass
    whole = len(accuracy)
    loss = np.reshape(losses[: whole * net.steps_per_epoch], (whole, -1)).mean(axis=1)
    return Trained(loss, np.array(accuracy), np.array(eta), np.array(losses), theta, net)


# --- pictures --------------------------------------------------------------------------------------------------------


def save(fig: Figure, name: str, caption: str) -> None:
    """Write a picture as <name>.png, of 128 colours, its caption inside as the file's Description."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    drawn = BytesIO()
    fig.savefig(drawn)
    captioned(Image.open(drawn), FIGURES / f"{name}.png", caption)
    print(f"[figure {name}: {caption}]")


def animate(fig: Figure, draw: Callable[[int], Any], frames: int, name: str, caption: str, *, fps: int = 2) -> None:
    """Write a moving picture as <name>.gif, draw(k) making frame k, and the last frame as <name>.png; see `save`."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"{name}.gif"
    FuncAnimation(fig, lambda k: draw(k) or (), frames=frames, cache_frame_data=False).save(
        path, writer=PillowWriter(fps=fps, metadata={"comment": caption}), dpi=pick(110, 40)
    )
    with Image.open(path) as moving:
        moving.seek(moving.n_frames - 1)
        captioned(moving, path.with_suffix(".png"), caption)
    print(f"[figure {name}, moving: {caption}]")


def captioned(picture: Image.Image, path: Path, caption: str) -> None:
    """Write a picture as a PNG with a palette: a third of the size, and nobody sees it."""
    note = PngImagePlugin.PngInfo()
    note.add_text("Description", caption)
    picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, pnginfo=note, optimize=not QUICK)


def contours(ax: Axes, problem: Any, x: tuple[float, float], y: tuple[float, float], levels: int = 12) -> None:
    """Draw level lines of a function of two variables, as many as `levels`, evenly spaced in the root of f - min f."""
    n = pick(121, 31)
    X, Y = np.meshgrid(np.linspace(*x, n), np.linspace(*y, n))
    F = np.array([problem.value(np.array(point)) for point in zip(X.flat, Y.flat, strict=True)]).reshape(X.shape)
    heights = F.min() + (F.max() - F.min()) * (np.arange(1, levels + 1) / (levels + 1)) ** 2
    ax.contour(X, Y, F, levels=heights, colors="0.72", linewidths=0.7)
    ax.set(xlim=x, ylim=y, xlabel="$x_1$", ylabel="$x_2$")
    ax.grid(False)


def path(ax: Axes, x: np.ndarray, **style: Any) -> None:
    """Draw iterates (T + 1, 2), and the steps between them."""
    ax.plot(x[:, 0], x[:, 1], **{"marker": "o", "markersize": 3.5, "linewidth": 1.2} | style)


def star(ax: Axes, x: Any, label: str | None = "$x^*$") -> None:
    """Mark the solution."""
    ax.plot(*x, marker="*", color="k", markersize=11, linestyle="none", label=label, zorder=5)


def gaps(ax: Axes, curves: Mapping[str, np.ndarray], bound: np.ndarray | None = None, name: str = "bound") -> None:
    """Draw f - f* (T + 1,) of runs by name on a logarithmic axis, and beside them a theorem's bound (T + 1,)."""
    for label, gap in curves.items():
        ax.plot(np.where(gap > 0, gap, np.nan), label=label)
    if bound is not None:
        ax.plot(bound, color="0.35", linestyle=(0, (1, 1)), linewidth=2.6, label=name)
    ax.set(yscale="log", xlabel="step $t$", ylabel="$f(x_t) - f^*$")
    ax.legend()


def learning(fig: Figure, runs: Mapping[str, Trained]) -> None:
    """Draw training loss, test error, and step sizes by epoch (median, and the middle half) of networks by name."""
    loss, error, eta = fig.subplots(1, 3)
    for name, r in runs.items():
        epochs = np.arange(1, len(r.loss) + 1)
        (line,) = loss.semilogy(epochs, r.loss, label=name)
        error.semilogy(epochs, 100 * (1 - r.accuracy))
        sizes = np.reshape(r.eta[: len(epochs) * r.net.steps_per_epoch], (len(epochs), -1))
        low, middle, high = np.quantile(sizes, (0.25, 0.5, 0.75), axis=1)
        eta.semilogy(epochs, middle)
        eta.fill_between(epochs, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    loss.set(xlabel="epoch", ylabel="training loss")
    error.set(xlabel="epoch", ylabel="test error / %")
    error.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator())
    error.yaxis.set_major_formatter("{x:g}")
    eta.set(xlabel="epoch", ylabel=r"step size $\eta$")
    fig.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(runs), 4))


def scores(runs: Mapping[str, Trained]) -> None:
    """Print the last training loss and test accuracy of trained networks by name."""
    for name, r in runs.items():
        print(f"{name:32} loss {r.loss[-1]:8.4f}   test accuracy {100 * r.accuracy[-1]:5.1f} %")
