"""YAML and JSON of files, within bounds: size, depth, number of values, aliases, digits.

Every reader of such a text goes through here and gets plain values, or an error of its own kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import MissingExtraError, YOLOv4Error
from .bounds import DEPTH, DIGITS, JSON_BYTES, JSON_VALUES, YAML_BYTES, YAML_VALUES, brief
from .text import decode_text

Raised = type[YOLOv4Error]
"""The class of the error that a caller wants."""
MERGE_TAG: Final = "tag:yaml.org,2002:merge"
NUMBER_TAGS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_bounded(path: str | Path, limit: int, error: Raised) -> str:
    """The text of a file of at most `limit` bytes, UTF-8 or UTF-16; see `decode_text`.

    Raises:
        error: it is missing, a folder, larger, no such text, or may not be read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as cause:
        raise error(f"there is no file {path}; check the path") from cause
    except (OSError, ValueError) as cause:  # a folder, no permission, a NUL in the name
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{path} cannot be read: {reason}") from cause
    if len(data) > limit:
        raise error(f"{path} has more than {limit:,} bytes, far more than such a file needs")
    try:
        return decode_text(data)
    except ValueError as cause:
        raise error(f"{path} cannot be read: {cause}") from cause


def load_yaml(path: str | Path, error: Raised, texts: bool = False) -> Any:
    """Plain values from a YAML file of one document: no object is ever made from a tag.

    Args:
        path: the file.
        error: the class to raise.
        texts: give every value as the text that is written there; YAML reads no, 1.10, 007 and ~
            as False, 1.1, 7 and None.

    Raises:
        error: it cannot be read, is not YAML, has a key twice, or lies beyond the bounds; aliases
            count as often as they are named.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as cause:
        raise MissingExtraError("Reading a YAML file", "eval", "pyyaml") from cause
    text = read_bounded(path, YAML_BYTES, error)
    safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader_class = _texts_of(safe) if texts else safe
    try:
        depth = 0
        # The parser does not recurse: nesting is bounded before anything follows it.
        for count, event in enumerate(yaml.parse(text, safe)):
            if count > YAML_VALUES:
                raise ValueError(f"more than {YAML_VALUES:,} values")
            opens = isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent)
            closes = isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent)
            depth += opens - closes
            if depth > DEPTH:
                raise ValueError(f"more than {DEPTH} levels inside one another")
        loader = loader_class(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _measure(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    # Constructors of wrong values ("!!timestamp x") fail in all of these ways.
    except (
        yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
        RecursionError,
    ) as cause:  # fmt: skip
        told = isinstance(cause, yaml.YAMLError | ValueError | RecursionError)
        what = _first(cause) if told else "a value that does not fit its tag"
        raise error(f"{path} is not valid YAML: {what}") from cause


def _texts_of(safe: Any) -> Any:
    """A loader that only knows what `<<` means."""
    merge = {"<": [(MERGE_TAG, re.compile("^<<$"))]}
    return type("Texts", (safe,), {"yaml_implicit_resolvers": merge})


def _measure(node: Any, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Values and levels of a node with its aliases followed; a ValueError beyond the bounds."""
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise ValueError("an alias that holds itself")
        return found
    known[id(node)] = None
    if isinstance(node.value, str):
        if node.tag in NUMBER_TAGS and len(node.value) > DIGITS:
            raise ValueError(f"a number of {len(node.value):,} characters")
        node.value.encode()  # half a character is none
        size, depth = 1 + len(node.value) // 16, 0
    else:
        parts = node.value
        if parts and isinstance(parts[0], tuple):
            _check_keys(parts)
            parts = [part for entry in parts for part in entry]
        measured = [_measure(part, known) for part in parts]
        size = 1 + sum(size for size, _ in measured)
        depth = 1 + max((depth for _, depth in measured), default=0)
    if size > YAML_VALUES or depth > DEPTH:
        raise ValueError(f"more than {YAML_VALUES:,} values or {DEPTH} levels, aliases counted")
    known[id(node)] = size, depth
    return size, depth


def _check_keys(entries: list[tuple[Any, Any]]) -> None:
    """A ValueError for a key that a mapping has twice: YAML would take the last one silently."""
    values: dict[str, Any] = {}
    for key, value in entries:
        if not isinstance(key.value, str) or key.tag == MERGE_TAG:
            continue
        if key.value in values:
            shown = [brief(n.value) if isinstance(n.value, str) else "a list or mapping"
                     for n in (values[key.value], value)]  # fmt: skip
            raise ValueError(
                f"line {key.start_mark.line + 1}: the key {brief(key.value)} is there twice "
                f"({' and '.join(shown)}); keep one"
            )
        values[key.value] = value


def parse_json(text: str | bytes, source: str, error: Raised, limit: int = JSON_BYTES) -> Any:
    """Values from JSON; NaN and Infinity are refused.

    Args:
        text: UTF-8 where bytes.
        source: what to call it in messages ("x.json", "the ModelSpec").
        error: the class to raise.
        limit: of the text's length.

    Raises:
        error: no JSON, or beyond the bounds.
    """
    if not isinstance(text, str | bytes):
        raise error(f"{source} must be a text of JSON, got {type(text).__name__}")
    if len(text) > limit:
        raise error(f"{source} has more than {limit:,} bytes, far more than it needs")
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    if text.count(",") + text.count("[") + text.count("{") > JSON_VALUES:
        raise error(f"{source} has more than {JSON_VALUES:,} values, far more than it needs")
    try:
        value = json.loads(text, parse_constant=_no_constant)
        return plain(value)
    except (ValueError, RecursionError) as cause:
        raise error(f"{source} is not valid JSON: {_first(cause)}") from cause


def plain(value: Any) -> Any:
    """A copy in plain types: None, bool, int, float, str, list, and dict with keys of these.

    Raises:
        ValueError: another type, or more values or levels than the bounds; so also what holds
            itself.
    """
    left = JSON_VALUES

    def copy(part: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEPTH:
            raise ValueError(
                f"more than {JSON_VALUES:,} values or {DEPTH} levels inside one another"
            )
        if isinstance(part, str):
            part.encode()  # half a character ("\\ud800") is none
        if part is None or type(part) in (bool, int, float, str):
            return part
        if isinstance(part, list | tuple):
            return [copy(item, depth + 1) for item in part]
        if isinstance(part, Mapping):
            return {copy(k, DEPTH): copy(v, depth + 1) for k, v in part.items()}
        raise ValueError(f"a value of type {type(part).__name__}")

    return copy(value, 0)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _first(error: BaseException) -> str:
    """An error's text, without line breaks and short: it may quote the file."""
    if isinstance(error, RecursionError):
        return f"more than {DEPTH} levels inside one another"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
