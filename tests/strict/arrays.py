"""A device array: what may be done with one without a function of its module."""

import operator

import numpy as np

from .counts import now, waits

FREE = {"empty", "empty_like", "finfo", "iinfo", "result_type", "can_cast", "promote_types"}  # no kernel runs


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
        return wrapped("getitem", self._host[host_key(key)], [self._host])

    def __setitem__(self, key, value):
        key = host_key(key)
        for part in key if isinstance(key, tuple) else (key,):
            if isinstance(part, np.ndarray) and part.ndim and np.unique(part).size < part.size:
                raise ValueError("an index twice in an assignment: which value stays is undefined on a device")
        now().launches["setitem"] += 1
        self._host[key] = host(value)

    def get(self):
        waits("get")
        return self._host.copy()

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use get")

    def __array_function__(self, function, *_):
        raise TypeError(f"np.{function.__name__} of a device array: use xp.{function.__name__}")


# --- into an array and out of it -------------------------------------------------------------------------------------


def host(x):
    """What a device array holds; in lists of them, too. A host array is refused."""
    if isinstance(x, np.ndarray):
        raise TypeError("a host array among device arrays: upload it with asarray")
    if isinstance(x, (list, tuple)):
        return type(x)(map(host, x))
    return x._host if isinstance(x, Array) else x


def host_key(key):
    """The index of a host array that an index of a device array stands for."""
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if isinstance(part, (np.ndarray, list)):
            raise TypeError("a host array as an index of a device array: upload it with asarray")
        if isinstance(part, Array) and part.dtype == bool:
            waits("mask")
    return tuple(map(host, parts)) if isinstance(key, tuple) else host(key)


def hosts(arguments):
    """All device arrays among arguments, and in lists of them, as host arrays."""
    for x in arguments:
        if isinstance(x, Array):
            yield x._host
        elif isinstance(x, (list, tuple)):
            yield from hosts(x)


def wrapped(name, value, operands, asked=False):
    """Wrap what NumPy returned, and count the launch, unless it is a view of an operand."""
    if value is None:  # it wrote into an operand
        now().launches[name] += 1
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    result = np.asarray(value)
    if name not in FREE and not any(result.base is not None and np.may_share_memory(result, x) for x in operands):
        now().launches[name] += 1
        floats = [x for x in operands if x.dtype.kind == "f"]
        wide = result.dtype == np.float64 and not (floats and all(x.dtype == np.float64 for x in floats))
        if wide and not (asked or now().float64):
            raise TypeError(f"{name} made a float64 array out of {[str(x.dtype) for x in operands]}, unasked")
    return Array(result)


# --- operators -------------------------------------------------------------------------------------------------------


def _operator(name, op, flip=False):
    def call(self, *others):
        if not all(isinstance(x, (Array, bool, int, float, complex, np.generic)) for x in others):
            if any(isinstance(x, np.ndarray) for x in others):
                raise TypeError("a host array among device arrays: upload it with asarray")
            return NotImplemented
        operands = [self, *others][:: -1 if flip else 1]
        return wrapped(name, op(*map(host, operands)), list(hosts(operands)))

    return call


def _in_place(name, op):
    def update(self, other):
        now().launches[name] += 1
        op(self._host, host(other))
        return self

    return update


def _reading(name, read):
    def refuse(self, *arguments):
        waits(name)
        return read(self._host if self.ndim else self._host[()], *arguments)

    return refuse


for _name, _read in {"float": float, "bool": bool, "int": int, "index": operator.index, "complex": complex,
                     "format": format, "repr": repr, "str": str}.items():  # fmt: skip
    setattr(Array, f"__{_name}__", _reading(_name, _read))
for _name in ("item", "tolist", "tobytes"):
    setattr(Array, _name, _reading(_name, lambda array, *rest, name=_name: getattr(array, name)(*rest)))
for _name in ("neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Array, f"__{_name}__", _operator(_name, getattr(operator, _name)))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift",
              "rshift"):  # fmt: skip
    _op = getattr(operator, f"__{_name}__")
    setattr(Array, f"__{_name}__", _operator(_name, _op))
    setattr(Array, f"__r{_name}__", _operator(_name, _op, flip=True))
    setattr(Array, f"__i{_name}__", _in_place(_name, getattr(operator, f"__i{_name}__")))
