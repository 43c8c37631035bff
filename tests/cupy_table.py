"""What CuPy has: names and signatures, read from the installed wheel; no GPU is needed.

    python tests/cupy_table.py

writes them to tests/cupy-14.2.json, from which `strict` knows what to refuse. A test compares the two where CuPy is.
"""

import inspect
import json
import re
import types
from pathlib import Path

FILE = Path(__file__).parent / "cupy-14.2.json"
SUBMODULES = ("linalg", "lib", "stride_tricks")


def signature(function):
    """Names of the parameters, with * and ** as written, from the docstring of compiled ones; None if nobody tells."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        told = re.match(r"[\w.]+\((.*?)\)( ->.*)?(\n|$)", function.__doc__ or "")
        return told and re.findall(r"([*\w]+)(?:=[^,]*)?(?:, |$)", told[1])
    return [stars.get(p.kind, "") + p.name for p in parameters]


def describe(thing, cupy):
    """A function by its parameters, a ufunc by its numbers of arguments, a module by its names."""
    if isinstance(thing, types.ModuleType):
        return {"module": names(thing, cupy)}
    if isinstance(thing, cupy.ufunc):
        return {"ufunc": [thing.nin, thing.nout]}
    if isinstance(thing, type):
        return {"type": thing.__name__}
    return {"function": signature(thing)} if callable(thing) else {"constant": type(thing).__name__}


def names(module, cupy):
    found = {}
    for name in sorted(dir(module)):
        thing = getattr(module, name)
        if not name.startswith("_") and (name in SUBMODULES or not isinstance(thing, types.ModuleType)):
            found[name] = describe(thing, cupy)
    return found


def table():
    """Everything: {"version", "names", "methods" of ndarray}; methods by their parameters, attributes as ""."""
    import cupy

    members = {name: getattr(cupy.ndarray, name) for name in dir(cupy.ndarray) if not name.startswith("_")}
    return {
        "version": ".".join(cupy.__version__.split(".")[:2]),
        "names": names(cupy, cupy),
        "methods": {name: signature(member) if callable(member) else "" for name, member in members.items()},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(table(), indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")
