"""Data files: found in a folder or downloaded once, decompressed, and let in only if they are what they should be.

A file may lie plain or compressed (.gz, .xz, .bz2). What the folder does not hold is downloaded into the operating
system's cache folder. Who asks for a file brings the check: a function of its decompressed content and of where that is
from, which raises DataError.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


class DataError(RuntimeError):
    """A data file is missing, damaged, or not the file it should be."""


OPENERS: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


def find(folder: Path | None, dataset: str, name: str) -> Path | None:
    """Return the path of a file, plain or compressed, in `folder`/`dataset` or else `folder`; None if not there."""
    places = [folder / dataset, folder] if folder else []
    candidates = (place / (name + suffix) for place in places for suffix in OPENERS)
    return next(filter(Path.is_file, candidates), None)


def decompressed(path: Path) -> bytes:
    """Return the content of a file, decompressed as its suffix says."""
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            return file.read()
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path} cannot be read ({error}): put an intact copy in its place") from error


def verified(content: bytes, known: str, name: str, source: Path | str) -> bytes:
    """Return the content of the file `name` if it has the known hash, "md5:..." or "sha1:...", else refuse it."""
    kind, value = known.split(":")
    found = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
    if found != value:
        raise DataError(f"{source} is not the published {name}: its content has the {kind} {found}, not {value}")
    return content


def download(dataset: str, archive: str, mirrors: tuple[str, ...], check: Callable[[bytes, str], object]) -> Path:
    """Return the path of `archive` in the cache; if it is not there, from the first mirror (a URL ending in /) with it.

    It enters the cache whole, and after its check: an interrupted download leaves nothing behind.
    """
    import pooch  # noqa: PLC0415  (most runs download nothing)

    cache = Path(pooch.os_cache("refopt")) / dataset
    if (cache / archive).is_file():
        return cache / archive
    get = pooch.HTTPDownloader(timeout=(5, 30))  # seconds: to connect, and between two packets
    failures = []
    for mirror in mirrors:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=cache) as folder:
                part = Path(folder) / archive
                get(mirror + archive, str(part), None)
                check(decompressed(part), mirror + archive)
                return part.replace(cache / archive)
        except (OSError, ValueError) as error:  # no network, no such file, no right to write
            failures.append(f"{mirror}{archive} ({type(error).__name__})")
        except DataError as error:  # another mirror may have the right file
            failures.append(f"{mirror}{archive} ({error})")
    raise DataError(
        f"{archive} is missing: set REFOPT_DATA to a folder that holds {dataset}/{archive}, "
        f"or connect to the network; tried {' and '.join(failures)}"
    )
