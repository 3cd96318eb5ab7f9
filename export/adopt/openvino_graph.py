"""A foreign OpenVINO model made into one of ours: two small graphs, joined with it at both ends.

What stands before and behind is written as ONNX by the same functions as for ONNX files, and read
by OpenVINO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper

from yolov4sdk.backends.spec_readers import read_openvino
from yolov4sdk.contract.contract import GraphContract
from yolov4sdk.contract.onnx_graph import GraphFacts, GraphTensor
from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.errors import ExportError
from yolov4sdk.system.openvino_runtime import load_openvino, openvino_core

from .nodes import GraphWriter
from .rewrite import CONVERTED_OPSET, FOREIGN, adopted_contract, behind, in_front, pixels

openvino = load_openvino("Adopting OpenVINO files")
_QUANTISED: Final = {"FakeQuantize", "FakeConvert"}


def is_quantised(path: Path) -> bool:
    """Whether an .xml file computes in eight bits."""
    return any(op.get_type_name() in _QUANTISED for op in read_openvino(path).get_ops())


def rewrite_openvino(
    path: Path, facts: GraphFacts, contract: GraphContract
) -> tuple[Any, GraphContract]:
    """The rewritten model and its contract; see `rewrite.rewrite`.

    Args:
        path: of the .xml file.
        facts: its inputs and outputs.
        contract: what it takes and gives.

    Raises:
        ExportError: OpenVINO refuses what was written.
    """
    own = adopted_contract(contract)
    contract = replace(contract, batch=own.batch)
    model = read_openvino(path)
    try:
        before = _read(_front(facts, contract, own))
        after = _read(_back(facts, contract, own))
        for source, parameter in _pairs(before, facts.inputs, model.get_parameters()):
            _connect(source, parameter)
        results = [result.input_value(0) for result in model.get_results()]
        for source, parameter in zip(results, after.get_parameters(), strict=True):
            _connect(source, parameter)
        joined = openvino.Model(after.get_results(), before.get_parameters(), "adopted")
        joined.validate_nodes_and_infer_types()
    except RuntimeError as error:
        line = str(error).strip().splitlines()[-1]
        raise ExportError(f"OpenVINO cannot join the decoding to {path.name}: {line}") from error
    return joined, own


def save(model: Any, spec: ModelSpec, path: Path) -> None:
    """Write x.xml and x.bin with the spec inside.

    Raises:
        ExportError: OpenVINO cannot write it.
    """
    model.set_rt_info(spec.to_json(), METADATA_KEY.split("."))
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot write {path.name}: {error}") from error


def _connect(source: Any, parameter: Any) -> None:
    """Who reads a parameter reads the source instead."""
    for reader in parameter.output(0).get_target_inputs():
        reader.replace_source_output(source)


def _pairs(before: Any, inputs: Sequence[GraphTensor], parameters: Any) -> list[tuple[Any, Any]]:
    """What each of the model's parameters is read from, and the parameter."""
    made = {
        name: output.get_node().input_value(0) for output in before.outputs for name in output.names
    }
    return [(made[FOREIGN + t.name], p) for t, p in zip(inputs, parameters, strict=True)]


def _front(facts: GraphFacts, contract: GraphContract, own: GraphContract) -> bytes:
    """uint8 RGB pixels to the model's inputs."""
    names = [FOREIGN + tensor.name for tensor in facts.inputs]
    writer = in_front(names, contract, own.input.size)
    return _model(writer, [pixels(own)], [onnx.ValueInfoProto(name=name) for name in names])


def _back(facts: GraphFacts, contract: GraphContract, own: GraphContract) -> bytes:
    """The model's outputs to ours."""
    names = [FOREIGN + tensor.name for tensor in facts.outputs]
    writer = behind(names, contract, own.input.size)
    given = []
    for name, tensor in zip(names, facts.outputs, strict=True):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
        shape = [f"{name}_{i}" if side is None else side for i, side in enumerate(tensor.shape)]
        given.append(helper.make_tensor_value_info(name, kind, shape))
    outputs = ["boxes", "scores", *([] if own.output.per_class else ["class_ids"])]
    return _model(writer, given, [onnx.ValueInfoProto(name=name) for name in outputs])


def _model(writer: GraphWriter, inputs: list[Any], outputs: list[Any]) -> bytes:
    graph = helper.make_graph(writer.nodes, "part", inputs, outputs, writer.constants)
    opset = [helper.make_opsetid("", CONVERTED_OPSET)]
    data: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return data


def _read(data: bytes) -> Any:
    with openvino_core() as core:
        return core.read_model(data)
