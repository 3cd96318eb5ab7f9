"""Which model files the service loads, and under which names."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from yolov4sdk.backends.artefacts import read_spec
from yolov4sdk.contract.protobuf import BYTES, fields
from yolov4sdk.errors import (
    ForeignFileError,
    SettingError,
    YOLOv4Error,
)

from .problems import Problem

DEFAULT_NAME: Final = "default"
NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"


def named_models(models: Sequence[str]) -> dict[str, Path | None]:
    """Names and paths of the setting `models`; without any, the embedded model (None).

    Raises:
        SettingError: a name twice, or one that no URL can hold.
    """
    import re

    named: dict[str, Path | None] = {}
    for entry in models:
        name, equals, path = entry.partition("=")
        if not equals:
            name, path = Path(entry).stem, entry
        if not re.match(NAME, name):
            raise SettingError(f"{name!r} is not a name for a model; letters, digits, . _ - are")
        if name in named:
            raise SettingError(f'two models are named {name!r}; say "other={path}"')
        named[name] = Path(path)
    return named or {DEFAULT_NAME: None}


def served_file(folder: Path | None, file: str) -> Path:
    """The path of a model file that a client names, inside the folder of models.

    Raises:
        Problem: 403 no folder is configured; 422 not a file of the folder.
    """
    if folder is None:
        raise Problem(403, "Loading is off", "no folder of models is configured")
    refused = Problem(422, "No such file", "expected the name of a model file in the folder")
    root = folder.resolve()
    if "\0" in file or not file or Path(file).is_absolute() or ".." in Path(file).parts:
        raise refused
    try:
        path = (root / file).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise refused
    except (OSError, RuntimeError, ValueError):  # a name too long, a loop of links
        raise refused from None
    return path


def check_artefact(path: Path) -> None:
    """Refuse, before a runtime sees it, what is not an artefact, or one that names other files.

    Raises:
        ArtefactError: with its reason.
    """
    try:
        read_spec(path)
        external = path.suffix.lower() == ".onnx" and _has_external_data(path)
    except YOLOv4Error:
        raise
    except Exception as error:  # whatever a reader meets in a file that was made to break it
        raise ForeignFileError(
            f"{path.name} cannot be read as a model ({type(error).__name__}); export it again"
        ) from error
    if external:
        raise ForeignFileError(
            f"{path.name} keeps its weights in other files, which it names itself; a served model "
            "is one file: export it again"
        )


# Fields of ONNX's protobuf that lead to tensors: message, field number -> message.
_CHILDREN: Final = {
    ("model", 7): "graph", ("model", 25): "function",
    ("graph", 1): "node", ("graph", 5): "tensor", ("graph", 15): "sparse",
    ("function", 7): "node", ("node", 5): "attribute",
    ("attribute", 5): "tensor", ("attribute", 10): "tensor", ("attribute", 6): "graph",
    ("attribute", 11): "graph", ("attribute", 22): "sparse", ("attribute", 23): "sparse",
    ("sparse", 1): "tensor", ("sparse", 2): "tensor",
}  # fmt: skip
_EXTERNAL: Final = (13, 14)  # TensorProto: external_data, data_location
_DEPTH: Final = 64


def _has_external_data(path: Path) -> bool:
    with path.open("rb") as file:
        return any(_external(file, path.stat().st_size, "model", 0))


def _external(file: io.BufferedReader, end: int, kind: str, depth: int) -> Iterator[bool]:
    if depth > _DEPTH:
        raise ForeignFileError("the ONNX file is nested too deeply")
    for field in fields(file, end, "the ONNX file"):
        if kind == "tensor" and field.number in _EXTERNAL:
            yield True
        if field.wire == BYTES and (child := _CHILDREN.get((kind, field.number))):
            yield from _external(file, field.end, child, depth + 1)
