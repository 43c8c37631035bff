"""CIFAR-10 from its official binary files: found in a folder, or taken out of the published archive.

A record is a label and the red, green and blue plane of an image, row by row. The files may lie plain or compressed, in
the folder or in `cifar10/` of it, or as cifar-10-binary.tar.gz; else that archive is downloaded. Their content must
have the known hashes: those of files from which the official Python batches, rebuilt, have their published MD5.

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

import hashlib
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np

from refopt.fetch import DataError, decompressed, download, find

MD5 = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
ARCHIVE = "cifar-10-binary.tar"
PAGE = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32


def cifar10(folder: Path | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images (50000, 32, 32, 3) uint8, their labels, and 10,000 of each to test, in the files' order.

    Raises
    ------
    DataError
        If a file is neither there nor to be had from the network, or is not the known one.
    """
    parts = [images_and_labels(content) for content in files(folder)]
    train, test = parts[:-1], parts[-1]
    return np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train]), *test


def files(folder: Path | None) -> list[bytes]:
    """Return the contents of the six files, verified, in the order of their names."""
    there = {name: path for name in MD5 if (path := find(folder, "cifar10", name))}
    if len(there) == len(MD5):
        return [verified(name, decompressed(path), path) for name, path in there.items()]
    archive = find(folder, "cifar10", ARCHIVE) or download("cifar10", f"{ARCHIVE}.gz", (PAGE,), unpacked)
    return unpacked(decompressed(archive), archive)


def unpacked(content: bytes, source: Path | str) -> list[bytes]:
    """Return the six files in an archive, verified; nothing is written to the disk."""
    try:
        with tarfile.open(fileobj=BytesIO(content)) as archive:
            members = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
            opened = {name: archive.extractfile(members[name]) for name in MD5}
            return [verified(name, file.read() if file else b"", source) for name, file in opened.items()]
    except (tarfile.TarError, KeyError) as error:
        raise DataError(
            f"{source} is not the archive of CIFAR-10 ({error}): put an intact copy in its place"
        ) from error


def verified(name: str, content: bytes, source: Path | str) -> bytes:
    """Return the content of a file if it is the known one."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MD5[name]:
        raise DataError(f"{source} is not the known {name}: its content has the MD5 {found}, not {MD5[name]}")
    return content


def images_and_labels(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 32, 32, 3) and labels (N,), uint8, of N records."""
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]
