"""The ModelSpec of any artefact, without loading its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..contract.safetensors_header import check_file
from ..contract.spec import ModelSpec
from ..errors import ArtefactNotFoundError, ForeignFileError, YOLOv4Error
from .runtimes import listed, readers, suffixes

DEFAULT_MODEL: Final = "default.onnx"


@contextmanager
def default_model() -> Iterator[Path]:
    """The path of the embedded default model, inside the block.

    Raises:
        ArtefactNotFoundError: this build has none.
    """
    from importlib.resources import as_file, files  # slow to import, needed only here

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
    fitting = readers(path.suffix)
    if not fitting:
        raise ForeignFileError(
            f"{path.name}: {path.suffix!r} is not an artefact of this SDK; it reads "
            f"{listed(suffixes())}, and converts .pt with `yolov4sdk import`"
        )
    return fitting[0].reads[path.suffix.lower()](path)


def is_artefact(path: Path) -> bool:
    """Whether a file is a model that this program wrote."""
    try:
        read_spec(path)
    except (YOLOv4Error, OSError):
        return False
    return True
