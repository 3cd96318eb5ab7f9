"""Frozen dataclasses from JSON: every field's type is checked, nothing is converted in silence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..system.bounds import LARGEST, brief, is_number

Value = TypeVar("Value")

_SCALARS: Final[dict[Any, tuple[Any, str]]] = {
    str: (str, "a string"),
    bool: (bool, "true or false"),
    int: (int, "an integer"),
    float: ((int, float), "a number"),
}


def read(kind: type[Value], data: Any, where: str = "") -> Value:
    """A dataclass from the plain values of JSON or YAML, as `dataclasses.asdict` gives them.

    Args:
        kind: a dataclass whose fields are scalars, literals, tuples, mappings, other such
            dataclasses, or unions of these with None.
        data: mappings, lists and scalars.
        where: put before the names of fields in messages ("input.").

    Raises:
        ValueError: missing or unknown fields; the message names them.
        TypeError: a field of a wrong type; the message names it.
        YOLOv4Error: what the dataclass itself refuses.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"{where.rstrip('.') or 'it'} must be an object, got {brief(data)}")
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(map(str, set(data) - set(known)))
    missing = sorted(
        name
        for name, field in known.items()
        if name not in data
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    )
    if unknown or missing:
        place = f" in {where.rstrip('.')}" if where else ""
        raise ValueError(f"unknown fields {brief(unknown)}{place}, lacks {missing}")
    hints = _hints(kind)  # type: ignore[arg-type]
    return kind(**{name: _value(hints[name], data[name], where + name) for name in data})


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise TypeError(f"{where} must be one of {list(arguments)}, got {brief(value)}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return read(hint, value, f"{where}.")
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise TypeError(f"{where} must be an object, got {brief(value)}")
        if arguments[1] is str and not all(isinstance(v, str) for v in value.values()):
            raise TypeError(f"{where} must map strings to strings, got {brief(value)}")
        return dict(value)
    allowed, name = _SCALARS[hint]
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"{where} must be {name}, got {brief(value)}")
    if hint in (int, float) and not is_number(value, -LARGEST, LARGEST):
        raise TypeError(f"{where} must be finite and at most {LARGEST:,}, got {brief(value)}")
    return float(value) if hint is float else value


def _union(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in arguments:
        return None
    others = [one for one in arguments if one is not NoneType]
    if len(others) == 1:
        return _value(others[0], value, where)
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"{where} must be a name or an object, got {brief(value)}")
    return dict(value)


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where} must be a list, got {brief(value)}")
    if arguments[-1] is Ellipsis:
        return tuple(_value(arguments[0], item, where) for item in value)
    if len(value) != len(arguments):
        raise TypeError(f"{where} must hold {len(arguments)} values, got {brief(value)}")
    return tuple(_value(one, item, where) for one, item in zip(arguments, value, strict=True))
