"""Values of command-line options that are more than one word."""

from __future__ import annotations

import errno
from pathlib import Path

from ..errors import NamesError, SettingError
from ..system.classes import DEFAULT_KEY
from ..system.text import decode_text, lines_of


def parse_classes(text: str | None) -> list[str | int] | None:
    """ "person,dog,2" to names and ids as they are written; None stays None.

    `resolve_classes` decides what a number means: the names are not known here.
    """
    if text is None:
        return None
    return [item.strip() for item in text.split(",")]


def parse_conf(text: str) -> float | dict[str | int, float]:
    """ "0.3" to a number; "0.3,person=0.4,2=0.5" to thresholds by class.

    Raises:
        SettingError: an item that is neither a number nor NAME=NUMBER.
    """
    result: dict[str | int, float] = {}
    for item in text.split(","):
        name, _, number = item.rpartition("=")
        try:
            result[name.strip() or DEFAULT_KEY] = float(number)
        except ValueError:
            raise SettingError(
                f"--conf takes a number, or numbers by class (0.3,person=0.4), got {item!r}"
            ) from None
    return result[DEFAULT_KEY] if list(result) == [DEFAULT_KEY] else result


def parse_names(text: str) -> list[str]:
    """Class names from "a,b,c" or from a text file, a name a line.

    Raises:
        NamesError: there is no such file, or it is not a text in UTF-8 or UTF-16.
    """
    path = Path(text)
    try:
        data = path.read_bytes() if path.is_file() else None
    except OSError as error:
        # A long list of names is not a path: "File name too long".
        if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL):
            raise NamesError(f"{path} cannot be read: {error.strerror}") from error
        data = None
    if data is not None:
        try:
            return [line.strip() for line in lines_of(decode_text(data)) if line.strip()]
        except ValueError as error:
            raise NamesError(f"the class names in {path} cannot be read: {error}") from error
    if path.suffix in {".names", ".txt"}:
        raise NamesError(f"no file of class names at {path}; check the path")
    return [name.strip() for name in text.split(",")]


def parse_points(text: str) -> list[tuple[float, float]]:
    """ "10,20 300,20 300,200" to points (x, y).

    Raises:
        SettingError: an item that is not X,Y.
    """
    points = []
    for item in text.split():
        try:
            x, y = (float(number) for number in item.split(","))
        except ValueError:
            raise SettingError(
                f'a polygon is points "x,y x,y x,y" in pixels, got {item!r} in {text!r}'
            ) from None
        points.append((x, y))
    return points


def parse_size(text: str) -> tuple[int, int]:
    """ "640" or "480x640" (height x width) in pixels.

    Raises:
        SettingError: anything else.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise SettingError(f"a size is one number or HEIGHTxWIDTH in pixels, got {text!r}")
    return int(sides[0]), int(sides[-1])
