"""Device arrays without a device: they compute with NumPy, and refuse what would make the host wait for a GPU.

`refopt.arrays.namespace` takes this module for the array module of its arrays, as it takes `cupy` for CuPy's. Reading a
value on the host raises HostSyncError; mixing host and device arrays raises TypeError, as on a GPU. `asarray` uploads.
"""

import operator
from types import SimpleNamespace

import numpy as np

FUNCTIONS = """
    abs add all any append arange argmax argmin ceil clip concatenate cos cumsum divide dot empty empty_like equal exp
    expm1 eye finfo frexp floor full full_like greater isfinite isinf isnan ldexp less linspace log log1p logaddexp
    logical_and logical_not logical_or max maximum mean min minimum multiply negative ones ones_like outer power prod
    sign sin sort sqrt square stack subtract sum tanh where zeros zeros_like
"""  # of those that CuPy has too


class HostSyncError(RuntimeError):
    """The host asked for a value that the device may not have computed yet."""


class Array:
    """A device array; `_host` is what a GPU would hold."""

    __array_ufunc__ = None  # a host array on the left hands the operation over to the methods below

    def __init__(self, host):
        self._host = np.asarray(host)

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    T = property(lambda self: Array(self._host.T))

    def __len__(self):
        return len(self._host)

    def __getitem__(self, key):
        return Array(self._host[_host(key)])

    def __setitem__(self, key, value):
        self._host[_host(key)] = _host(value)


def _host(x):
    if isinstance(x, np.ndarray):
        raise TypeError("a host array among device arrays: upload it with asarray")
    if isinstance(x, (list, tuple)):
        return type(x)(map(_host, x))
    return x._host if isinstance(x, Array) else x


def _device(x):
    return Array(x) if isinstance(x, (np.ndarray, np.generic)) else x


def _call(function, name):
    def call(*arguments, **keywords):
        if unknown := set(keywords) - {"axis", "dtype", "keepdims"}:
            raise TypeError(f"{name} takes no {unknown} on a device")
        return _device(function(*map(_host, arguments), **keywords))

    return call


def _refuse(name):
    def refuse(self, *_, **__):
        raise HostSyncError(f"{name} of a device array, inside a step")

    return refuse


def _method(name):
    return lambda self, *arguments, **keywords: _call(getattr(self._host, name), name)(*arguments, **keywords)


def _in_place(op):
    def update(self, other):
        op(self._host, _host(other))
        return self

    return update


for _name in ("float", "bool", "int", "index", "complex", "array", "format"):
    setattr(Array, f"__{_name}__", _refuse(_name))
for _name in ("get", "item", "tolist", "tobytes"):
    setattr(Array, _name, _refuse(_name))
for _name in ("all", "any", "astype", "clip", "copy", "cumsum", "max", "mean", "min", "ravel", "reshape", "sum"):
    setattr(Array, _name, _method(_name))
for _op in (operator.neg, operator.abs, operator.invert):
    setattr(Array, f"__{_op.__name__}__", lambda self, op=_op: Array(op(self._host)))
for _op in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
    setattr(Array, f"__{_op.__name__}__", lambda self, other, op=_op: Array(op(self._host, _host(other))))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    _op = getattr(operator, f"__{_name}__")
    setattr(Array, f"__{_name}__", lambda self, other, op=_op: Array(op(self._host, _host(other))))
    setattr(Array, f"__r{_name}__", lambda self, other, op=_op: Array(op(_host(other), self._host)))
    setattr(Array, f"__i{_name}__", _in_place(getattr(operator, f"__i{_name}__")))


def read(x):
    """Return x as a host array: for a test that has ended what it watches."""
    return x._host if isinstance(x, Array) else np.asarray(x)


def asarray(x, dtype=None):
    """Upload a number or a host array; a device array of this dtype comes back as it is."""
    if isinstance(x, Array):
        return x if dtype in (None, x.dtype) else x.astype(dtype)
    return Array(np.array(x, dtype))


linalg = SimpleNamespace(pinv=_call(np.linalg.pinv, "pinv"))


def __getattr__(name):
    if name not in FUNCTIONS.split():
        raise AttributeError(f"the strict array module has no {name!r}")
    return _call(getattr(np, name), name)
