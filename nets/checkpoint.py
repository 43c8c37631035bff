"""Files that survive: a run can be killed at any moment and goes on from its last checkpoint, bit for bit.

A checkpoint is one .npz without pickle. It is written to a temporary file beside it, flushed to the disk
and renamed, so at any moment the name leads to a whole checkpoint or to none. Everything random in a run
is a pure function of its seed and of the number of samples drawn, so that position stands for the
state of every generator.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from refopt.arrays import Array, to_host

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
UNFINISHED = ".unfinished"  # ends the name of a file that is being written


class RunError(RuntimeError):
    """A run cannot start, go on or be saved; the message is one sentence for the user."""


class DamagedError(RunError):
    """A file of a run is not what was written."""


@dataclass
class Checkpoint:
    """A run after `step` steps: all that its future depends on."""

    step: int
    theta: Array
    """Parameters (n,)."""
    rule: dict[str, Any]
    """`rule.state()`."""
    buffers: dict[str, Array]
    """`oracle.buffers()`."""
    position: int
    """`oracle.position()`: samples drawn."""
    settings: dict[str, Any]
    """What the run was asked to do, JSON: options, rule, layout, which a resumed run must ask for again; compared."""

    def save(self, path: Path) -> None:
        """Write to `path`; an earlier checkpoint there stands until this one is complete."""
        header = {"format": FORMAT, "step": self.step, "position": self.position, "settings": self.settings}
        arrays = {f"rule/{name}": value for name, value in self.rule.items()}
        arrays |= {f"buffer/{name}": value for name, value in self.buffers.items()}
        arrays["theta"] = self.theta
        host = {name: to_host(value) for name, value in arrays.items()}
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, header=np.array(json.dumps(header)), **host)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read what `save` wrote.

        Raises
        ------
        RunError
            If there is no such file, it cannot be read, or it is not a checkpoint of this format.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise RunError(
                f"there is no checkpoint {path}: name the folder of a run, or start one without --resume"
            ) from None
        except OSError as error:
            raise RunError(f"cannot read {path} ({error.strerror}): give a file that can be read") from error
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = dict(archive)
            header, theta = json.loads(str(arrays.pop("header"))), arrays.pop("theta")
        except MemoryError:  # says nothing about the file
            raise
        except Exception as error:  # a file that is none can make zipfile, NumPy and json raise anything
            raise _no_checkpoint(path, type(error).__name__) from error

        def part(prefix: str) -> dict[str, Any]:
            return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}

        match header:
            case {"format": found} if found != FORMAT:
                raise RunError(f"{path} has checkpoint format {found}, this version reads {FORMAT}")
            case {
                "step": int(step),
                "position": int(position),
                "settings": {"options": dict(), "rule": str(), "layout": list()} as settings,
            } if step >= 0 and position >= 0 and theta.ndim == 1 and theta.dtype.kind == "f":
                return cls(step, theta, part("rule/"), part("buffer/"), position, settings)
        raise _no_checkpoint(path, "its header or its parameters are of another kind")


def _no_checkpoint(path: Path, reason: str) -> DamagedError:
    return DamagedError(
        f"{path} is not a checkpoint ({reason}): name that of a run; if it was one, remove it and start the run anew"
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of the folder of a run, and remove what killed ones left unfinished in it.

    The lock is gone with its process. Where the platform or the file system has none, a second process goes unnoticed.

    Raises
    ------
    RunError
        If another process holds the folder, or nothing can be written there.
    """
    path = folder / ".lock"
    try:
        file = path.open("ab")
    except OSError as error:
        raise cannot_write(path, error) from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"another process trains into {folder}: wait for its end, or choose another folder with --out"
                ) from None
            except OSError:
                pass  # a file system without locks
        for leftover in folder.glob(f".*{UNFINISHED}"):
            leftover.unlink(missing_ok=True)
        yield


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` only once it is complete and on the disk.

    Raises
    ------
    RunError
        If it cannot be written (folder missing or read-only, disk full); what stood at `path` still does.
    """
    unfinished = path.parent / f".{path.name}.{os.getpid()}{UNFINISHED}"
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def out_of_memory(error: MemoryError) -> str:
    """Return the sentence that says what needs less memory."""
    return f"{str(error) or 'out of memory'}: pass a smaller --batch or --model, or run fewer --jobs at a time"


def cannot_write(path: Path, error: OSError) -> RunError:
    """Return the sentence that says why `path` cannot be written."""
    return RunError(
        f"cannot write {path} ({error.strerror or error}): free space or choose another folder;"
        " what stood there before is intact"
    )
