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
