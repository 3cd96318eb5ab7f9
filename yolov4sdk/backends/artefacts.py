"""The ModelSpec of any artefact, without loading its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..contract.onnx_header import read_onnx_spec
from ..contract.safetensors_header import check_file, read_header, spec_of
from ..contract.spec import ModelSpec
from ..errors import ArtefactNotFoundError, ForeignFileError, SpecError, YOLOv4Error
from ..system.openvino_runtime import load_openvino, openvino_core

DEFAULT_MODEL: Final = "default.onnx"


@contextmanager
def default_model() -> Iterator[Path]:
    """The path of the embedded default model, inside the block.

    Raises:
        ArtefactNotFoundError: this build has none.
    """
    from importlib.resources import as_file, files  # slow to import, needed here alone

    resource = files("yolov4sdk") / "assets" / DEFAULT_MODEL
    if not resource.is_file():
        raise ArtefactNotFoundError(
            'this build has no embedded default model; give one: Detector("model.onnx")'
        )
    with as_file(resource) as path:
        yield Path(path)


def read_spec(path: str | Path) -> ModelSpec:
    """Read the spec inside a .safetensors, .onnx or .xml file, or beside an .engine file.

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
        case ".engine":
            return _engine_spec(path)
    raise ForeignFileError(
        f"{path.name}: {path.suffix!r} is no artefact of this SDK; it reads .safetensors, .onnx, "
        ".xml and .engine, and converts .pt with `yolov4sdk import`"
    )


def _openvino_spec(path: Path) -> ModelSpec:
    load_openvino("Reading OpenVINO files")
    from .openvino_backend import spec_of_graph

    try:
        with openvino_core() as core:
            graph = core.read_model(path)
    except RuntimeError as error:
        raise ForeignFileError(f"{path} is no OpenVINO model, or its .bin is missing") from error
    return spec_of_graph(graph, path)


def _engine_spec(path: Path) -> ModelSpec:
    from ..tensorrt.sidecar import read_sidecar, sidecar_path

    sidecar = read_sidecar(path)
    if sidecar is None:
        raise SpecError(f"{path} has no {sidecar_path(path).name} beside it, which says what it is")
    return sidecar.spec


def is_artefact(path: Path) -> bool:
    """Whether a file is a model that this program wrote."""
    try:
        read_spec(path)
    except (YOLOv4Error, OSError):
        return False
    return True
