"""Does a declaration fit a file? What the file fixes (names, sizes, classes) is filled in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ..contract.contract import (
    ExtraInput,
    GraphContract,
    InputContract,
    OutputContract,
    OutputTensor,
    Size,
    grid_rows,
)
from ..contract.onnx_graph import GraphFacts, GraphTensor
from ..contract.schema import read
from ..errors import SettingError, SpecError, YOLOv4Error
from .base import Convention

KNOWN_EXTRAS: Final = (
    ExtraInput("orig_target_sizes", "size_wh", "int64"),
    ExtraInput("scale_factor", "scale"),
    ExtraInput("im_shape", "size_hw"),
    ExtraInput("pixel_mask", "mask", "int64"),
)
"""Inputs beside the images that exports of several families have, by their usual names."""


class Misfit(SpecError):
    """A declaration that cannot be that of a file; the message says why."""


def fit(
    row: Convention,
    facts: GraphFacts,
    classes: int | None = None,
    size: Size | None = None,
    changes: Sequence[str] = (),
) -> GraphContract:
    """The contract of a file under a declaration.

    Args:
        row: the declaration.
        facts: of the file.
        classes: number of class names, None where they are not known.
        size: (height, width) for a graph that takes any; None is the declaration's.
        changes: "input.color=RGB" and the like, see `changed`.

    Raises:
        Misfit: names, axes, sizes or classes contradict the declaration.
        SettingError: a wrong change.
    """
    declared = changed(GraphContract(row.input or InputContract(multiple=1), row.output), changes)
    taken, batch = _input(declared.input, facts, size)
    output = _output(declared.output, facts, classes)
    if output.grid and output.rows is not None and not taken.dynamic:
        expected = grid_rows(output.grid, taken.size)
        if output.rows != expected:
            raise Misfit(
                f"{row.name}: {taken.size[0]} x {taken.size[1]} pixels have {expected} cells, "
                f"the file gives {output.rows} rows"
            )
    return GraphContract(taken, output, batch)


def changed(contract: GraphContract, changes: Sequence[str]) -> GraphContract:
    """The contract with values replaced: "input.color=BGR", "output.background=first".

    A value is JSON where it can be read as such, else text.

    Raises:
        SettingError: no such field, or a wrong value.
    """
    values: dict[str, Any] = dataclasses.asdict(contract)
    for change in changes:
        key, equals, text = change.partition("=")
        *path, last = key.strip().split(".")
        place: Any = values
        for name in path:
            place = place.get(name) if isinstance(place, dict) else None
        if not equals or not isinstance(place, dict) or last not in place:
            raise SettingError(
                f"{change!r} changes nothing; a change is KEY=VALUE with a key such as "
                "input.color, input.scale, input.resize.policy or output.background"
            )
        place[last] = _value(text.strip())
    try:
        return read(GraphContract, values)
    except (TypeError, ValueError) as error:
        raise SettingError(f"a declaration cannot be changed like this: {error}") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def fitting(
    rows: Mapping[str, Convention], facts: GraphFacts, classes: int | None = None
) -> dict[str, GraphContract]:
    """The contracts of all declarations that a file's names, shapes and sizes allow.

    Where the number of classes is not known, a reading with more classes than rows is left out: it
    takes the axis of the boxes for that of the columns.
    """
    found: dict[str, GraphContract] = {}
    for name, row in rows.items():
        try:
            contract = fit(row, facts, classes)
        except YOLOv4Error:
            continue
        output = contract.output
        turned = output.per_class and output.classes > (output.rows or output.classes)
        if classes is not None or not turned:
            found[name] = contract
    return found


def _input(
    declared: InputContract, facts: GraphFacts, size: Size | None
) -> tuple[InputContract, int | None]:
    axes = 3 if declared.layout == "CHW" else 4
    images = [t for t in facts.inputs if len(t.shape) == axes]
    if len(images) != 1:
        raise Misfit(f"expected one input of {axes} axes, the file has {len(images)}")
    image = images[0]
    extras = {one.name: one for one in (*KNOWN_EXTRAS, *declared.extra)}
    others = [t for t in facts.inputs if t is not image]
    unknown = [t.name for t in others if t.name not in extras]
    lacking = [e.name for e in declared.extra if e.name not in {t.name for t in others}]
    if unknown or lacking:
        raise Misfit(f"inputs that are not declared: {unknown}; declared and not there: {lacking}")
    layout = declared.layout
    if axes == 4 and 3 in image.shape[1::2]:
        layout = "NCHW" if image.shape[1] == 3 else "NHWC"
    planar = layout != "NHWC"
    sides = image.shape[-2:] if planar else image.shape[1:3]
    values: dict[str, Any] = {"name": image.name, "layout": layout, **_dtype(declared, image)}
    fixed = None if None in sides else (int(sides[0] or 0), int(sides[1] or 0))
    chosen = fixed or size or declared.size
    if fixed and size and fixed != size:
        raise Misfit(f"the file takes {fixed} (height, width), not {size}")
    multiple = declared.multiple if not any(s % declared.multiple for s in chosen) else 1
    values |= {"size": chosen, "dynamic": fixed is None, "multiple": multiple}
    if fixed and declared.resize.shortest is not None:
        # Only one canvas: the image fills as much of it as its aspect allows, in the same corner.
        values["resize"] = replace(
            declared.resize, policy="letterbox-top-left", shortest=None, longest=None
        )
    values["extra"] = tuple(replace(extras[t.name], dtype=_plain(t.dtype)) for t in others)
    batch = image.shape[0] if axes == 4 else 1
    return replace(declared, **values), batch


def _dtype(declared: InputContract, image: GraphTensor) -> dict[str, Any]:
    if image.dtype not in ("float32", "float16", "uint8"):
        raise Misfit(f"an input of {image.dtype}; expected float32, float16 or uint8")
    if image.dtype == declared.dtype:
        return {}
    if image.dtype == "uint8":  # the graph normalises pixels itself
        return {"dtype": "uint8", "scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    return {"dtype": image.dtype}


def _plain(dtype: str) -> Any:
    if dtype not in ("float32", "int64", "int32", "bool"):
        raise Misfit(f"an extra input of {dtype}")
    return dtype


def _output(declared: OutputContract, facts: GraphFacts, classes: int | None) -> OutputContract:
    rows, slots = None, None
    named = {t.name: t for t in facts.outputs}
    positions = [t.position for t in declared.tensors if t.position is not None]
    if positions and max(positions) + 1 != len(facts.outputs) and len(positions) > 1:
        raise Misfit(f"declared are {max(positions) + 1} outputs, the file has {len(named)}")
    if len(positions) == 1 and len(declared.tensors) == 1 and len(facts.outputs) > 2:
        raise Misfit(f"declared is one output, the file has {len(named)}")
    for tensor in declared.tensors:
        found = _found(tensor, named, facts)
        sizes = _axes(tensor, found)
        if tensor.role == "count":
            continue
        if "N" in sizes and tensor.level is None:
            if rows is not None and sizes["N"] not in (None, rows):
                raise Misfit(f"{found.name} has {sizes['N']} rows, another output {rows}")
            rows = sizes["N"] if sizes["N"] is not None else rows
        slots = _columns(tensor, declared, found, sizes, slots)
    return _filled(declared, slots, classes, rows)


def _filled(
    declared: OutputContract, slots: int | None, classes: int | None, rows: int | None
) -> OutputContract:
    """The declaration with the number of classes and rows of a file."""
    count = classes or declared.classes
    extra = declared.class_offset + (declared.background != "none")
    if slots is not None and declared.class_ids is None:
        count = slots - extra
        if count < 1 or (classes is not None and classes != count):
            raise Misfit(f"{slots} columns of scores are {count} classes; given are {classes}")
    if declared.score == "objectness" and count != 1:
        raise Misfit(f"objectness is the score of one class only, the file has {count}")
    if declared.class_ids is not None:
        wanted = max(declared.class_ids) + 1 + (declared.background == "last")
        if classes is not None and classes != len(declared.class_ids):
            raise Misfit(f"the ids of {len(declared.class_ids)} classes, {classes} names")
        if slots is not None and slots not in (wanted, wanted + 1):
            raise Misfit(f"the ids need {wanted} columns of scores, the file has {slots}")
        count = len(declared.class_ids)
    topk = declared.topk
    if topk is not None and rows is not None:
        topk = min(topk, rows * count)
    return replace(declared, classes=count, rows=rows, topk=topk)


def _found(
    tensor: OutputTensor, named: Mapping[str, GraphTensor], facts: GraphFacts
) -> GraphTensor:
    if tensor.name is not None:
        if tensor.name not in named:
            raise Misfit(f"no output {tensor.name!r} among {', '.join(named)}")
        return named[tensor.name]
    if tensor.position is None or tensor.position >= len(facts.outputs):
        raise Misfit(f"no output number {tensor.position} among {', '.join(named)}")
    return facts.outputs[tensor.position]


def _axes(tensor: OutputTensor, found: GraphTensor) -> dict[str, int | None]:
    if len(found.shape) != len(tensor.axes):
        raise Misfit(f"{found.name} has {len(found.shape)} axes, declared are {tensor.axes}")
    for size, axis in zip(found.shape, tensor.axes, strict=True):
        if axis == "1" and size not in (None, 1):
            raise Misfit(f"{found.name} has {size} where the declaration has one")
    if tensor.role == "labels" and tensor.axes in ("N", "BN") and "float64" in found.dtype:
        raise Misfit(f"{found.name} is {found.dtype}")
    whole = found.dtype.startswith(("int", "uint"))
    if whole and tensor.role not in ("labels", "count"):
        raise Misfit(f"{found.name} holds integers, not {tensor.role}")
    return dict(zip(tensor.axes, found.shape, strict=True))


def _columns(
    tensor: OutputTensor, declared: OutputContract, found: GraphTensor,
    sizes: Mapping[str, int | None], slots: int | None,
) -> int | None:  # fmt: skip
    """Columns of scores that an output has; those found before where it has none."""
    width = sizes.get("C")
    box = 4 * (declared.bins or 1)
    if width is None:
        return slots
    if tensor.role == "boxes" and width != box:
        raise Misfit(f"{found.name} has {width} columns, a box has {box}")
    if tensor.role == "scores":
        return width
    if tensor.role != "packed":
        return slots
    rest = width - sum(box if c == "box" else c != "scores" for c in tensor.columns)
    if "scores" in tensor.columns:
        if rest < 1:
            raise Misfit(f"{found.name} has {width} columns, too few for {tensor.columns}")
        return rest
    if rest:
        raise Misfit(f"{found.name} has {width} columns, declared are {tensor.columns}")
    return slots
