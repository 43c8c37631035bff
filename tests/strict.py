"""CuPy without a GPU: its names and signatures over NumPy's arithmetic; refuses what CuPy refuses, counts what costs.

`refopt.arrays.namespace` takes this module for the array module of its arrays, as it takes `cupy` for CuPy's. It knows
only what the table of `cupy_table` lists. An array holds its elements where nothing but this module reads them:

- host and device arrays do not mix, nothing becomes a NumPy array by itself: TypeError, as on a GPU;
- a host array as an index, or an index twice in an assignment: refused, though CuPy would upload, or pick one of two;
- what would make the host wait for the GPU (float, bool, item, a mask as an index, ...) raises HostSyncError;
- within `watch`, waits may be allowed and are counted; so are launches of kernels and uploads; and a float64 array that
  nobody asked for can be refused.

What it cannot show: speed, rounding, subnormal numbers flushed to zero, indices that wrap, and kernels (see `shim`).
"""

import json
import operator
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import cupy_table
import numpy as np

TABLE = json.loads(cupy_table.FILE.read_text())
UPLOADS = {"array", "asarray", "ascontiguousarray"}
FREE = {"empty", "empty_like", "finfo", "iinfo", "result_type", "can_cast", "promote_types"}  # no kernel runs
WAITING = {
    "nonzero", "unique", "flatnonzero", "argwhere", "array_equal", "allclose", "extract", "repeat", "bincount",
    "histogram",
}  # fmt: skip


class HostSyncError(RuntimeError):
    """The host asked for a value that the device may not have computed yet."""


@dataclass
class Watch:
    """What a device is asked for."""

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


# --- arrays ----------------------------------------------------------------------------------------------------------


class Array:
    """A device array; `_host` is what a GPU would hold."""

    __slots__ = ("__weakref__", "_host")
    __array_ufunc__ = None  # a host array on the left hands the operation over to the methods below
    __hash__ = None

    def __init__(self, host):
        self._host = np.asarray(host)

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: Array(self._host.T))

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key):
        return _result("getitem", self._host[_key(key)], [self._host])

    def __setitem__(self, key, value):
        key = _key(key)
        for part in key if isinstance(key, tuple) else (key,):
            if isinstance(part, np.ndarray) and part.ndim and np.unique(part).size < part.size:
                raise ValueError("an index twice in an assignment: which value stays is undefined on a device")
        now().launches["setitem"] += 1
        self._host[key] = _host(value)

    def get(self):
        waits("get")
        return self._host.copy()

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use get")

    def __array_function__(self, function, *_):
        raise TypeError(f"np.{function.__name__} of a device array: use xp.{function.__name__}")


def _key(key):
    """The index of a host array that an index of a device array stands for."""
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if isinstance(part, (np.ndarray, list)):
            raise TypeError("a host array as an index of a device array: upload it with asarray")
        if isinstance(part, Array) and part.dtype == bool:
            waits("mask")
    host = tuple(part._host if isinstance(part, Array) else part for part in parts)
    return host if isinstance(key, tuple) else host[0]


def _host(x):
    if isinstance(x, np.ndarray):
        raise TypeError("a host array among device arrays: upload it with asarray")
    if isinstance(x, (list, tuple)):
        return type(x)(map(_host, x))
    return x._host if isinstance(x, Array) else x


def _arrays(arguments):
    """All device arrays among arguments, and in lists of them, as host arrays."""
    for x in arguments:
        if isinstance(x, Array):
            yield x._host
        elif isinstance(x, (list, tuple)):
            yield from _arrays(x)


def _result(name, value, operands, asked=False):
    """Wrap what NumPy returned, and count the launch, unless it is a view of an operand."""
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    host = np.asarray(value)
    if name not in FREE and not any(host.base is not None and np.may_share_memory(host, x) for x in operands):
        now().launches[name] += 1
        floats = [x for x in operands if x.dtype.kind == "f"]
        wide = host.dtype == np.float64 and not (floats and all(x.dtype == np.float64 for x in floats))
        if wide and not (asked or now().float64):
            raise TypeError(f"{name} made a float64 array out of {[str(x.dtype) for x in operands]}, unasked")
    return Array(host)


def _call(function, name, parameters):
    """A function of CuPy: that of NumPy, with the keywords that CuPy knows."""

    def call(*arguments, **keywords):
        keywords = {key: x for key, x in keywords.items() if x is not None}
        refused = [] if any(p.startswith("**") for p in parameters) else set(keywords) - set(parameters)
        if refused:
            raise TypeError(f"cupy's {name} takes no {refused}")
        if name in WAITING:
            waits(name)
        given = (*arguments, *keywords.values())
        value = function(*map(_host, arguments), **{key: _host(x) for key, x in keywords.items()})
        if "out" in keywords:
            now().launches[name] += 1
            return keywords["out"]
        asked = any(isinstance(x, (type, np.dtype)) and np.dtype(x) == np.float64 for x in given)
        parts = value if isinstance(value, (tuple, list)) else (value,)
        results = tuple(_result(name, part, list(_arrays(given)), asked) for part in parts)
        return results if parts is value else results[0]

    call.__name__ = name
    return call


def _ufunc(name, nin):
    whole = _call(getattr(np, name), name, ["dtype", "casting", "out"])

    def call(*arguments, **keywords):
        if any(isinstance(x, (list, tuple)) for x in arguments):
            raise TypeError(f"cupy.{name} takes arrays and numbers, no lists")
        if len(arguments) > nin:
            *arguments, keywords["out"] = arguments
        return whole(*arguments, **keywords)

    return call


def _method(name):
    call = _call(lambda host, *rest, **others: getattr(host, name)(*rest, **others), name, TABLE["methods"][name])
    return lambda self, *arguments, **keywords: call(self, *arguments, **keywords)  # noqa: PLW0108  (binds self)


def _operator(name, op, flip=False):
    def call(self, *others):
        if not all(isinstance(x, (Array, bool, int, float, complex, np.generic)) for x in others):
            if any(isinstance(x, np.ndarray) for x in others):
                raise TypeError("a host array among device arrays: upload it with asarray")
            return NotImplemented
        operands = [self, *others][:: -1 if flip else 1]
        return _result(name, op(*map(_host, operands)), list(_arrays(operands)))

    return call


def _in_place(name, op):
    def update(self, other):
        now().launches[name] += 1
        op(self._host, _host(other))
        return self

    return update


def _refuse(name, read):
    def refuse(self, *arguments):
        waits(name)
        return read(self._host if self.ndim else self._host[()], *arguments)

    return refuse


for _name, _read in {"float": float, "bool": bool, "int": int, "index": operator.index, "complex": complex,
                     "format": format, "repr": repr, "str": str}.items():  # fmt: skip
    setattr(Array, f"__{_name}__", _refuse(_name, _read))
for _name in ("item", "tolist", "tobytes"):
    setattr(Array, _name, _refuse(_name, lambda host, *rest, name=_name: getattr(host, name)(*rest)))
for _name, _parameters in TABLE["methods"].items():
    if _parameters and _name not in vars(Array) and callable(getattr(np.ndarray, _name, None)):
        setattr(Array, _name, _method(_name))
for _name in ("neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Array, f"__{_name}__", _operator(_name, getattr(operator, _name)))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift",
              "rshift"):  # fmt: skip
    _op = getattr(operator, f"__{_name}__")
    setattr(Array, f"__{_name}__", _operator(_name, _op))
    setattr(Array, f"__r{_name}__", _operator(_name, _op, flip=True))
    setattr(Array, f"__i{_name}__", _in_place(_name, getattr(operator, f"__i{_name}__")))


# --- the module ------------------------------------------------------------------------------------------------------


def read(x):
    """Return x as a host array: for a test that has ended what it watches."""
    return x._host if isinstance(x, Array) else np.asarray(x)


def _upload(name, parameters):
    function = getattr(np, name)

    def upload(x, dtype=None, **keywords):
        if isinstance(x, Array) or any(True for _ in _arrays([x])):
            same = isinstance(x, Array) and dtype in (None, x.dtype) and name != "array"
            if same and (name == "asarray" or x.flags.c_contiguous):
                return x
            return _call(function, name, parameters)(x, dtype, **keywords)
        now().uploads[name] += 1
        host = np.array(x, dtype, **keywords)
        if host.dtype == np.float64 and not (now().float64 or dtype is not None or hasattr(x, "dtype")):
            raise TypeError(f"{name} made a float64 array of {x!r}: give it a dtype")
        return Array(host)

    return upload


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
            return _upload(name, what)
        if name == "asnumpy":
            return lambda x: x.get()
        if there is None:
            raise AttributeError(f"{self.name}.{name} is CuPy's alone: there is nothing to try it with")
        return {"ufunc": lambda: _ufunc(name, what[0]), "function": lambda: _call(there, name, what)}.get(
            kind, lambda: there
        )()


_names = Names("cupy", TABLE["names"], np)
ndarray = Array


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_names, name)


cuda = SimpleNamespace(runtime=SimpleNamespace(getDevice=lambda: 0))
