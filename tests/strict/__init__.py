"""CuPy without a GPU: its names and signatures over NumPy's arithmetic; refuses what CuPy refuses, counts what costs.

`refopt.arrays.namespace` takes this package for the array module of its arrays, as it takes `cupy` for CuPy's. It knows
only what the table of `cupy_table` lists. An array holds its elements where nothing but this package reads them:

- host and device arrays do not mix, nothing becomes a NumPy array by itself: TypeError, as on a GPU;
- a host array as an index, or an index twice in an assignment: refused, though CuPy would upload, or pick one of two;
- what would make the host wait for the GPU (float, bool, item, a mask as an index, ...) raises HostSyncError;
- within `watch`, waits may be allowed and are counted; so are launches of kernels and uploads; and a float64 array that
  nobody asked for can be refused.

What it cannot show: speed, rounding, subnormal numbers flushed to zero, indices that wrap, and kernels (see `shim`).

    counts      what a device is asked for
    arrays      a device array, its indices and operators
    functions   the functions and methods of the table
"""

from types import SimpleNamespace

import numpy as np

from .arrays import Array
from .counts import HostSyncError, now, watch
from .functions import TABLE, Names

__all__ = ["TABLE", "HostSyncError", "ndarray", "now", "read", "watch"]
ndarray = Array
cuda = SimpleNamespace(runtime=SimpleNamespace(getDevice=lambda: 0))
_names = Names("cupy", TABLE["names"], np)


def read(x):
    """Return x as a host array: for a test that has ended what it watches."""
    return x._host if isinstance(x, Array) else np.asarray(x)


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_names, name)
