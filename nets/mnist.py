"""MNIST from its official IDX files: found in a folder, or downloaded one by one.

An IDX file is a magic number (its last byte counts the axes), the shape, and the elements, all big-endian. The four
files may lie plain or compressed, in the folder or in `mnist/` of it. Their content must have the published hashes.

Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from refopt.fetch import DataError, decompressed, download, find, verified

IMAGES, LABELS = 2051, 2049  # magic numbers
FILES = {  # in the order of the arrays; the published hash of the content
    "train-images-idx3-ubyte": (IMAGES, "md5:6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (LABELS, "md5:a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (IMAGES, "md5:2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (LABELS, "md5:27ae3e4e09519cfbb04c329615203637"),
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def mnist(folder: Path | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images (60000, 28, 28, 1) uint8, their labels, and 10,000 of each to test, in the files' order.

    Raises
    ------
    DataError
        If a file is neither there nor to be had from the network, or is not the published one.
    """
    x_train, y_train, x_test, y_test = (array(folder, name) for name in FILES)
    return x_train[..., np.newaxis], y_train, x_test[..., np.newaxis], y_test


def array(folder: Path | None, name: str) -> np.ndarray:
    """Return the array in one of FILES, verified."""
    magic, known = FILES[name]

    def check(content: bytes, source: Path | str) -> np.ndarray:
        parsed = parse_idx(content, magic, source)  # before the hash: it can say what is wrong
        verified(content, known, name, source)
        return parsed

    path = find(folder, "mnist", name) or download("mnist", f"{name}.gz", MIRRORS, check)
    return check(decompressed(path), path)


def parse_idx(content: bytes, magic: int, source: Path | str) -> np.ndarray:
    """Return the uint8 array in an IDX file."""
    if not magic.to_bytes(4, "big").startswith(content[:4]):
        kind, start = "image" if magic == IMAGES else "label", int.from_bytes(content[:4], "big")
        raise DataError(f"{source} is not an IDX {kind} file: it starts with {start}, it should with {magic}")
    header = 4 + 4 * (magic & 0xFF)
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, header, 4)]
    size = header + math.prod(shape)
    if len(content) != size:
        problem = "is truncated" if len(content) < size else "goes on after its end"
        raise DataError(f"{source} {problem}: it has {len(content)} bytes, its header announces {size}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
