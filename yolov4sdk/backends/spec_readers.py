"""The ModelSpec of a file, a function for each kind that has no header of its own room."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..contract.onnx_graph import GraphFacts, GraphTensor
from ..contract.safetensors_header import check_file, read_header, spec_of
from ..contract.spec import METADATA_KEY, ModelSpec
from ..errors import ForeignFileError, SpecError
from ..system.openvino_runtime import load_openvino, openvino_core


def native_spec(path: Path) -> ModelSpec:
    """Of a .safetensors file."""
    return spec_of(read_header(path), path)


def openvino_spec(path: Path) -> ModelSpec:
    """Of an .xml file with its .bin.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    from .openvino_backend import spec_of_graph

    return spec_of_graph(read_openvino(path), path)


def read_openvino(path: Path) -> Any:
    """The `openvino.Model` of an .xml file with its .bin.

    Raises:
        ArtefactError: the file cannot be read.
        MissingExtraError: OpenVINO is not installed.
    """
    load_openvino("Reading OpenVINO files")
    check_file(path)
    try:
        with openvino_core() as core:
            return core.read_model(path)
    except RuntimeError as error:
        raise ForeignFileError(f"{path} is no OpenVINO model, or its .bin is missing") from error


def openvino_facts(path: Path) -> GraphFacts:
    """Inputs, outputs and `rt_info/model_info` ("model_info/labels") of an .xml file.

    Raises:
        As `read_openvino`.
    """
    graph = read_openvino(path)

    def told(port: Any) -> GraphTensor:
        shape = port.get_partial_shape()
        if shape.rank.is_dynamic:
            raise ForeignFileError(f"{path}: {port.get_any_name()} has no fixed number of axes")
        sides = tuple(None if side.is_dynamic else side.get_length() for side in shape)
        kind = str(port.get_element_type().to_dtype())
        return GraphTensor(_port_name(port), kind, sides)

    info = graph.get_rt_info(["model_info"]).value if graph.has_rt_info(["model_info"]) else {}
    values = info if isinstance(info, Mapping) else {}
    text = {f"model_info/{key}": str(value) for key, value in values.items()}
    own = {METADATA_KEY: ""} if graph.has_rt_info(METADATA_KEY.split(".")) else {}
    return GraphFacts(
        tuple(map(told, graph.inputs)), tuple(map(told, graph.outputs)), {**text, **own}
    )


def _port_name(port: Any) -> str:
    """Its name, or that of the operator: an output may have none."""
    return str(port.get_any_name() if port.names else port.get_node().get_friendly_name())


def engine_spec(path: Path) -> ModelSpec:
    """Of an .engine file, which stands beside it."""
    from ..tensorrt.sidecar import read_sidecar, sidecar_path

    sidecar = read_sidecar(path)
    if sidecar is None:
        raise SpecError(f"{path} has no {sidecar_path(path).name} beside it, which says what it is")
    return sidecar.spec
