"""A foreign graph rewritten so that it takes uint8 RGB pixels and ends in our own outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import onnx
import onnx.version_converter
from onnx import TensorProto, helper

from yolov4sdk.contract.contract import (
    OUTPUTS,
    GraphContract,
    InputContract,
    OutputTensor,
    Size,
    decoded,
)
from yolov4sdk.conventions.arithmetic import candidates, slots
from yolov4sdk.conventions.declared import names_images
from yolov4sdk.errors import ExportError
from yolov4sdk.system.text import first_line

from .nodes import GraphWriter, Node

OLDEST_OPSET: Final = 13
"""The first in which Squeeze and ReduceSum take their axes as inputs."""
CONVERTED_OPSET: Final = 17
"""To which older graphs are converted."""
INPUT: Final = "images"
FOREIGN: Final = "adopted/"
"""Before names of the graph's own that are called like ours."""


def rewrite(model: onnx.ModelProto, contract: GraphContract) -> tuple[Any, GraphContract]:
    """The rewritten model and its contract.

    Args:
        model: of one of the declared forms; it is changed.
        contract: what it takes and gives, as `conventions.fit` found it.

    Returns:
        A model with the input uint8 RGB [B, H, W, 3] `images`, outputs `boxes`, `scores` and
        perhaps `class_ids`; and the contract of that.

    Raises:
        ExportError: an opset too old, or rows of several images in one list.
    """
    model = _modern(model)
    own = adopted_contract(contract)
    contract = replace(contract, batch=own.batch)
    graph, size = model.graph, contract.input.size
    rename(graph, _taken(graph))
    rename(graph, {INPUT: FOREIGN + INPUT} | {name: FOREIGN + name for name in OUTPUTS})
    before = in_front([value.name for value in graph.input], contract, size)
    after = behind([value.name for value in graph.output], contract, size)
    del graph.input[:], graph.output[:]
    graph.input.append(pixels(own))
    batch: int | str = own.batch or "batch"
    output = own.output
    rows: int | str = output.topk or output.rows or output.count(size) or "rows"
    shapes: dict[str, list[int | str]] = {"boxes": [batch, rows, 4], "scores": [batch, rows]}
    if output.per_class:
        shapes["scores"].append(output.classes)
    else:
        shapes["class_ids"] = [batch, rows]
    for name, shape in shapes.items():
        kind = TensorProto.INT64 if OUTPUTS[name] == "int64" else TensorProto.FLOAT
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*before.constants, *after.constants])
    return model, own


def adopted_contract(contract: GraphContract) -> GraphContract:
    """What a graph takes and gives once it is rewritten."""
    fixed = not contract.input.dynamic or _needs_size(contract)
    taken = InputContract(
        name=INPUT, layout="NHWC", dtype="uint8", scale=1.0, resize=contract.input.resize,
        size=contract.input.size, dynamic=not fixed, multiple=contract.input.multiple,
    )  # fmt: skip
    # Rows that name their image cannot be told apart in a graph.
    batch = 1 if names_images(contract.output) else contract.batch
    return GraphContract(taken, decoded(contract).output, batch)


def pixels(own: GraphContract) -> onnx.ValueInfoProto:
    """The input of a rewritten graph."""
    sides: list[int | str] = ["height", "width"] if own.input.dynamic else [*own.input.size]
    shape = [own.batch or "batch", *sides, 3]
    return helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)


def _modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model at an opset that the new nodes need."""
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset >= OLDEST_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, CONVERTED_OPSET)
    except Exception as error:  # its exceptions share no public base class
        raise ExportError(
            f"the graph has opset {opset}, adopting needs {OLDEST_OPSET} or newer, and onnx cannot "
            f"convert it ({first_line(error)[:200]}); export it again with a "
            "newer opset"
        ) from error


def _needs_size(contract: GraphContract) -> bool:
    output = contract.output
    return bool(output.grid) or output.unit == "fraction" or bool(contract.input.extra)


def in_front(names: Collection[str], contract: GraphContract, size: Size) -> GraphWriter:
    """From uint8 RGB [B, H, W, 3] to the graph's own inputs, of which `names` has the names."""
    writer, taken = GraphWriter(f"{FOREIGN}in/"), contract.input
    pixels = writer.value(INPUT)
    x = pixels
    # Converted first, since TensorRT moves no bytes; channels are exchanged as whole planes.
    if taken.dtype != "uint8":
        x = writer.floats(x)
    if taken.planar:
        x = writer.node("Transpose", x, perm=[0, 3, 1, 2])
    if taken.color == "BGR":
        x = writer.node("Gather", x, np.array([2, 1, 0]), axis=1 if taken.planar else 3)
    if taken.dtype != "uint8":
        axes = (3, 1, 1) if taken.planar else (3,)
        if taken.scale != 1:
            x = x * np.float32(taken.scale)
        if any(taken.mean):
            x = x - np.array(taken.mean, np.float32).reshape(axes)
        if any(one != 1 for one in taken.std):
            x = x / np.array(taken.std, np.float32).reshape(axes)
        if taken.dtype == "float16":
            x = writer.node("Cast", x, to=TensorProto.FLOAT16)
    if taken.layout == "CHW":
        x = writer.node("Squeeze", x, np.array([0], np.int64))
    writer.rename(x, _input_name(names, taken.name))
    for extra in taken.extra:
        one = extra.array(1, size)
        if contract.batch is not None:
            value = writer.node("Identity", np.repeat(one, contract.batch, axis=0))
        else:
            batch = writer.node("Slice", writer.node("Shape", pixels), *_one(0), *_one(1))
            shape = writer.node("Concat", batch, np.array(one.shape[1:], np.int64), axis=0)
            value = writer.node("Expand", one, shape)
        writer.rename(value, _input_name(names, extra.name))
    return writer


def _one(value: int) -> tuple[Any]:
    return (np.array([value], np.int64),)


def _input_name(names: Collection[str], declared: str) -> str:
    return declared if declared in names else FOREIGN + declared


def behind(names: Sequence[str], contract: GraphContract, size: Size) -> GraphWriter:
    """From the graph's own outputs, by their names, to boxes, scores and class ids."""
    writer, output = GraphWriter(f"{FOREIGN}out/"), contract.output
    tensors: dict[str, Node] = {}
    for tensor in output.tensors:
        name = names[tensor.position] if tensor.position is not None else str(tensor.name)
        if name not in names:
            name = FOREIGN + name
        x = _rows(writer, writer.value(name), tensor, contract)
        held = tensors.get(tensor.role)
        tensors[tensor.role] = x if held is None else writer.node("Concat", held, x, axis=1)
    boxes, scores, labels = candidates(tensors, contract, size, writer)
    writer.rename(boxes, "boxes")
    writer.rename(scores, "scores")
    if labels is not None:
        writer.rename(labels, "class_ids")
    return writer


def _rows(writer: GraphWriter, x: Node, tensor: OutputTensor, contract: GraphContract) -> Node:
    """As `conventions.base.roles`: axes in the order [B, N, C] or [B, N]."""
    axes = tensor.axes
    if "1" in axes:
        at = [i for i, axis in enumerate(axes) if axis == "1"]
        x, axes = writer.node("Squeeze", x, np.array(at, np.int64)), axes.replace("1", "")
    if "B" not in axes:
        x, axes = writer.node("Unsqueeze", x, np.array([0], np.int64)), f"B{axes}"
    if axes in ("BNC", "BN"):
        return x
    if axes == "BCN":
        return writer.node("Transpose", x, perm=[0, 2, 1])
    if axes == "B":
        return writer.node("Reshape", x, np.array([-1, 1], np.int64))
    # Maps of cells. K is anchors times columns: [B, K, H, W] -> [B, A, C, HW].
    if "K" in axes:
        boxes = contract.output.grid[tensor.level or 0][1]
        columns = _map_columns(tensor, contract)
        if axes == "BHWK":
            x = writer.node("Transpose", x, perm=[0, 3, 1, 2])
        x = writer.node("Reshape", x, np.array([0, boxes, columns, -1], np.int64))
        x = writer.node("Transpose", x, perm=[0, 1, 3, 2])
    else:
        columns = _map_columns(tensor, contract)
        x = writer.node("Transpose", x, perm=[axes.index(a) for a in "BAHWC" if a in axes])
    return writer.node("Reshape", x, np.array([0, -1, columns], np.int64))


def _map_columns(tensor: OutputTensor, contract: GraphContract) -> int:
    """Columns of one box in a map."""
    output = contract.output
    widths = {"box": 4 * (output.bins or 1), "scores": slots(output)}
    if tensor.role == "packed":
        return sum(widths.get(column, 1) for column in tensor.columns)
    return {"boxes": widths["box"], "scores": widths["scores"]}.get(tensor.role, 1)


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values and nodes everywhere in a graph, in the graphs inside its nodes too."""
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in _nodes(graph):
        node.name = names.get(node.name, node.name)
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _taken(graph: onnx.GraphProto) -> dict[str, str]:
    """New names for values that are called like ours: of a file that was adopted before."""
    names = {name for node in _nodes(graph) for name in (node.name, *node.output)}
    names |= {value.name for value in (*graph.initializer, *graph.input)}
    return {name: f"before/{name}" for name in names if name.startswith(FOREIGN)}


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _nodes(inner)
