"""A net and its mini-batches as an oracle: what `refopt` minimises when it trains.

Shapes: theta (n,); a mini-batch of images (N, H, W, C) and labels (N,).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from refopt import Oracle
from refopt.arrays import Array, all_finite, namespace, to_host
from refopt.oracle import Order

from .augment import Augment
from .flat import Layout
from .layers import Layer, Mode
from .losses import softmax_cross_entropy
from .tensor import Tensor

if TYPE_CHECKING:
    from .engine import Engine
    from .gpu_engine import GpuEngine

Loss = Callable[[Tensor, Array], Tensor]


class NetOracle(Oracle):
    """The loss of a net on one mini-batch after another, as a function of its flat parameters.

    Between two draws it is a pure function of them: dropout masks and batch statistics belong to the draw. What
    evaluation needs besides, the running statistics of batch norm, moves once per draw, by the first answer after
    it, and by no answer that is not finite: a sample that is refused leaves no trace.

    Parameters
    ----------
    model, loss : what to compute; the loss is a mean over the batch, its infimum is `f_star` = 0
    images, labels : (N, H, W, C) of any type, and (N,), on the host; they are moved to `xp`
    order : which samples the t-th mini-batch holds: `Shuffled(...)`
    scale : the net sees (images - scale[0]) / scale[1], in `dtype`; numbers, or arrays (C,) of one for each channel
    augment : what is done to a mini-batch of images before that; see `nets.augment`
    seed : of augmentation and dropout, which follow the draw
    engine : computes the hot operations in their fast form, on a CPU or a GPU; None by their plain text
    """

    f_star = 0.0
    steps_per_epoch: int

    def __init__(
        self, model: Layer, images: Array, labels: Array, order: Order, *, loss: Loss = softmax_cross_entropy,
        scale: tuple[Any, Any] = (0, 1), augment: Augment | None = None,
        seed: int = 0, xp: ModuleType = np, dtype: Any = np.float32, engine: Engine | GpuEngine | None = None,
    ):  # fmt: skip
        self.model, self.loss, self.order, self.seed, self.engine = model, loss, order, seed, engine
        if engine is not None and loss is softmax_cross_entropy:
            self.loss = engine.softmax_cross_entropy
        self.layout = Layout(model)
        self.blocks = self.layout.blocks
        self.images, self.labels, self.augment = xp.asarray(images), xp.asarray(labels), augment
        line = images.shape[1:][-2:]  # one for each pixel of a line: a sum over short rows, of channels, is slow
        self.mean, self.std = (xp.broadcast_to(xp.asarray(part, dtype), line).copy() for part in scale)
        self.steps_per_epoch = order.steps_per_epoch
        self.data_loss: Any = None
        self.due: int | None = None  # the draw whose first answer is still to come
        self.restore(self.buffers())  # onto the device, as `dtype`
        self.seek(0)

    @property
    def batch_fraction(self) -> float:  # type: ignore[override]
        """The current mini-batch's share of the data."""
        return self.samples / len(self.labels)

    def draw(self) -> None:
        """Take the next mini-batch, and with it the next dropout masks."""
        self.seek(self.drawn + 1)
        self.due, self.data_loss = self.drawn, None

    def seek(self, position: int) -> None:
        """Go to the state after `position` draws; before the first it answers for the first mini-batch."""
        self.drawn = position
        t = max(position - 1, 0)
        index = namespace(self.labels).asarray(self.order(t))
        images = self.images[index]
        if self.augment:  # [seed] and [seed, 1 + epoch] are the streams of the split and of the order
            images = self.augment(images, np.random.default_rng([self.seed, 0, 1 + t]))
        mode = Mode(train=True, seed=self.seed, draw=t, engine=self.engine)
        self.batch = self.scaled(images), self.labels[index], mode
        self.samples = len(index)

    def scaled(self, images: Array) -> Array:
        """Return images (N, H, W, C) as the net sees them."""
        return (images.astype(self.mean.dtype) - self.mean) / self.std

    def position(self) -> int:
        """How many mini-batches have been drawn."""
        return self.drawn

    def buffers(self) -> dict[str, Array]:
        """Running statistics by name: arrays that are replaced, and never written to, when they move."""
        return {name: buffer.data for name, buffer in self.model.buffers()}

    def restore(self, buffers: dict[str, Array]) -> None:
        """Go on with running statistics that `buffers` returned; ValueError if they are those of another net."""
        mine, given = ({name: data.shape for name, data in those.items()} for those in (self.buffers(), buffers))
        for name in mine | given:
            if mine.get(name) != given.get(name):
                raise ValueError(
                    f"the running statistics are those of another net: {name} should be {mine.get(name)}, and is"
                    f" {given.get(name)}; give a checkpoint of this one"
                )
        for name, buffer in self.model.buffers():
            buffer.data = namespace(self.mean).asarray(buffers[name], self.mean.dtype)

    def _loss(self, update: bool = False) -> Tensor:
        images, labels, mode = self.batch
        return self.loss(self.model(Tensor(images), replace(mode, update=update)), labels)

    def __call__(self, x):
        """Loss and gradient at x (n,); the first loss after a draw stays in `data_loss`, free of any penalty."""
        with self.alone():
            if self.drawn != self.due:
                return self.layout.evaluate(x, self._loss)
            before = [(buffer, buffer.data) for _, buffer in self.model.buffers()]
            try:
                f, g = self.layout.evaluate(x, lambda: self._loss(update=True))
            except BaseException:  # cut short: the next answer is the first
                for buffer, old in before:
                    buffer.data = old
                raise
            self.due, self.data_loss = None, f
            if before:
                finite = namespace(x).isfinite(f) & all_finite(g)
                for buffer, old in before:
                    buffer.data = namespace(x).where(finite, buffer.data, old)
            return f, g

    def value(self, x):
        with self.alone():
            self.layout.bind(x)
            return self._loss().data

    def alone(self) -> AbstractContextManager[None]:
        """Return what keeps other threads from the engine, if there is one."""
        return self.engine.serving() if self.engine else nullcontext()

    def evaluate(self, x: Array, images: Array, labels: Array, batch: int = 256) -> tuple[float, float]:
        """Return mean loss and accuracy (share of right answers) of the net at x (n,) on images like its own.

        Scaled alike, without augmentation and dropout, and with running statistics in place of a batch's.
        """
        xp = namespace(x)
        self.layout.bind(x)
        totals = xp.zeros(2, np.float64)
        for start in range(0, len(labels), batch):
            part = slice(start, start + batch)
            answers = xp.asarray(labels[part])
            with self.alone():
                logits = self.model(Tensor(self.scaled(xp.asarray(images[part]))), Mode(engine=self.engine))
            totals[0] += self.loss(logits, answers).data * len(answers)
            totals[1] += (logits.data.argmax(axis=1) == answers).sum()
        loss, accuracy = (to_host(totals) / len(labels)).tolist()
        return loss, accuracy
