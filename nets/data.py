"""Data sets as arrays in memory: found or downloaded, verified, split, standardised.

`DATASETS` is a table of loaders, one for each data set; a loader returns the images as their files
hold them, in uint8 and in their original order. `load` does what is the same for all:

1. A share of the training set is split off for validation, drawn by a seed. Both parts keep the
   original order: shuffling is the business of `refopt.oracle.Shuffled`, which makes the mini-batches.
2. Every image becomes (image - mean) / std in float32, with the mean and standard deviation per channel
   of what is left for training: validation and test must not leak into them. For all of MNIST they are,
   in units of full scale, the well-known 0.1307 and 0.3081.

A file is looked for in a folder, by default REFOPT_DATA, plain or compressed (.gz, .xz); what is not
there is downloaded once, into the operating system's cache folder. Wherever it came from, its
decompressed content must have the published hash.

Shapes: N images, H rows, W columns, C channels.

References
----------
E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its test part).
Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998 (IDX format).
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refopt.fetch import DataError

from .cifar import cifar10


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (N, H, W, C) float32 and labels (N,), 0 <= y < classes, in three parts; validation may be empty.

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

    def __post_init__(self) -> None:
        for part in ("train", "valid", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if x.dtype != np.float32 or x.ndim != 4 or x.shape[1:] != self.x_train.shape[1:]:
                raise ValueError(f"x_{part} must be float32 (N, H, W, C) like x_train, got {x.dtype} {x.shape}")
            if y.dtype != np.int64 or y.shape != x.shape[:1]:
                raise ValueError(f"y_{part} must be int64 of shape {x.shape[:1]}, got {y.dtype} {y.shape}")
            if y.size and not 0 <= y.min() <= y.max() < self.classes:
                raise ValueError(f"y_{part} must lie in 0..{self.classes - 1}, got {y.min()}..{y.max()}")


def load(name: str, validation: float = 0.0, seed: int = 0, folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load the data set `name`, one of DATASETS.

    Parameters
    ----------
    validation : share of the training set to split off, in [0, 1): round(validation N) images
    seed : of that split alone; the test part is always the same
    folder : where to look for files first; by default what the environment variable REFOPT_DATA says

    Raises
    ------
    ValueError
        If there is no data set of that name, or no training image would be left.
    DataError
        If a file is neither there nor to be had from the network, or is not the published one.
    """
    if name not in DATASETS:
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}")
    place = folder or os.environ.get("REFOPT_DATA")
    raw = DATASETS[name](Path(place) if place else None)
    train, valid = split(len(raw.x_train), validation, seed)
    images = raw.x_train[train]
    mean, std = moments(images)

    def part(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scaled = x.astype(np.float32, order="C")  # the one float copy: from here on in place
        scaled -= mean
        scaled /= std
        return scaled, y.astype(np.int64)

    parts = part(images, raw.y_train[train]), part(raw.x_train[valid], raw.y_train[valid]), part(raw.x_test, raw.y_test)
    return Dataset(name, *parts[0], *parts[1], *parts[2], classes=raw.classes)


def split(n: int, validation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices, ascending, of training (n - k,) and validation (k,), k = round(validation n).

    Under one seed a larger validation part contains a smaller one.
    """
    if not (0 <= validation < 1 and round(validation * n) < n):
        raise ValueError(f"validation must be in [0, 1) and leave some of the {n} images, got {validation!r}")
    k = round(validation * n)
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[k:]), np.sort(order[:k])


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (C,) float32 of each channel of x (N, H, W, C) uint8.

    As √(E[x²] - E[x]²), which of integers loses nothing that matters in float64: no float copy of x.
    """

    def mean(v: np.ndarray) -> np.ndarray:
        return v.mean(axis=0, dtype=np.float64).mean(axis=(0, 1))

    squares = np.square(x, dtype=np.uint16)  # 255² still fits
    return mean(x).astype(np.float32), np.sqrt(mean(squares) - mean(x) ** 2).astype(np.float32)


# --- the data sets -------------------------------------------------------------------------------------------------


class Raw(NamedTuple):
    """A data set as its files hold it: images (N, H, W, C) uint8, labels (N,) of any integer type."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int


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


IMAGES, LABELS = 2051, 2049  # magic numbers
MNIST = (  # file, magic number, published MD5 of its content and of its .gz archive
    ("train-images-idx3-ubyte", IMAGES, "6bbc9ace898e44ae57da46a324031adb", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    ("train-labels-idx1-ubyte", LABELS, "a25bea736e30d166cdddb491f175f624", "d53e105ee54ea40749a09fcbcd1e9432"),
    ("t10k-images-idx3-ubyte", IMAGES, "2646ac647ad5339dbf082846283269ea", "9fb629c4189551a2d022fa330f9573f3"),
    ("t10k-labels-idx1-ubyte", LABELS, "27ae3e4e09519cfbb04c329615203637", "ec29112dd5afa0611ce80d1b7f02629c"),
)
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def mnist(folder: Path | None) -> Raw:
    """28 x 28 digits in 256 grey levels, 60,000 to train and 10,000 to test: the official IDX files."""
    arrays = []
    for name, magic, md5, archive_md5 in MNIST:
        path = find(folder, "mnist", name) or download("mnist", f"{name}.gz", archive_md5, MNIST_MIRRORS)
        content = decompressed(path)
        arrays.append(parse_idx(content, magic, path))  # before the hash: it can say what is wrong
        verify(content, md5, path)
    x_train, y_train, x_test, y_test = arrays
    return Raw(x_train[..., np.newaxis], y_train, x_test[..., np.newaxis], y_test, classes=10)


DATASETS: dict[str, Callable[[Path | None], Raw]] = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": lambda folder: Raw(*cifar10(folder), classes=10),
}


# --- files ---------------------------------------------------------------------------------------------------------

OPENERS: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}


def find(folder: Path | None, dataset: str, name: str) -> Path | None:
    """Return the path of a file, plain or compressed, in `folder`/`dataset` or else `folder`; None if not there."""
    places = [folder / dataset, folder] if folder else []
    candidates = (place / (name + suffix) for place in places for suffix in OPENERS)
    return next(filter(Path.is_file, candidates), None)


def download(dataset: str, archive: str, md5: str, mirrors: tuple[str, ...]) -> Path:
    """Return the path of an archive in the download cache; if it is not there, from the first mirror that has it.

    Only an archive of that MD5 enters the cache, or is taken from it.
    """
    import pooch  # noqa: PLC0415  (most runs download nothing)

    cache = pooch.os_cache("refopt") / dataset
    patience = pooch.HTTPDownloader(timeout=(5, 30))  # seconds: to connect, and between two packets
    failures = []
    for mirror in mirrors:
        try:
            return Path(pooch.retrieve(mirror + archive, f"md5:{md5}", archive, cache, downloader=patience))
        except (OSError, ValueError) as error:  # no network, no such file, no right to write; another hash
            failures.append(f"{mirror}{archive} ({type(error).__name__})")
    raise DataError(
        f"{archive} is missing: set REFOPT_DATA to a folder that holds {dataset}/{archive}, "
        f"or connect to the network; tried {' and '.join(failures)}"
    )


def decompressed(path: Path) -> bytes:
    """Return the content of a file, decompressed as its suffix says."""
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            return file.read()
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path} cannot be read ({error}): put an intact copy in its place") from error


def verify(content: bytes, md5: str, path: Path) -> None:
    """Refuse a content that does not have the published hash."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{path} is not the published file: its content has the MD5 {found}, it should have {md5}")


def parse_idx(content: bytes, magic: int, path: Path) -> np.ndarray:
    """Return the uint8 array in an IDX file: magic number (its last byte counts the axes), shape, elements."""
    if not magic.to_bytes(4, "big").startswith(content[:4]):
        kind, start = "image" if magic == IMAGES else "label", int.from_bytes(content[:4], "big")
        raise DataError(f"{path} is not an IDX {kind} file: it starts with {start}, it should with {magic}")
    header = 4 + 4 * (magic & 0xFF)
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, header, 4)]
    size = header + math.prod(shape)
    if len(content) != size:
        problem = "is truncated" if len(content) < size else "goes on after its end"
        raise DataError(f"{path} {problem}: it has {len(content)} bytes, its header announces {size}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
