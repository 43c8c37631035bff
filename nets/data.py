"""Data sets as arrays in memory: found or downloaded, verified, split, measured.

`DATASETS` is a table of loaders, one for each data set; a loader returns the images as their files
hold them, in uint8 and in their original order. `load` does what is the same for all:

1. A share of the training set is split off for validation, drawn by a seed. Both parts keep the
   original order: shuffling is the business of `refopt.oracle.Shuffled`, which makes the mini-batches.
2. The mean and standard deviation of each channel are taken of what is left for training: validation and
   test must not leak into them. For all of MNIST they are, in units of full scale, the well-known 0.1307
   and 0.3081.

Images stay in uint8, a quarter of what they would take in float32. A mini-batch becomes (image - mean) / std when it is
drawn: see `nets.oracle`.

Files are looked for in a folder, by default REFOPT_DATA, plain or compressed (.gz, .xz, .bz2); what is not
there is downloaded once, into the operating system's cache folder. Wherever it came from, its
decompressed content must have the published hash: see `nets.mnist`, `nets.cifar`.

Shapes: N images, H rows, W columns, C channels.

E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its test part).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .cifar import cifar10, cifar10_small, cifar100, cifar100_subset
from .mnist import mnist


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (N, H, W, C) uint8 and labels (N,), 0 <= y < classes, in three parts; validation may be empty.

    Labels are int64, the type of an index: a loss uses them as one without converting. A part of
    another shape, type or range raises ValueError.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    scale: tuple[np.ndarray, np.ndarray]
    """Mean and standard deviation (C,) float32 of the training part's channels."""

    def __post_init__(self) -> None:
        for part in ("train", "valid", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1:] != self.x_train.shape[1:]:
                raise ValueError(f"x_{part} must be uint8 (N, H, W, C) like x_train, got {x.dtype} {x.shape}")
            if y.dtype != np.int64 or y.shape != x.shape[:1]:
                raise ValueError(f"y_{part} must be int64 of shape {x.shape[:1]}, got {y.dtype} {y.shape}")
            if y.size and not 0 <= y.min() <= y.max() < self.classes:
                raise ValueError(f"y_{part} must lie in 0..{self.classes - 1}, got {y.min()}..{y.max()}")


def load(
    name: str, validation: float = 0.0, seed: int = 0, folder: str | os.PathLike[str] | None = None,
    *, fold: int = 0, samples: int | None = None,
) -> Dataset:  # fmt: skip
    """Load the data set `name`, one of DATASETS.

    Parameters
    ----------
    validation : share of the training set to split off, in [0, 1)
    seed : of that split, and of the choice of `samples`; the test part is always the same
    folder : where to look for files first; by default what the environment variable REFOPT_DATA says
    fold : which share that is: 0, 1, ..., 9 with a validation of 0.1 are the parts of a ten-fold cross-validation
    samples : how many of the images that are left to train on; by default all

    Raises
    ------
    ValueError
        If there is no data set of that name, or there are not so many images.
    DataError
        If a file is neither there nor to be had from the network, or is not the published one.
    """
    if name not in DATASETS:
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}")
    place = folder or os.environ.get("REFOPT_DATA")
    raw = read(DATASETS[name], Path(place) if place else None)
    train, valid = split(len(raw.x_train), validation, seed, fold, samples)
    if validation and not len(valid):
        raise ValueError(f"validation must be 0 or set aside at least one image, got {validation!r}")
    x, y = raw.x_train, raw.y_train.astype(np.int64)
    x_train = x if len(train) == len(x) else x[train]
    return Dataset(
        name, x_train, y[train], x[valid], y[valid], raw.x_test, raw.y_test.astype(np.int64), raw.classes,
        scale=moments(x_train),
    )  # fmt: skip


def split(
    n: int, validation: float, seed: int, fold: int = 0, samples: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices, ascending, of what to train on, and of the `fold`-th validation part.

    The k-th part ends at the round((k + 1) validation n)-th image of an order drawn by the seed, where the next one
    begins: no two overlap, and 1 / validation of them are everything. Under one seed a larger first part contains a
    smaller one, and so do larger numbers of samples.
    """
    if not (0 <= validation < 1 and round(validation * n) < n):
        raise ValueError(f"validation must be in [0, 1) and leave some of the {n} images, got {validation!r}")
    start, stop = round(fold * validation * n), round((fold + 1) * validation * n)
    if fold < 0 or stop > n or (fold and not validation):
        raise ValueError(f"fold must be at least 0 and below 1 / validation, got {fold}, with validation {validation}")
    order = np.random.default_rng(seed).permutation(n)
    rest = np.concatenate([order[:start], order[stop:]])
    if samples is not None and not 1 <= samples <= len(rest):
        raise ValueError(f"samples must be between 1 and the {len(rest)} images there are to train on, got {samples}")
    return np.sort(rest[:samples]), np.sort(order[start:stop])


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (C,) float32 of each channel of x (N, H, W, C) uint8.

    As √(E[x²] - E[x]²), whose sums are exact in integers, of a thousand images at a time: no copy of x.
    """
    total = squares = np.zeros(x.shape[-1], np.int64)
    for start in range(0, len(x), 1000):
        part = x[start : start + 1000].astype(np.uint32)
        total = total + part.sum(axis=(0, 1, 2), dtype=np.int64)
        squares = squares + np.square(part, out=part).sum(axis=(0, 1, 2), dtype=np.int64)
    count = x[..., 0].size
    mean = total / count
    return mean.astype(np.float32), np.sqrt(squares / count - mean**2).astype(np.float32)


# --- the data sets -------------------------------------------------------------------------------------------------


class Raw(NamedTuple):
    """A data set as its files hold it: images (N, H, W, C) uint8, labels (N,) of any integer type."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int


@lru_cache(maxsize=1)
def read(loader: Callable[[Path | None], Raw], folder: Path | None) -> Raw:
    """Return a data set, read-only; the last one is kept, for a worker of a sweep asks for it again in every trial."""
    raw = loader(folder)
    for part in raw[:4]:
        part.setflags(write=False)
    return raw


def digits(folder: Path | None) -> Raw:
    """8 x 8 digits in 17 grey levels, 1437 to train and 360 to test, embedded in scikit-learn.

    There is no official split. The test part is every fifth image of the list sorted by digit (stably):
    balanced, and the same for ever. (The list itself largely runs 0, 1, ..., 9, 0, 1, ...: every fifth of
    that would be zeros and fives.)
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415  (slow)

    bunch = load_digits()
    x, y = bunch.images[..., np.newaxis].astype(np.uint8), bunch.target
    test = np.zeros(len(y), bool)
    test[np.argsort(y, kind="stable")[::5]] = True
    return Raw(x[~test], y[~test], x[test], y[test], classes=10)


DATASETS: dict[str, Callable[[Path | None], Raw]] = {
    "digits": digits,
    "mnist": lambda folder: Raw(*mnist(folder), classes=10),
    "cifar10": lambda folder: Raw(*cifar10(folder), classes=10),
    "cifar100": lambda folder: Raw(*cifar100(folder), classes=100),
    "cifar10-small": lambda folder: Raw(*cifar10_small(folder), classes=10),
    "cifar100-subset": lambda folder: Raw(*cifar100_subset(folder), classes=100),
}
