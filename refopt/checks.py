"""Hyper-parameters are checked where they are given: one sentence names the wrong one and says what to pass."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from numbers import Integral, Real
from typing import Any

from .arrays import to_host


def positive(**values: Any) -> None:
    """Raise ValueError unless every value is a positive finite number."""
    _demand("a positive number", lambda value: 0 < value < inf, values)


def nonnegative(**values: Any) -> None:
    """Raise ValueError unless every value is a finite number >= 0."""
    _demand("a finite number >= 0", lambda value: 0 <= value < inf, values)


def fraction(**values: Any) -> None:
    """Raise ValueError unless every value is a number in [0, 1)."""
    _demand("a number in [0, 1)", lambda value: 0 <= value < 1, values)


def portion(**values: Any) -> None:
    """Raise ValueError unless every value is a number in (0, 1]."""
    _demand("a number in (0, 1]", lambda value: 0 < value <= 1, values)


def count(**values: Any) -> None:
    """Raise ValueError unless every value is a positive integer."""
    _demand("a positive integer", lambda value: isinstance(value, Integral) and int(value) > 0, values)


def positive_rate(**values: Any) -> None:
    """Raise ValueError unless every value is a positive finite number, or a schedule: it has checked itself."""
    positive(**_numbers(values))


def fraction_rate(**values: Any) -> None:
    """Raise ValueError unless every value is a number in [0, 1), or a schedule: it has checked itself."""
    fraction(**_numbers(values))


def cap(**values: Any) -> None:
    """Raise ValueError unless every value is a positive number, or inf for no cap."""
    _demand("a positive number, or inf for no cap", lambda value: value > 0, values)


def caps(**values: Any) -> None:
    """Raise ValueError unless every value is a positive number, inf for no cap, or an array of such, one each."""
    cap(**{name: to_host(value).min() if getattr(value, "ndim", 0) else value for name, value in values.items()})


def known(**values: Any) -> None:
    """Raise ValueError unless every value is a finite number, or None: take it from the problem."""
    given = {name: value for name, value in values.items() if value is not None}
    _demand("a finite number, or None to take it from the problem", lambda value: -inf < value < inf, given)


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that are no schedules. (A rule can be called too, but it is no schedule.)"""
    return {name: value for name, value in values.items() if not callable(value) or hasattr(value, "step")}


def _demand(kind: str, holds: Callable[[Any], bool], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if not (isinstance(value, Real) and not isinstance(value, bool) and holds(value)):
            raise ValueError(f"{name} must be {kind}, got {value!r}")
