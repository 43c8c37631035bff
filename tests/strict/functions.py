"""CuPy's functions and methods: those that the table lists, with its parameters, over NumPy's arithmetic."""

import json

import cupy_table
import numpy as np

from .arrays import Array, host, hosts, wrapped
from .counts import now, waits

TABLE = json.loads(cupy_table.FILE.read_text())
UPLOADS = {"array", "asarray", "ascontiguousarray"}
WAITING = {
    "nonzero", "unique", "flatnonzero", "argwhere", "array_equal", "allclose", "extract", "repeat", "bincount",
    "histogram",
}  # fmt: skip


def function(of_numpy, name, parameters):
    """A function of CuPy: that of NumPy, with the keywords that CuPy knows."""

    def call(*arguments, **keywords):
        keywords = {key: x for key, x in keywords.items() if x is not None}
        refused = [] if any(p.startswith("**") for p in parameters) else set(keywords) - set(parameters)
        if refused:
            raise TypeError(f"cupy's {name} takes no {refused}")
        if name in WAITING:
            waits(name)
        given = (*arguments, *keywords.values())
        value = of_numpy(*map(host, arguments), **{key: host(x) for key, x in keywords.items()})
        if "out" in keywords:
            now().launches[name] += 1
            return keywords["out"]
        asked = any(isinstance(x, (type, np.dtype)) and np.dtype(x) == np.float64 for x in given)
        parts = value if isinstance(value, (tuple, list)) else (value,)
        results = tuple(wrapped(name, part, list(hosts(given)), asked) for part in parts)
        return results if parts is value else results[0]

    call.__name__ = name
    return call


def ufunc(name, nin):
    whole = function(getattr(np, name), name, ["dtype", "casting", "out"])

    def call(*arguments, **keywords):
        if any(isinstance(x, (list, tuple)) for x in arguments):
            raise TypeError(f"cupy.{name} takes arrays and numbers, no lists")
        if len(arguments) > nin:
            *arguments, keywords["out"] = arguments
        return whole(*arguments, **keywords)

    return call


def upload(name, parameters):
    of_numpy = getattr(np, name)

    def call(x, dtype=None, **keywords):
        if any(True for _ in hosts([x])):
            same = isinstance(x, Array) and dtype in (None, x.dtype) and name != "array"
            if same and (name == "asarray" or x.flags.c_contiguous):
                return x
            return function(of_numpy, name, parameters)(x, dtype, **keywords)
        now().uploads[name] += 1
        held = np.array(x, dtype, **keywords)
        if held.dtype == np.float64 and not (now().float64 or dtype is not None or hasattr(x, "dtype")):
            raise TypeError(f"{name} made a float64 array of {x!r}: give it a dtype")
        return Array(held)

    return call


def _method(name):
    call = function(lambda array, *rest, **others: getattr(array, name)(*rest, **others), name, TABLE["methods"][name])
    return lambda self, *arguments, **keywords: call(self, *arguments, **keywords)  # noqa: PLW0108  (binds self)


for _name, _parameters in TABLE["methods"].items():
    if _parameters and _name not in vars(Array) and callable(getattr(np.ndarray, _name, None)):
        setattr(Array, _name, _method(_name))


class Names:
    """A module of CuPy, as the table has it."""

    def __init__(self, name, table, module):
        self.name, self.table, self.module, self.known = name, table, module, {}

    def __getattr__(self, name):
        if name not in self.table:
            raise AttributeError(f"{self.name} has no {name!r} in CuPy {TABLE['version']}")
        if name not in self.known:
            self.known[name] = self.make(name, *next(iter(self.table[name].items())))
        return self.known[name]

    def make(self, name, kind, what):
        there = getattr(self.module, name, None)
        if kind == "module":
            return Names(name, what, there)
        if name in UPLOADS:
            return upload(name, what)
        if name == "asnumpy":
            return lambda x: x.get()
        if there is None:
            raise AttributeError(f"{self.name}.{name} is CuPy's alone: there is nothing to try it with")
        return {"ufunc": lambda: ufunc(name, what[0]), "function": lambda: function(there, name, what)}.get(
            kind, lambda: there
        )()
