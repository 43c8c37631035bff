"""CIFAR-10 and CIFAR-100 from their official files, binary or Python's: found in a folder, or in the official archive.

A binary record is its labels, then the red, green and blue plane of an image, row by row. A Python file is a pickle of
a dictionary of labels and such rows of planes. The files may lie plain or compressed in the folder, in `cifar10/` (or
`cifar100/`) of it, or below either in the folder that the archive unpacks to; or the archive lies there, as .tar or
.tar.gz; else the binary archive is downloaded. The content of each file must have its published hash. Only then is a
pickle read, and even then it can make nothing but arrays of bytes.

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. Hashes: those that MXNet's data sets
(binary) and torchvision's (Python) demand.
"""

from __future__ import annotations

import lzma
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from refopt.fetch import OPENERS, DataError, decompressed, download, find, verified

PAGE = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32

Batch = tuple[np.ndarray, np.ndarray]
"""Planes (N, 3072) and labels (N,), both of unsigned bytes."""
Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Images (N, 32, 32, 3) and labels (N,) to train, and the same to test."""


def records(content: bytes, labels: int) -> Batch:
    """Return the N records in a binary file, each with so many labels; the last one counts."""
    rows = np.frombuffer(content, np.uint8).reshape(-1, labels + PIXELS)
    return rows[:, labels:], rows[:, labels - 1]


class Unpickler(pickle.Unpickler):
    """Makes what a batch consists of, lists, texts, numbers, arrays of unsigned bytes; refuses all else."""

    ALLOWED = {  # with an array's shape and type ignored: its state, set next, has the shape, and its type is our own
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0, np.uint8),
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): lambda *_: np.dtype(np.uint8, copy=True),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.ALLOWED[module, name]


def unpickled(content: bytes, labels: bytes) -> Batch:
    """Return what a Python file holds, with the labels of that name."""
    try:
        batch = Unpickler(BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise DataError(f"a Python file of CIFAR holds more than labels and images: {error}") from error
    return batch[b"data"], np.array(batch[labels], np.uint8)


class Form(NamedTuple):
    """One of the two official forms of a data set."""

    archive: str
    """Its name, without .gz; empty if there is none."""
    unpacked: str
    """The folder in it."""
    files: dict[str, str]
    """The hash of each file's content; the last file is the test part."""
    read: Callable[[bytes], Batch]
    """What makes arrays of that content."""


CIFAR10 = (
    Form(
        "cifar-10-binary.tar",
        "cifar-10-batches-bin",
        {
            "data_batch_1.bin": "sha1:aadd24acce27caa71bf4b10992e9e7b2d74c2540",
            "data_batch_2.bin": "sha1:c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
            "data_batch_3.bin": "sha1:1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
            "data_batch_4.bin": "sha1:aab85764eb3584312d3c7f65fd2fd016e36a258e",
            "data_batch_5.bin": "sha1:26e2849e66a845b7f1e4614ae70f4889ae604628",
            "test_batch.bin": "sha1:67eb016db431130d61cd03c7ad570b013799c88c",
        },
        partial(records, labels=1),
    ),
    Form(
        "cifar-10-python.tar",
        "cifar-10-batches-py",
        {
            "data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
            "data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "md5:634d18415352ddfa80567beed471001a",
            "data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "md5:40351d587109b95175f43aff81a1287e",
        },
        partial(unpickled, labels=b"labels"),
    ),
)
CIFAR100 = (
    Form(
        "cifar-100-binary.tar",
        "cifar-100-binary",
        {
            "train.bin": "sha1:e207cd2e05b73b1393c74c7f5e7bea451d63e08e",
            "test.bin": "sha1:8fb6623e830365ff53cf14adec797474f5478006",
        },
        partial(records, labels=2),  # of 20 groups, then of 100 classes
    ),
    Form(
        "cifar-100-python.tar",
        "cifar-100-python",
        {"train": "md5:16019d7e3df5f24257cddd939b257f8d", "test": "md5:f0ef6b0ae62326f3e7ffdfab6717acfc"},
        partial(unpickled, labels=b"fine_labels"),
    ),
)


CIFAR10_SMALL = Form(
    "",
    "cifar-10-batches-bin",
    {
        "data_batch_1.bin": "sha256:bf94625ad186633dff53b4a30b754c7b996a7b52b80645eebc474f053fb420a1",
        "test_batch.bin": "sha256:6fc53f55aebe522d5b1a105c0044983a34f86c60436887ec8a0c4a68c093078a",
    },
    partial(records, labels=1),
)
CIFAR100_SUBSET = Form(
    "",
    "cifar-100-binary",
    {
        "train.bin": "sha256:a241c87a8c6afe382e696c359c58cfa1b2df8cc4b01785b8148d57431f8b094d",
        "test.bin": "sha256:a13fd11d65380d031553f9562cd09cc7a98745f881a5b2e07c1acc528be7f4c0",
    },
    partial(records, labels=2),
)


def cifar10(folder: Path | None) -> Parts:
    """Return training images (50000, 32, 32, 3) uint8, their labels, and 10,000 of each to test, in the files' order.

    Raises
    ------
    DataError
        If a file is neither there nor to be had from the network, or is not the published one.
    """
    return arrays("cifar10", CIFAR10, folder)


def cifar100(folder: Path | None) -> Parts:
    """Return the same of CIFAR-100, with the labels of its 100 classes."""
    return arrays("cifar100", CIFAR100, folder)


def cifar10_small(folder: Path | None) -> Parts:
    """Return the first 100 images of each class in data_batch_1, and to test the first 50 of each in test_batch.

    A smoke test, not a benchmark. Not published: the files must be there.
    """
    return arrays("cifar10-small", (CIFAR10_SMALL,), folder)


def cifar100_subset(folder: Path | None) -> Parts:
    """Return 20 images of each class of CIFAR-100 to train and 5 to test, chosen by chance; no accuracy compares.

    Not published: the files must be there.
    """
    return arrays("cifar100-subset", (CIFAR100_SUBSET,), folder)


def arrays(dataset: str, forms: tuple[Form, ...], folder: Path | None) -> Parts:
    """Return images and labels from the first of the forms that is there; the last file is the test part."""
    form, contents = found(dataset, forms, folder)
    x, y, train = np.empty((0, 32, 32, 3), np.uint8), list[np.ndarray](), 0
    for content in contents:  # file after file into one array: never is there more than that, and a file
        planes, labels = form.read(content)
        train = len(x)
        x.resize((train + len(planes), 32, 32, 3), refcheck=False)
        x[train:] = images(planes)
        y.append(labels.copy())  # a view would keep the file
    return x[:train], np.concatenate(y[:-1]), x[train:], y[-1]


def images(planes: np.ndarray) -> np.ndarray:
    """Return the images (N, 32, 32, 3) in planes (N, 3072), as a view."""
    return planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def found(dataset: str, forms: tuple[Form, ...], folder: Path | None) -> tuple[Form, Iterator[bytes]]:
    """Return a form and the contents of its files, verified: files before archives, and these before the network."""
    for form in forms:
        for below in (".", form.unpacked):
            paths = {name: path for name in form.files if (path := find(folder, dataset, f"{below}/{name}"))}
            if len(paths) == len(form.files):
                return form, (verified(decompressed(paths[n]), known, n, paths[n]) for n, known in form.files.items())
    first = forms[0]
    if not first.archive:
        raise DataError(
            f"{dataset} is missing, and published nowhere: set REFOPT_DATA to a folder that holds "
            f"{' and '.join(f'{dataset}/{name}' for name in first.files)}, or take {dataset.partition('-')[0]}"
        )
    for form in forms:
        if archive := find(folder, dataset, form.archive):
            return form, members(form, archive)
    return first, members(first, download(dataset, f"{first.archive}.gz", (PAGE,), partial(check, first)))


def check(form: Form, content: bytes, source: str) -> None:
    """Refuse what is not the archive of this form, or holds other files."""
    for _ in unpacked(form, BytesIO(content), source):
        pass


def members(form: Form, path: Path) -> Iterator[bytes]:
    """Yield the contents of the files in an archive, plain or compressed, verified; nothing is written to the disk."""
    with OPENERS.get(path.suffix, open)(path, "rb") as file:
        yield from unpacked(form, file, path)


def unpacked(form: Form, file: IO[bytes], source: Path | str) -> Iterator[bytes]:
    """Yield the contents of the files in an archive that is open."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            there = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
            for name, known in form.files.items():
                opened = archive.extractfile(there[name])
                yield verified(opened.read() if opened else b"", known, name, source)
    except (tarfile.TarError, KeyError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{source} is not the archive {form.archive} ({error}): put an intact copy in its place"
        ) from error
