"""Rules and schedules as text: `sps-max`, `SPSMax(c=0.2)`, `HeavyBall(lr=Cycle(0.001, 1, steps=9750))`.

The text is Python's own notation for these objects, so what `repr` prints can be read back. Nothing in
it is executed: only names of rules and schedules, numbers, tuples and None mean anything.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from math import inf
from numbers import Number
from types import NoneType
from typing import Any

from refopt import RULES, SCHEDULES, Rule, Schedule

GRAMMAR = "write a name, or a call such as SPSMax(c=0.2) or Cosine(0.1, 0, steps=1000)"


def command_name(cls: type) -> str:
    """Return a class name as a word of the command line: SPSMax -> sps-max, MoMo -> momo."""
    return re.sub(r"(?<=[a-z])(?=[A-Z]([A-Z]|[a-z]{2}))|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).lower()


def short(rule: Rule) -> str:
    """Return the rule as text that reads back to it, with the hyper-parameters that are not the defaults."""
    default = type(rule)()
    changed = {f.name: getattr(rule, f.name) for f in fields(rule) if getattr(rule, f.name) != getattr(default, f.name)}
    arguments = ", ".join(f"{name}={value!r}" for name, value in changed.items())
    return f"{type(rule).__name__}({arguments})" if changed else type(rule).__name__


def is_told(value: Any) -> bool:
    """Whether `repr` says all there is to know about a hyper-parameter: it does not of a function or an array."""
    if isinstance(value, Rule | Schedule) and is_dataclass(value):
        return all(is_told(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, tuple | list):
        return all(map(is_told, value))
    return isinstance(value, Number | str | NoneType)


def parse_rule(text: str) -> Rule:
    """Return the rule that `text` describes; ValueError with one sentence if there is none."""
    return _parse(text, RULES, "rule")


def parse_rate(text: str) -> float | Schedule:
    """Return the number or schedule that `text` describes; ValueError with one sentence if there is none."""
    try:
        return float(text)
    except ValueError:
        return _parse(text, SCHEDULES, "number or schedule")


def _parse(text: str, wanted: Sequence[type], kind: str) -> Any:
    by_name = {_plain(cls.__name__): cls for cls in wanted}
    try:
        tree = ast.parse(text.replace("-", "") if _plain(text) in by_name else text, mode="eval").body
        value = _value(tree)
    except SyntaxError:
        raise ValueError(f"{text!r} is no {kind}: {GRAMMAR}") from None
    except TypeError as error:
        raise ValueError(f"{text!r} does not fit: {error}") from None
    if not isinstance(value, tuple(wanted)):
        names = ", ".join(command_name(cls) for cls in wanted)
        raise ValueError(f"{text!r} is no {kind}: {GRAMMAR}, one of {names}")
    return value


def _plain(name: str) -> str:
    return name.replace("-", "").lower()


def _value(node: ast.expr) -> Any:
    """Return what an expression of names, calls and literals stands for."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            named = {str(k.arg): _value(k.value) for k in keywords}
            if len(named) < len(keywords):
                raise TypeError(f"a hyper-parameter of {name} is given twice")
            return _class(name)(*map(_value, args), **named)
        case ast.Name(id="inf"):
            return inf
        case ast.Name(id=name):
            return _class(name)()
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.Tuple(elts=elements):
            return tuple(map(_value, elements))
        case ast.Constant(value=value):
            return value
    raise SyntaxError


def _class(name: str) -> type:
    known: dict[str, type] = {_plain(cls.__name__): cls for cls in [*RULES, *SCHEDULES]}
    if _plain(name) not in known:
        raise SyntaxError
    return known[_plain(name)]
