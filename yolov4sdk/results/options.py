"""The options of a call of a Detector: their types for a checker, and what is taken at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from ..errors import SettingError
from ..system.arguments import flag, number, several, whole_number
from .tiling import Tiling

Classes = str | int | Sequence[str | int] | None
"""A name or id, several of them, or None for all."""


class CallOptions(TypedDict, total=False):
    """Keyword options of `Detector.__call__` and `Detector.stream`; see `Detector`."""

    conf: float | Mapping[str | int, float]
    iou: float | None
    max_det: int
    classes: Classes
    agnostic: bool
    multi_label: bool
    tiles: Tiling | int | tuple[int, int] | None
    keep_images: bool


def read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """These options with their own types.

    Raises:
        SettingError: a value of another type, or an option that does not exist.
    """
    if unknown := sorted(set(given) - set(CallOptions.__annotations__)):
        raise SettingError(
            f"unknown options {unknown}; there are {sorted(CallOptions.__annotations__)}"
        )
    return {name: _read(name, value) for name, value in given.items()}


def network_size(size: Any) -> int | tuple[int, int] | None:
    """None, one number, or (height, width).

    Raises:
        SettingError: something else.
    """
    if size is None or isinstance(size, str | int | float | np.number):
        return None if size is None else whole_number("size", size)
    sides = [whole_number("size", side) for side in several("size", size)]
    if len(sides) != 2:
        raise SettingError(f"size must be a number or (height, width), got {size!r}")
    return sides[0], sides[1]


def scales(tta: Any) -> bool | tuple[float, ...]:
    """Whether to test with augmentation, or its scales.

    Raises:
        SettingError: something else, such as 1, which could be either.
    """
    if isinstance(tta, bool | np.bool_):
        return bool(tta)
    if isinstance(tta, str | int | float):
        raise SettingError(f"tta must be True, False or a list of scales, got {tta!r}")
    return tuple(number("tta", scale) for scale in several("tta", tta))


def _read(name: str, value: Any) -> Any:
    if name == "conf":
        if isinstance(value, Mapping):
            return {key: number(f"conf of {key!r}", item) for key, item in value.items()}
        return number(name, value)
    if name == "iou":
        return None if value is None else number(name, value)
    if name == "max_det":
        return whole_number(name, value)
    if name == "tiles":
        if value is None or isinstance(value, Tiling | tuple):
            return value
        if isinstance(value, str):
            raise SettingError(f"tiles must be a Tiling, a size in pixels or None, got {value!r}")
        return whole_number(name, value)
    if name == "classes":
        return None if value is None else _classes(value)
    return flag(name, value)


def _classes(value: Any) -> list[str | int]:
    found: list[str | int] = []
    for item in several("classes", value):
        is_id = isinstance(item, int | np.integer) and not isinstance(item, bool)
        if not is_id and not isinstance(item, str):
            raise SettingError(f"classes must be names or ids, got {item!r} in {value!r}")
        found.append(int(item) if is_id else item)
    return found
