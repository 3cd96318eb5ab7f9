"""An option is declared once, as a field of a frozen dataclass.

Its type says which words are allowed (`Literal`); help text, range and panel stand in the field's
metadata. `check` holds values to that, the command makes its options of it (`cli/signature.py`),
and settings files and the service's schema are written from the same fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from ..errors import SettingError

KEY: Final = "option"
"""Of a field's metadata."""


@dataclass(frozen=True)
class Declaration:
    """What is known of an option besides its name, type and default.

    Attributes:
        help: one sentence.
        low, high: least and largest number, both allowed; None is unlimited.
        panel: heading under which the command's help lists it.
        names: its spellings on the command line, where they are not the field's name.
        metavar: the form of its value on the command line.
        shown: the default in words, where None means "derived from the others".
        parse: from the text of the command line to the value.
        offered: words that a shell completes, where others are allowed too.
    """

    help: str
    low: float | None = None
    high: float | None = None
    panel: str | None = None
    names: tuple[str, ...] = ()
    metavar: str | None = None
    shown: str | None = None
    parse: Callable[[str], Any] | None = None
    offered: tuple[str, ...] = ()


class Option(NamedTuple):
    """A declared field.

    Attributes:
        kinds: its types, without None.
        optional: whether None is allowed.
        panel: its heading, None for the command's own.
    """

    name: str
    kinds: tuple[Any, ...]
    optional: bool
    default: Any
    declared: Declaration
    panel: str | None

    @property
    def words(self) -> tuple[str, ...]:
        """The words that are allowed; () where it is not a choice among words."""
        return tuple(
            w for kind in self.kinds if get_origin(kind) is Literal for w in get_args(kind)
        )


def about(help: str, **declared: Any) -> dict[str, Declaration]:
    """The metadata of a field; see `Declaration`.

    A field whose `default_factory` is a dataclass is a group of options; its metadata is
    `{"panel": "Loss"}`, the heading of those in it.
    """
    return {KEY: Declaration(help, **declared)}


@cache
def options_of(kind: type, panel: str | None = None) -> tuple[Option, ...]:
    """The options of a dataclass and of the groups in it."""
    return tuple(_options_of(kind, panel))


def _options_of(kind: type, panel: str | None) -> Iterator[Option]:
    types = get_type_hints(kind)
    for entry in fields(kind):
        declared = entry.metadata.get(KEY)
        if declared is not None:
            hint = types[entry.name]
            members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
            kinds = tuple(kind for kind in members if kind is not NoneType)
            heading = declared.panel or panel
            yield Option(
                entry.name, kinds, len(kinds) < len(members), entry.default, declared, heading
            )
        elif isinstance(entry.default_factory, type) and is_dataclass(entry.default_factory):
            yield from _options_of(entry.default_factory, entry.metadata.get("panel"))


def check(options: Any) -> None:
    """Hold the fields of a dataclass to their declarations; numpy's numbers become Python's.

    Raises:
        SettingError: a wrong type, or a word or a number that is not allowed.
    """
    own = {entry.name for entry in fields(options)}
    kind: Any = type(options)
    for option in options_of(kind):
        if option.name in own:
            value = getattr(options, option.name)
            if (right := checked(option, value)) is not value:
                object.__setattr__(options, option.name, right)


def checked(option: Option, value: Any) -> Any:
    """A value of an option; numpy's numbers become Python's.

    Raises:
        SettingError: a wrong type, or a word or a number that is not allowed.
    """
    if value is None and option.optional:
        return value
    name, numbers = option.name, {int, float} & set(option.kinds)
    if option.words and value not in option.words:
        raise SettingError(f"{name} must be one of {', '.join(option.words)}, got {value!r}")
    if numbers and not _is_number(value, float in numbers, option.declared):
        wanted = _range(float in numbers, option.declared)
        raise SettingError(f"{name} must be {wanted}, got {value!r}")
    if option.kinds == (bool,) and not isinstance(value, bool):
        raise SettingError(f"{name} must be true or false, got {value!r}")
    if numbers and type(value) not in (int, float):
        return float(value) if float in numbers else int(value)
    return value


def _is_number(value: Any, real: bool, declared: Declaration) -> bool:
    """Whether it is a number of the right kind (a bool is not) within its limits; NaN is not."""
    if isinstance(value, bool) or not isinstance(value, Real if real else Integral):
        return False
    low, high, number = declared.low, declared.high, float(value)
    return number == number and (low is None or low <= number) and (high is None or number <= high)


def _range(real: bool, declared: Declaration) -> str:
    low, high = declared.low, declared.high
    noun = "a number" if real else "an integer"
    if real and low is not None:
        return f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
    least = noun if low is None else f"{noun} of at least {low:g}"
    if low == 1 and not real:
        least = "a positive integer"
    return least if high is None else f"{least}, at most {high:g}"
