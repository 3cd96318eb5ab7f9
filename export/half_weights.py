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

from yolov4sdk.errors import ExportError

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
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
        values = weight.const_value.numpy()
        if values.size < SMALLEST:
            continue
        largest = float(np.abs(values).max())
        if largest > float(np.finfo(np.float16).max):
            raise ExportError(
                f"{weight.name} holds {largest:.3g}, past the 65504 of float16; leave "
                "half_weights out"
            )
        name = f"{weight.name}.half"
        stored = ir.val(name, const_value=ir.tensor(values.astype(np.float16), name=name))
        graph.register_initializer(stored)
        cast = ir.node("Cast", [stored], {"to": int(FLOAT)}, name=f"node_{name}")
        cast.outputs[0].name = f"{weight.name}.single"
        cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(FLOAT), weight.shape
        graph.insert_before(node, cast)
        node.replace_input_with(1, cast.outputs[0])
        if not weight.uses():
            assert weight.name is not None
            del graph.initializers[weight.name]
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
        del graph.initializers[stored.name]
    ir.save(model, target)


def _stores_half(cast: ir.Node) -> bool:
    value = cast.inputs[0]
    to = cast.attributes["to"].as_int()
    return value is not None and value.is_initializer() and value.dtype == HALF and to == FLOAT
