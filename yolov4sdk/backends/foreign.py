"""A foreign detector run as it is: its declaration decodes the outputs, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..contract.onnx_graph import read_onnx_graph
from ..contract.spec import ModelInfo, ModelSpec
from ..conventions.coco import NAMES
from ..conventions.sidecars import declaration_of
from ..errors import NamesError, SettingError

Names = Sequence[str] | Literal["coco"]


def foreign_spec(path: Path, convention: str, names: Names | None = None) -> ModelSpec:
    """The spec of a foreign ONNX file under a declaration.

    Args:
        path: an .onnx file.
        convention: name of a declaration, or a YAML or JSON file with one.
        names: class names; "coco" is COCO's 80; None takes the file's own, or numbers.

    Raises:
        SettingError: another kind of file, or an unknown convention.
        SpecError: the declaration does not fit the file.
        NamesError: names that are not as many as the classes.
    """
    if path.suffix.lower() != ".onnx":
        raise SettingError(f"a convention is for .onnx files, {path.name} is none")
    given = NAMES if names == "coco" else None if names is None else tuple(names)
    declared, known = declaration_of(path, read_onnx_graph(path), convention, given)
    classes = declared.contract.output.classes
    known = known or tuple(f"class{i}" for i in range(classes))
    if len(known) != classes:
        raise NamesError(f"{len(known)} class names for {classes} classes of {path.name}")
    info = ModelInfo(
        f"foreign:{declared.row.name}", known, train_size=max(declared.contract.input.size)
    )
    return ModelSpec.of(info, declared.contract)
