"""Training: a net and its mini-batches as an oracle, and the loop around `refopt.descend`.

Shapes: theta (n,); a mini-batch of images (N, H, W, C) and labels (N,).
"""

from __future__ import annotations

import json
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

import refopt
from refopt import L2, Ball, Clip, Constrained, NonFiniteError, Oracle, Rule, Shuffled, Step, array_module, descend, dot
from refopt.arrays import Array, all_finite, namespace, to_host
from refopt.oracle import Order

from .checkpoint import Checkpoint, RunError, Table, replacing
from .data import load
from .flat import Layout
from .layers import Layer, Mode
from .losses import softmax_cross_entropy
from .models import MODELS
from .tensor import Tensor

LOG_COLUMNS = ("step", "epoch", "loss", "eta", "grad_norm")
EPOCH_COLUMNS = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
VALID_COLUMNS = ("valid_loss", "valid_accuracy")

Loss = Callable[[Tensor, Array], Tensor]


class NetOracle(Oracle):
    """The loss of a net on one mini-batch after another, as a function of its flat parameters.

    Parameters
    ----------
    model, loss : what to compute; the loss is a mean over the batch, its infimum is `f_star` = 0
    images, labels : (N, H, W, C) and (N,) on the host; they are moved to `xp`, images as `dtype`
    order : which samples the t-th mini-batch holds: `Shuffled(...)`
    seed : of the dropout masks, which follow the draw
    """

    f_star = 0.0
    steps_per_epoch: int

    def __init__(
        self, model: Layer, images: Array, labels: Array, order: Order, *, loss: Loss = softmax_cross_entropy,
        seed: int = 0, xp: ModuleType = np, dtype: Any = np.float32,
    ):  # fmt: skip
        self.model, self.loss, self.order, self.seed = model, loss, order, seed
        self.layout = Layout(model)
        self.blocks = self.layout.blocks
        self.images, self.labels = xp.asarray(images, dtype), xp.asarray(labels)
        self.steps_per_epoch = order.steps_per_epoch
        self.data_loss: Any = None
        self.seek(0)

    @property
    def batch_fraction(self) -> float:  # type: ignore[override]
        """The current mini-batch's share of the data."""
        return self.samples / len(self.labels)

    def draw(self) -> None:
        """Take the next mini-batch, and with it the next dropout masks."""
        self.seek(self.drawn + 1)
        self.data_loss = None

    def seek(self, position: int) -> None:
        """Go to the state after `position` draws; before the first it answers for the first mini-batch."""
        self.drawn = position
        t = max(position - 1, 0)
        index = namespace(self.labels).asarray(self.order(t))
        self.batch = self.images[index], self.labels[index], Mode(train=True, seed=self.seed, draw=t)
        self.samples = len(index)

    def position(self) -> int:
        """How many mini-batches have been drawn."""
        return self.drawn

    def _loss(self) -> Tensor:
        images, labels, mode = self.batch
        return self.loss(self.model(Tensor(images), mode), labels)

    def __call__(self, x):
        """Loss and gradient at x (n,); the first loss after a draw stays in `data_loss`, free of any penalty."""
        f, g = self.layout.evaluate(x, self._loss)
        if self.data_loss is None:
            self.data_loss = f
        return f, g

    def value(self, x):
        self.layout.bind(x)
        return self._loss().data

    def evaluate(self, x: Array, images: Array, labels: Array, batch: int = 1000) -> tuple[float, float]:
        """Return mean loss and accuracy (share of right answers) of the net at x (n,), without dropout."""
        xp = namespace(x)
        self.layout.bind(x)
        totals = xp.zeros(2, np.float64)
        for start in range(0, len(labels), batch):
            part = slice(start, start + batch)
            answers = xp.asarray(labels[part])
            logits = self.model(Tensor(xp.asarray(images[part], x.dtype)), Mode())
            totals[0] += self.loss(logits, answers).data * len(answers)
            totals[1] += (logits.data.argmax(axis=1) == answers).sum()
        loss, accuracy = (to_host(totals) / len(labels)).tolist()
        return loss, accuracy


# --- a run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """What to train, on what, and where; the rule comes apart from it."""

    model: str = "mlp"
    """The net: mlp, mlp-retsinas or mlp-liang; it takes its inputs and outputs from the data."""
    data: str = "digits"
    """The data: digits (embedded), or mnist (looked for in the folder REFOPT_DATA, then downloaded)."""
    epochs: int = 20
    """Passes over the training data."""
    batch: int = 32
    """Samples in a mini-batch."""
    seed: int = 0
    """Of initial weights, order of samples, dropout and the validation split."""
    device: Literal["cpu", "gpu", "auto"] = "cpu"
    """Where to compute; auto takes a GPU if there is one that works."""
    dtype: Literal["float32", "float64"] = "float32"
    """Of parameters, gradients and activations."""
    validation: float = 0.0
    """Share of the training data set aside; its loss and accuracy are reported beside the test data's."""
    drop_last: bool = False
    """Leave out the last mini-batch of an epoch if it is smaller."""
    weight_decay: float = 0.0
    """Coefficient λ of (λ/2)|x|² added to the loss."""
    clip: float | None = None
    """Largest norm of a gradient; longer ones are scaled down to it."""
    ball: float | None = None
    """Radius of the ball around 0 in which the parameters are kept."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be a number >= 0, got {self.seed}")
        if self.model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}, got {self.model!r}")


class Setup(NamedTuple):
    """Everything `Options` name, built."""

    net: NetOracle
    oracle: Oracle
    theta: Array
    parts: dict[str, tuple[np.ndarray, np.ndarray]]


def setup(options: Options) -> Setup:
    """Load the data, build the net, and compose the oracle."""
    xp, dtype = array_module(options.device), np.dtype(options.dtype)
    data = load(options.data, options.validation, options.seed)
    parts = {"train": (data.x_train, data.y_train), "test": (data.x_test, data.y_test)}
    if len(data.y_valid):
        parts["valid"] = (data.x_valid, data.y_valid)
    model = MODELS[options.model](data.x_train.shape[1:], data.classes)
    order = Shuffled(len(data.y_train), options.batch, options.seed, options.drop_last)
    net = NetOracle(model, *parts["train"], order, seed=options.seed, xp=xp, dtype=dtype)
    oracle: Oracle = net
    if options.clip is not None:
        oracle = Clip(oracle, options.clip)
    if options.weight_decay:
        oracle = L2(oracle, options.weight_decay)
    if options.ball is not None:
        oracle = Constrained(oracle, Ball(options.ball))
    return Setup(net, oracle, net.layout.initial(options.seed, dtype, xp), parts)


class Result(NamedTuple):
    """How a run ended."""

    rule: Rule
    out: Path
    rows: list[tuple[float, ...]]
    """One for each epoch of this session, in the order of `EPOCH_COLUMNS`."""
    finished: bool
    """False if it was interrupted."""


def fit(options: Options, rule: Rule, out: Path, checkpoint: Checkpoint | None = None) -> Result:
    """Train from the start, or from a checkpoint, into the folder `out`.

    It holds log.csv (a row for each step), epochs.csv, checkpoint.npz (after every epoch, and on Ctrl-C)
    and summary.json. A resumed run on the CPU is bit-equal to one that was never interrupted.

    Raises
    ------
    RunError
        If the checkpoint belongs to other settings, or `out` cannot be written.
    NonFiniteError
        If the loss or the gradient becomes infinite or undefined; the last checkpoint stands.
    """
    net, oracle, theta, parts = setup(options)
    settings = run_settings(options, rule, net.layout)
    make_folder(out)
    if checkpoint is None and (out / "checkpoint.npz").exists():
        raise RunError(f"{out} already holds a run: go on with it by --resume, or choose another folder with --out")
    if checkpoint is None:  # a new run is one that goes on from step 0
        rule.start(theta, oracle)
        checkpoint = Checkpoint(0, oracle.project(theta), rule.state(), oracle.buffers(), 0, settings)
        checkpoint.save(out / "checkpoint.npz")
    demand_same_settings(checkpoint.settings, settings)
    oracle.seek(checkpoint.position)
    taken, per_epoch = checkpoint.step, net.steps_per_epoch
    last = options.epochs * per_epoch
    columns = EPOCH_COLUMNS + (VALID_COLUMNS if "valid" in parts else ())
    epochs = Table(out / "epochs.csv", columns, keep=taken // per_epoch)
    log = StepLog(out / "log.csv", per_epoch, taken)
    rows: list[tuple[float, ...]] = []
    start = namespace(theta).asarray(checkpoint.theta)
    steps = descend(rule, oracle, start, state=checkpoint.rule, taken=taken) if taken < last else iter(())
    clock = time.perf_counter()
    bar = tqdm(total=last, initial=taken, disable=None, unit=" steps")
    with log, bar, interruptible() as interrupted:
        shown = Shown(bar)
        for step in steps:
            taken = step.t
            log.add(step, net.data_loss)
            shown.update(step)
            if epoch_done := taken % per_epoch == 0:
                seconds = time.perf_counter() - clock
                scores = {name: net.evaluate(step.x, *part) for name, part in parts.items()}
                rows.append((taken // per_epoch, *scores["train"], *scores["test"], seconds, *scores.get("valid", ())))
                epochs.append(rows[-1:])
            if epoch_done or interrupted():
                log.flush()
                if not all_finite(step.x):
                    raise NonFiniteError(taken, rule)
                saved = Checkpoint(taken, step.x, rule.state(), oracle.buffers(), oracle.position(), settings)
                saved.save(out / "checkpoint.npz")
                clock = time.perf_counter()
            if taken == last or interrupted():
                break
    result = Result(rule, out, rows, finished=taken >= last)
    write_summary(result, settings, columns)
    return result


def run_settings(options: Options, rule: Rule, layout: Layout) -> dict[str, Any]:
    """Return all that a resumed run must have in common with the one it continues, as JSON."""
    return {"options": asdict(options), "rule": repr(rule), "layout": [[b.name, list(b.shape)] for b in layout.blocks]}


def demand_same_settings(saved: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse to continue a run as another one; a different number of epochs or device is no other run."""
    free = {"epochs", "device"}
    for name, value in (saved["options"] | {"rule": saved["rule"], "layout": saved["layout"]}).items():
        mine = given.get(name, given["options"].get(name))
        if mine != value and name not in free:
            raise RunError(
                f"the checkpoint belongs to another run: its {name} is {value}, yours is {mine}; give the same"
                " settings, or start anew in another folder with --out"
            )


def make_folder(path: Path) -> None:
    """Make a folder for a run, or say in one sentence why not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {path} ({error.strerror}): choose another one with --out") from error


def write_summary(result: Result, settings: dict[str, Any], columns: tuple[str, ...]) -> None:
    """Write summary.json: settings, versions, final figures."""
    final = dict(zip(columns, result.rows[-1], strict=True)) if result.rows else {}
    summary = {
        "settings": settings,
        "versions": {
            "python": platform.python_version(),
            **{package.__name__: package.__version__ for package in (refopt, np)},
        },
        "finished": result.finished,
        "final": final,
    }
    with replacing(result.out / "summary.json") as file:
        file.write((json.dumps(summary, indent=2) + "\n").encode())


class StepLog:
    """log.csv: rows are gathered where the arrays are, and fetched in one transfer when they are written."""

    def __init__(self, path: Path, per_epoch: int, taken: int):
        self.table = Table(path, LOG_COLUMNS, keep=taken)
        self.per_epoch = per_epoch
        self.written = taken
        self.rows: list[Array] = []

    def add(self, step: Step, loss: Any) -> None:
        """Note a step; `eta` is the mean where there is one per coordinate."""
        xp = namespace(step.x)
        eta = step.eta.mean() if getattr(step.eta, "ndim", 0) else step.eta
        figures = loss, eta, xp.sqrt(dot(step.g, step.g))
        self.rows.append(xp.stack([xp.asarray(figure, step.x.dtype) for figure in figures]))

    def __enter__(self) -> StepLog:
        return self

    def __exit__(self, kind, error, trace) -> None:
        """A run that diverged leaves the steps that led there."""
        if isinstance(error, NonFiniteError):
            self.flush()

    def flush(self) -> None:
        """Write what has been noted."""
        if not self.rows:
            return
        figures = to_host(namespace(self.rows[0]).stack(self.rows)).tolist()
        numbered = enumerate(figures, start=self.written + 1)
        self.table.append([(t, (t - 1) // self.per_epoch + 1, *row) for t, row in numbered])
        self.written += len(figures)
        self.rows.clear()


class Shown:
    """The progress bar's figures: at least a second old, so that reading them does not make a GPU wait."""

    def __init__(self, bar: tqdm):
        self.bar, self.seen = bar, time.monotonic()
        self.step: tuple[Any, Any] | None = None

    def update(self, step: Step) -> None:
        """Count a step, and once a second show the loss and step size noted a second ago."""
        self.bar.update()
        if self.bar.disable or time.monotonic() - self.seen < 1:
            return
        if self.step is not None:
            f, eta = self.step
            self.bar.set_postfix_str(f"loss {float(f):.3g}, eta {to_host(eta).mean():.3g}")
        self.seen, self.step = time.monotonic(), (step.f, step.eta)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a question the loop asks between two steps; a second one stops at once."""
    asked = threading.Event()

    def handler(signum, frame):
        asked.set()
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
