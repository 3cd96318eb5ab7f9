"""ONNX files made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolov4sdk import ModelSpec
from yolov4sdk.contract.spec import METADATA_KEY


def constant_graph(
    path: Path, spec: ModelSpec, outputs: Mapping[str, np.ndarray], inputs: Mapping[str, Any]
) -> Path:
    """An ONNX file that takes `inputs` (name to (type, shape)) and always gives `outputs`."""
    import onnx
    from onnx import helper

    tensors = [onnx.numpy_helper.from_array(a, f"{name}_value") for name, a in outputs.items()]
    nodes = [helper.make_node("Identity", [f"{name}_value"], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in outputs.items()
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path


def suppressed_graph(path: Path) -> Path:
    """A graph with suppression inside ("nms") that leaves two boxes of one class which overlap by
    0.6, and an unused row; it takes float32 [b, 3, 64, 64].
    """
    import onnx

    spec = ModelSpec(
        "unknown", ("ant",), (32,), (((8.0, 8.0),),), input_size=(64, 64), dynamic_size=False,
        batch=1, outputs="nms", topk=3,
    )  # fmt: skip
    boxes = np.array([[[0, 0, 40, 40], [10, 0, 50, 40], [0, 0, 0, 0]]], np.float32)
    outputs = {
        "boxes": boxes,
        "scores": np.array([[0.9, 0.8, 0]], np.float32),
        "class_ids": np.zeros((1, 3), np.int64),
    }
    inputs = {"images": (onnx.TensorProto.FLOAT, [1, 3, 64, 64])}
    return constant_graph(path, spec, outputs, inputs)
