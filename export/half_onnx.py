"""A float32 ONNX graph in float16 or bfloat16, its decoding left in float32.

The graph states its own precision, as strongly typed engines want it. Whatever a convolution
depends on, and the convolutions, becomes half; what comes after the last ones is the decoding,
where float16 would know a coordinate of 1000 px to half a pixel only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.errors import ExportError, MissingExtraError, SettingError

try:
    import onnx_ir as ir
except ImportError as error:
    raise MissingExtraError("Converting ONNX files", "export", error.name) from error

TYPES: Final = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
FLOAT: Final = ir.DataType.FLOAT
KEEP: Final = {"Resize": (1, 2)}
"""Inputs that are float32 by ONNX's definition: region and scales."""


def convert_onnx(source: Path, target: Path, precision: str) -> ModelSpec:
    """Write a copy of an ONNX file in another precision.

    Args:
        source: float32, of this SDK; or int8, whose float parts become half ones. Its scales
            do too, as strongly typed engines want it.
        target: written directly; the caller makes it atomic.
        precision: "fp16" or "bf16"; an int8 graph takes only "fp16" and stays "int8" by its spec.

    Returns:
        The spec in the copy.

    Raises:
        SettingError: the source is not float32.
        ExportError: a weight is too large for float16; the message names it.
    """
    model = ir.load(source)
    spec = ModelSpec.from_json(model.metadata_props[METADATA_KEY])
    quantised = spec.precision == "int8" and precision == "fp16"
    if spec.precision != "fp32" and not quantised:
        raise SettingError(
            f"{source.name} is {spec.precision}, only float32 graphs are converted to {precision}; "
            f"leave --precision out, or export the .safetensors file"
        )
    _convert(model.graph, TYPES[precision])
    model.graph.sort()
    if quantised:  # half scales came with opset 19; nothing else in these graphs changed from 18
        model.graph.opset_imports[""] = max(19, model.graph.opset_imports[""])
    else:
        spec = spec.replace(precision=precision)
    model.metadata_props[METADATA_KEY] = spec.to_json()
    ir.save(model, target)
    return spec


def round_onnx(source: Path, target: Path, precision: str = "bf16") -> None:
    """Write a copy that computes in float32 on values rounded to "bf16" or "fp16".

    It says what an engine of that precision says, up to the order of its sums, and runs
    everywhere: weights and the result of every operator of the network go through half precision
    and back.
    """
    dtype = TYPES[precision]
    model = ir.load(source)
    graph = model.graph
    half = _before_convolutions(graph)
    for node in [node for node in graph if node in half]:
        for index, value in enumerate(node.inputs):
            weights = None if value is None else value.const_value
            if weights is not None and weights.dtype == FLOAT and not _kept(node, index):
                assert value is not None
                rounded = weights.numpy().astype(dtype.numpy()).astype(np.float32)
                value.const_value = ir.tensor(rounded, name=value.name)
        for output in node.outputs:
            if output.dtype == FLOAT and node.op_type != "Constant":
                uses = list(output.uses())
                down = cast_to(output, dtype, f"{output.name}.rounded")
                up = cast_to(down.outputs[0], FLOAT, f"{output.name}.single")
                graph.insert_after(node, [down, up])
                for use in uses:
                    use.node.replace_input_with(use.idx, up.outputs[0])
    model.graph.sort()
    ir.save(model, target)


def _convert(graph: ir.Graph, dtype: ir.DataType) -> None:
    half = _before_convolutions(graph)
    copies: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        if node not in half:
            continue
        for index, value in enumerate(node.inputs):
            if value is None or value.dtype != FLOAT or _kept(node, index):
                continue
            if value.producer() is None:
                if value not in copies:
                    copies[value] = _half_source(graph, value, dtype)
                node.replace_input_with(index, copies[value])
        if node.op_type == "Cast" and node.attributes["to"].as_int() == FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", int(dtype))
        for output in node.outputs:
            if output.dtype == FLOAT:
                output.type = ir.TensorType(dtype)
    _back_to_single(graph, half, dtype)
    for value in copies:
        drop_unused(graph, value)


def _kept(node: ir.Node, index: int) -> bool:
    return index in KEEP.get(node.op_type, ())


def _before_convolutions(graph: ir.Graph) -> set[ir.Node]:
    """The convolutions and every node that they depend on."""
    found: set[ir.Node] = set()
    todo = [node for node in graph if node.op_type == "Conv"]
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            producers = (value.producer() for value in node.inputs if value is not None)
            todo.extend(producer for producer in producers if producer is not None)
    return found


def half_weight(
    graph: ir.Graph,
    value: ir.Value,
    dtype: ir.DataType,
    remedy: str = "use --precision fp32 or bf16",
) -> ir.Value:
    """A copy of a weight as half, in the graph.

    Raises:
        ExportError: it is too large for float16; the message names it and ends in the remedy.
    """
    assert value.const_value is not None
    weights = value.const_value.numpy()
    largest = float(np.abs(weights).max(initial=0))
    if dtype == ir.DataType.FLOAT16 and largest > float(np.finfo(np.float16).max):
        raise ExportError(f"{value.name} holds {largest:.3g}, past the 65504 of float16; {remedy}")
    name = f"{value.name}.half"
    made = ir.val(name, const_value=ir.tensor(weights.astype(dtype.numpy()), name=name))
    graph.register_initializer(made)
    return made


def _half_source(graph: ir.Graph, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    """A weight as half, or the graph's input with a Cast behind it."""
    if value.const_value is not None:
        return half_weight(graph, value, dtype)
    cast = cast_to(value, dtype, f"{value.name}.half")
    graph.insert_before(graph[0], cast)
    return cast.outputs[0]


def _back_to_single(graph: ir.Graph, half: set[ir.Node], dtype: ir.DataType) -> None:
    """Cast to float32 where a half value leaves the network."""
    for node in list(graph):
        if node not in half:
            continue
        for output in node.outputs:
            leaving = [use for use in output.uses() if use.node not in half]
            if output.dtype != dtype or not (leaving or output.is_graph_output()):
                continue
            cast = cast_to(output, FLOAT, f"{output.name}.single")
            graph.insert_after(node, cast)
            for use in leaving:
                use.node.replace_input_with(use.idx, cast.outputs[0])
            for index, result in enumerate(graph.outputs):
                if result is output:
                    graph.outputs[index] = cast.outputs[0]


def drop_unused(graph: ir.Graph, value: ir.Value) -> None:
    """Take a weight that nothing reads any more out of the graph."""
    if value.is_initializer() and not value.uses():
        assert value.name is not None
        del graph.initializers[value.name]


def cast_to(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    """A Cast, still outside the graph; its output has this name."""
    node = ir.node("Cast", [value], {"to": int(dtype)}, name=f"node_{name}")
    node.outputs[0].name = name
    node.outputs[0].type, node.outputs[0].shape = ir.TensorType(dtype), value.shape
    return node
