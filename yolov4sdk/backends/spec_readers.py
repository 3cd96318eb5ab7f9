"""The ModelSpec of a file, a function for each kind that has no header of its own room."""

from __future__ import annotations

from pathlib import Path

from ..contract.safetensors_header import read_header, spec_of
from ..contract.spec import ModelSpec
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
    load_openvino("Reading OpenVINO files")
    from .openvino_backend import spec_of_graph

    try:
        with openvino_core() as core:
            graph = core.read_model(path)
    except RuntimeError as error:
        raise ForeignFileError(f"{path} is no OpenVINO model, or its .bin is missing") from error
    return spec_of_graph(graph, path)


def engine_spec(path: Path) -> ModelSpec:
    """Of an .engine file, which stands beside it."""
    from ..tensorrt.sidecar import read_sidecar, sidecar_path

    sidecar = read_sidecar(path)
    if sidecar is None:
        raise SpecError(f"{path} has no {sidecar_path(path).name} beside it, which says what it is")
    return sidecar.spec
