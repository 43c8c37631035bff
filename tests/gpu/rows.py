"""What a run on a GPU found: rows of a table, and how times are taken."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

PRECISIONS = ("fp32", "tf32")
SIDE = 8192  # of a matrix that takes a while to multiply


@dataclass
class Row:
    """One fact: what, how much, and whether it is as it should be (None: nothing is asked of it)."""

    section: str
    what: str
    value: object
    unit: str = ""
    ok: bool | None = None
    target: str = ""

    def line(self):
        value = f"{self.value:.4g}" if isinstance(self.value, float) else str(self.value)
        verdict = {None: "", True: "yes", False: "NO"}[self.ok]
        return f"| {self.section} | {self.what} | {value} {self.unit} | {self.target} | {verdict} |"


def times(work, rounds=20, warm=3, ahead=None):
    """Return milliseconds of work(): on the device, from event to event; and of the host, until all is asked for.

    A device that has nothing to do waits for the host between two kernels, and its milliseconds count that; unless it
    first does what `ahead` asks for, and meanwhile the host gets ahead of it.
    """
    import cupy

    for _ in range(warm):
        work()
    device, host = [], []
    for _ in range(rounds):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        cupy.cuda.Device().synchronize()
        if ahead:
            ahead()
        start.record()
        before = time.perf_counter()
        work()
        host.append(1000 * (time.perf_counter() - before))
        end.record()
        end.synchronize()
        device.append(cupy.cuda.get_elapsed_time(start, end))
    return statistics.median(device), statistics.median(host)


def busy(xp):
    """Return what keeps the device busy while the host asks for more: 20 ms of an H100."""
    a = xp.ones((SIDE, SIDE), np.float32)
    out = xp.empty_like(a)
    return lambda: xp.matmul(a, a, out=out)
