"""Darknet's [reorg] in ONNX, for maps of any size.

The trace keeps it as one operator of the same shapes, SpaceToDepth, which nothing else here
becomes. Afterwards it is written out: before, the tracer would take the sizes of one map for
constants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset18

import yolov4sdk.models.darknet.reorg  # noqa: F401  (defines the operator)

op: Any = opset18  # its methods are typed for eager arrays, not for symbolic values
PLACEHOLDER: Final = "SpaceToDepth"

REORG: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    torch.ops.yolov4sdk.reorg_mixed.default: lambda x, step: op.SpaceToDepth(x, blocksize=step),
}
"""For torch.onnx.export's custom_translation_table."""


def expand_reorg(model: ir.Model) -> int:
    """Write every [reorg] out in place; return how many there were."""
    nodes = [node for node in model.graph if node.op_type == PLACEHOLDER]
    for node in nodes:
        _replace(model.graph, node)
    return len(nodes)


def _replace(graph: ir.Graph, node: ir.Node) -> None:
    """As `reorg_mixed`: [B, C, H, W] is read as [B, C/s^2, H, s, W, s], cells become channels."""
    old, x, step = node.outputs[0], node.inputs[0], node.attributes["blocksize"].as_int()
    assert x is not None and old.name is not None
    new: list[ir.Node] = []

    def build(
        op_type: str, *inputs: ir.Value, dtype: ir.DataType | None = None, **attributes: Any
    ) -> ir.Value:
        made = ir.node(op_type, inputs, attributes, name=f"{node.name}_{len(new)}")
        value = made.outputs[0]
        value.name = f"{old.name}.{len(new)}"
        value.type = ir.TensorType(dtype or ir.DataType.INT64)
        new.append(made)
        return value

    def number(name: str, n: int) -> ir.Value:
        name = f"{old.name}.{name}"
        value = ir.val(name, const_value=ir.tensor(np.array([n], np.int64), name=name))
        graph.register_initializer(value)
        return value

    side, square, dtype = number("side", step), number("square", step**2), x.dtype
    b, c, h, w = (build("Shape", x, start=i, end=i + 1) for i in range(4))
    cells = build("Concat", b, build("Div", c, square), h, side, w, side, axis=0)
    split = build("Reshape", x, cells, dtype=dtype)
    turned = build("Transpose", split, dtype=dtype, perm=[0, 3, 5, 1, 2, 4])
    rows, columns = build("Div", h, side), build("Div", w, side)
    shape = build("Concat", b, build("Mul", c, square), rows, columns, axis=0)
    result = build("Reshape", turned, shape, dtype=dtype)
    result.shape = old.shape
    ir.convenience.replace_nodes_and_values(graph, node, [node], new, [old], [result])
