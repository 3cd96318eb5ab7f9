"""Arguments of Python calls: what can only mean one thing is taken, the rest is refused.

A number may come as text, from NumPy or as a float without a fraction; a flag is True or False and
nothing that is merely true, since `agnostic="no"` would be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from ..errors import SettingError


def number(name: str, value: Any) -> float:
    """A float from a number or its text.

    Raises:
        SettingError: it is not.
    """
    if not isinstance(value, bool | np.bool_ | bytes) and getattr(value, "shape", ()) == ():
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    _refuse(name, "a number", value)


def whole_number(name: str, value: Any) -> int:
    """An int from a number without a fraction, or its text.

    Raises:
        SettingError: it is not.
    """
    if type(value) is int:
        return value
    try:
        found = number(name, value)
        if found.is_integer():
            return int(found)
    except SettingError:
        pass
    _refuse(name, "a whole number", value)


def flag(name: str, value: Any) -> bool:
    """A bool from True, False, 1 or 0.

    Raises:
        SettingError: it is not one of these.
    """
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    _refuse(name, "True or False", value)


def text(name: str, value: Any) -> str:
    """A text as it is.

    Raises:
        SettingError: it is not.
    """
    if isinstance(value, str):
        return value
    _refuse(name, "text", value)


def several(name: str, value: Any) -> list[Any]:
    """The items of a list, tuple, set, array or iterator; a single text or number as a list.

    Raises:
        SettingError: a mapping, or nothing that holds items.
    """
    if isinstance(value, str | int | np.integer):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, bytes | dict):
        items: Iterable[Any] = value.tolist() if isinstance(value, np.ndarray) else value
        return [items] if isinstance(items, str | int) else list(items)
    _refuse(name, "a list", value)


def _refuse(name: str, expected: str, value: Any) -> NoReturn:
    raise SettingError(f"{name} must be {expected}, got {value!r} ({type(value).__name__})")
