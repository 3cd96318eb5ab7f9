"""Values of command-line options that are more than one word."""

from __future__ import annotations

from ..detections import DEFAULT_KEY
from ..errors import SettingError


def parse_classes(text: str | None) -> list[str | int] | None:
    """ "person,dog,2" to names and ids; None stays None."""
    if text is None:
        return None
    return [_class(item) for item in text.split(",")]


def parse_conf(text: str) -> float | dict[str | int, float]:
    """ "0.3" to a number; "0.3,person=0.4,2=0.5" to thresholds by class.

    Raises:
        SettingError: an item that is neither a number nor NAME=NUMBER.
    """
    result: dict[str | int, float] = {}
    for item in text.split(","):
        name, _, number = item.rpartition("=")
        try:
            result[_class(name) if name else DEFAULT_KEY] = float(number)
        except ValueError:
            raise SettingError(
                f"--conf takes a number, or numbers by class (0.3,person=0.4), got {item!r}"
            ) from None
    return result[DEFAULT_KEY] if list(result) == [DEFAULT_KEY] else result


def _class(text: str) -> str | int:
    text = text.strip()
    return int(text) if text.isdigit() else text


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
