"""Declarations: by name or from a file, chosen for a graph, written down for a person to read.

A file is YAML or JSON with the keys `name`, `title`, `source`, `input` and `output`; the fields
below `input` and `output` are those of `InputContract` and `OutputContract`, and what is left out
has their defaults. It is data: nothing in it is run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..contract.contract import FORMS, GraphContract, InputContract, OutputContract, Size
from ..contract.onnx_graph import GraphFacts
from ..contract.schema import read
from ..errors import SpecError
from ..system.bounds import JSON_BYTES
from ..system.documents import load_yaml, parse_json, read_bounded
from . import convention, conventions
from .base import Convention
from .declared import decode
from .fit import Misfit, fit, fitting


@dataclass(frozen=True)
class Declared:
    """How a file is to be read, and where that was learnt.

    Attributes:
        row: the declaration, changes included.
        contract: the declaration with what the file itself fixes.
        reason: in words: "--as yolox", "metadata of ultralytics".
    """

    row: Convention
    contract: GraphContract
    reason: str


def read_declaration(path: str | Path) -> Convention:
    """A declaration from a .yaml, .yml or .json file.

    Raises:
        SpecError: it cannot be read, or a field is unknown, missing or of a wrong type.
        MissingExtraError: a YAML file, and PyYAML is not installed.
    """
    path = Path(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        values = load_yaml(path, SpecError)
    else:
        values = parse_json(read_bounded(path, JSON_BYTES, SpecError), str(path), SpecError)
    if not isinstance(values, Mapping) or not isinstance(values.get("output"), Mapping):
        raise SpecError(f"{path} is not a declaration: it needs the keys name, input and output")
    unknown = sorted(map(str, set(values) - {"name", "title", "source", "input", "output"}))
    if unknown:
        raise SpecError(f"{path} has the unknown keys {unknown}; see docs/conventions.md")
    name = str(values.get("name") or path.stem)
    output = {"convention": name, "classes": 1, **values["output"]}
    try:
        return Convention(
            name, str(values.get("title", name)), str(values.get("source", path.name)),
            read(OutputContract, output, "output."), decode,
            read(InputContract, values["input"], "input.") if "input" in values else None,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise SpecError(f"{path}: {error}; see docs/conventions.md") from error


def write_declaration(row: Convention, contract: GraphContract | None = None) -> str:
    """A declaration as JSON text, which `read_declaration` reads; only what is not a default."""
    taken = row.input if contract is None else contract.input
    output = row.output if contract is None else contract.output
    values = {"name": row.name, "title": row.title, "source": row.source}
    parts = {"input": _told(taken or InputContract()), "output": _told(output)}
    parts["output"].pop("convention")
    return json.dumps(values | parts, indent=2, ensure_ascii=False) + "\n"


def _told(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from its defaults, as plain values."""
    told = {}
    for entry in dataclasses.fields(value):
        held = getattr(value, entry.name)
        default = entry.default
        if entry.default_factory is not dataclasses.MISSING:
            default = entry.default_factory()
        if held == default:
            continue
        if dataclasses.is_dataclass(held):
            held = _told(held)
        elif isinstance(held, tuple) and held and dataclasses.is_dataclass(held[0]):
            held = [_told(one) for one in held]
        told[entry.name] = held
    return told


def named(name: str) -> Convention:
    """The declaration of a name, or of a file when it ends in .yaml, .yml or .json.

    Raises:
        SettingError: no such name; the message lists them.
        SpecError: a file that is not a declaration.
    """
    if Path(name).suffix.lower() in (".yaml", ".yml", ".json"):
        return read_declaration(name)
    return convention(name)


def foreign() -> dict[str, Convention]:
    """All declarations but those of our own outputs."""
    return {name: row for name, row in conventions().items() if name not in FORMS}


def declare(
    facts: GraphFacts,
    source: str,
    name: str | None = None,
    *,
    classes: int | None = None,
    size: Size | None = None,
    changes: Sequence[str] = (),
) -> Declared:
    """The declaration of a graph, by its name or because only one fits.

    Args:
        facts: of the file.
        source: the file's name, for messages and the commands they give.
        name: of a convention, or of a declaration file; None takes the only one that fits.
        classes: number of class names.
        size: (height, width) for a graph that takes any.
        changes: see `fit.changed`.

    Raises:
        SpecError: it does not fit, none fits, or several do; the message names these with the
            command for each.
        SettingError: an unknown name, or a wrong change.
    """
    if name is not None:
        row = named(name)
        return Declared(row, fit(row, facts, classes, size, changes), f"--as {name}")
    found = fitting(foreign(), facts, classes)
    if not found:
        shown = ", ".join(f"{t.name} {t.dtype}{_shape(t.shape)}" for t in facts.outputs)
        raise SpecError(
            f"no known declaration fits {source} (outputs: {shown}); write one "
            "(docs/conventions.md) and give it with --as FILE.yaml"
        )
    distinct = _distinct(found)
    if len(distinct) > 1:
        ways = "; ".join(
            f"`yolov4sdk adopt {source} --as {one}` ({foreign()[one].title})" for one in distinct
        )
        raise SpecError(
            f"the shapes of {source} fit several declarations, and nothing in the file decides: "
            f"{ways}. `yolov4sdk probe {source} --images DIR` compares them on pictures"
        )
    row = foreign()[distinct[0]]
    return Declared(row, fit(row, facts, classes, size, changes), "the only one that fits")


def _distinct(found: Mapping[str, GraphContract]) -> list[str]:
    """One name of each group of declarations that say the same of this file."""
    kept: dict[Any, str] = {}
    for name, contract in found.items():
        same = replace(contract, output=replace(contract.output, convention=""))
        kept.setdefault(same, name)
    return list(kept.values())


def _shape(shape: tuple[int | None, ...]) -> str:
    return "[" + ",".join("?" if side is None else str(side) for side in shape) + "]"


__all__ = [
    "Declared", "Misfit", "declare", "foreign", "named", "read_declaration", "write_declaration",
]  # fmt: skip
