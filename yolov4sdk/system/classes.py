"""Which classes are meant, and thresholds by class: names and ids as people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError, UnknownClassError
from .text import some_of


def resolve_classes(
    classes: str | int | Sequence[str | int], names: Sequence[str], owner: str = "the model"
) -> list[int]:
    """Class ids for names or ids.

    A text is a name first. A text of digits that is no name is an id, unless the names themselves
    are numbers: with the classes "30" and "50", "1" is refused, not taken for "50". A Python
    integer is always an id.

    Args:
        classes: names or ids, or a single one.
        names: of all classes.
        owner: whose classes they are, for messages.

    Raises:
        UnknownClassError: the message lists the classes, the nearest first.
    """
    single = isinstance(classes, str | int | np.integer)
    return [_class_id(item, names, owner) for item in ([classes] if single else classes)]  # type: ignore[union-attr, list-item]


def _class_id(item: object, names: Sequence[str], owner: str) -> int:
    reason = ""
    if isinstance(item, str):
        if item in names:
            return names.index(item)
        if item.isascii() and item.isdigit():
            if any(name.isascii() and name.isdigit() for name in names):
                reason = " (its names are numbers, so numbers mean names here, not ids)"
            elif len(item) < 10 and int(item) < len(names):
                return int(item)
    elif (
        isinstance(item, int | np.integer) and not isinstance(item, bool) and 0 <= item < len(names)
    ):
        return int(item)
    from difflib import get_close_matches

    near = get_close_matches(str(item), names, n=1)
    hint = f"; did you mean {near[0]!r}? It has" if near else "; it has"
    raise UnknownClassError(f"{owner} has no class {item!r}{reason}{hint} {some_of(names, 20)}")


DEFAULT_KEY = "default"
"""In per-class thresholds: the classes that are not named."""


def resolve_conf(
    conf: float | Mapping[str | int, float], names: Sequence[str], default: float = 0.25
) -> float | NDArray[np.float32]:
    """A threshold for all classes as it is; thresholds by class as float32 [C].

    Args:
        conf: a number, or a mapping of class names or ids to numbers; its key "default" (unless
            a class is called so) sets the other classes.
        names: of the model's classes.
        default: for the other classes, where the mapping does not say.

    Raises:
        UnknownClassError: a class that the model does not have.
        SettingError: a threshold that is no number.
    """
    if not isinstance(conf, Mapping):
        return conf
    entries = dict(conf)
    if DEFAULT_KEY not in names:
        default = entries.pop(DEFAULT_KEY, default)
    ids = resolve_classes(list(entries), names)
    try:
        result = np.full(len(names), default, np.float32)
        result[ids] = list(entries.values())
    except (TypeError, ValueError) as error:
        raise SettingError(f"thresholds must be numbers, got {conf!r}") from error
    return result
