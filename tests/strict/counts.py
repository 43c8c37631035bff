"""What a device is asked for: launches of kernels, uploads, and what makes the host wait for it."""

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field


class HostSyncError(RuntimeError):
    """The host asked for a value that the device may not have computed yet."""


@dataclass
class Watch:
    """What is allowed, and what was counted."""

    may_wait: bool = False
    float64: bool = True
    waits: Counter = field(default_factory=Counter)
    uploads: Counter = field(default_factory=Counter)
    launches: Counter = field(default_factory=Counter)


_watches = [Watch()]


@contextmanager
def watch(may_wait=False, float64=True):
    """Count what happens inside; let the host wait, or forbid float64 arrays that are not asked for by their dtype."""
    _watches.append(Watch(may_wait, float64))
    try:
        yield now()
    finally:
        _watches.pop()


def now():
    """Return the innermost watch."""
    return _watches[-1]


def waits(why):
    if not now().may_wait:
        raise HostSyncError(f"{why} of a device array, inside a step")
    now().waits[why] += 1
