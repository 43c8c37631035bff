"""Files that survive: a run can be killed at any moment and goes on from its last checkpoint, bit for bit.

A checkpoint is one .npz without pickle. It is written to a temporary file beside it, flushed to the disk
and renamed, so at any moment the name leads to a whole checkpoint or to none. Everything random in a run
is a pure function of its seed and of the number of samples drawn, so that position stands for the
state of every generator.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from refopt.arrays import Array, to_host

FORMAT = 1


class RunError(RuntimeError):
    """A run cannot start, go on or be saved; the message is one sentence for the user."""


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
    """What the run was asked to do, JSON: options, rule, layout. A resumed run must ask for the same."""

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
            If there is no such file, or it is not a checkpoint of this format.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            header = json.loads(str(arrays.pop("header")))
            if header["format"] != FORMAT:
                raise RunError(f"{path} has checkpoint format {header['format']}, this version reads {FORMAT}")
        except FileNotFoundError:
            raise RunError(f"there is no checkpoint {path}: start the run without --resume") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"{path} is not a checkpoint ({error}): remove it and start the run anew") from error

        def part(prefix: str) -> dict[str, Any]:
            return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}

        return cls(
            step=header["step"],
            theta=arrays["theta"],
            rule=part("rule/"),
            buffers=part("buffer/"),
            position=header["position"],
            settings=header["settings"],
        )


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` only once it is complete and on the disk.

    Raises
    ------
    RunError
        If it cannot be written (folder missing or read-only, disk full); what stood at `path` still does.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
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


def cannot_write(path: Path, error: OSError) -> RunError:
    """Return the sentence that says why `path` cannot be written."""
    return RunError(
        f"cannot write {path} ({error.strerror or error}): free space or choose another folder;"
        " what stood there before is intact"
    )
