"""The ModelSpec of any artefact, without loading its weights."""

from __future__ import annotations

from pathlib import Path

from .errors import ForeignFileError, MissingExtraError
from .onnx_header import read_onnx_spec
from .safetensors_header import check_file, read_header, spec_of
from .spec import ModelSpec


def read_spec(path: str | Path) -> ModelSpec:
    """Read the spec inside a .safetensors, .onnx or .xml file.

    Raises:
        ArtefactError: missing, empty, truncated or foreign file, no or a wrong spec.
        MissingExtraError: a .xml file, and OpenVINO is not installed.
    """
    path = check_file(path)
    match path.suffix.lower():
        case ".safetensors":
            return spec_of(read_header(path), path)
        case ".onnx":
            return read_onnx_spec(path)
        case ".xml":
            return _openvino_spec(path)
    raise ForeignFileError(
        f"{path.name}: {path.suffix!r} is no artefact of this SDK; it reads .safetensors, .onnx "
        "and .xml, and converts .pt with `yolov4sdk import`"
    )


def _openvino_spec(path: Path) -> ModelSpec:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("Reading OpenVINO files", "openvino", "openvino") from error
    from .backends.openvino_backend import spec_of_graph

    try:
        graph = openvino.Core().read_model(path)
    except RuntimeError as error:
        raise ForeignFileError(f"{path} is no OpenVINO model, or its .bin is missing") from error
    return spec_of_graph(graph, path)
