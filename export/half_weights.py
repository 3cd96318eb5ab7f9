"""Weights kept in float16 in an ONNX file that computes in float32: half the size.

A Cast stands between each weight and its convolution. Runtimes carry it out once, when they load
the file (ONNX Runtime folds constants, OpenVINO knows it as weight compression), so detecting takes
the time that it took.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from .half_onnx import FLOAT, cast_to, drop_unused, half_weight

HALF: Final = ir.DataType.FLOAT16
SMALLEST: Final = 1024
"""Elements; biases and constants below are left alone."""


def store_half(path: Path) -> None:
    """Rewrite a float32 file with the weights of its convolutions in float16.

    Raises:
        ExportError: a weight is too large for float16; the message names it.
    """
    model = ir.load(path)
    graph = model.graph
    for node in [node for node in graph if node.op_type == "Conv"]:
        weight = node.inputs[1]
        if weight is None or weight.const_value is None or weight.dtype != FLOAT:
            continue
        if weight.const_value.size < SMALLEST:
            continue
        stored = half_weight(graph, weight, HALF, "leave half_weights out")
        cast = cast_to(stored, FLOAT, f"{weight.name}.single")
        graph.insert_before(node, cast)
        node.replace_input_with(1, cast.outputs[0])
        drop_unused(graph, weight)
    ir.save(model, path)


def restore_single(source: Path, target: Path) -> None:
    """Write a copy whose weights are float32 again, as all other conversions want them."""
    model = ir.load(source)
    graph = model.graph
    casts = [node for node in graph if node.op_type == "Cast" and _stores_half(node)]
    if not casts:
        shutil.copyfile(source, target)
        return
    for cast in casts:
        stored, single = cast.inputs[0], cast.outputs[0]
        assert stored is not None and stored.name is not None and stored.const_value is not None
        name = f"{stored.name}.restored"
        values = stored.const_value.numpy().astype(np.float32)
        weight = ir.val(name, const_value=ir.tensor(values, name=name))
        graph.register_initializer(weight)
        single.replace_all_uses_with(weight)
        graph.remove(cast, safe=True)
        drop_unused(graph, stored)
    ir.save(model, target)


def _stores_half(cast: ir.Node) -> bool:
    value = cast.inputs[0]
    to = cast.attributes["to"].as_int()
    return value is not None and value.is_initializer() and value.dtype == HALF and to == FLOAT
