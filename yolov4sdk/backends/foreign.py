"""A foreign detector run as it is: its declaration decodes the outputs, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..contract.onnx_graph import GraphFacts, read_onnx_graph
from ..contract.spec import ModelInfo, ModelSpec
from ..conventions.coco import NAMES
from ..conventions.declaration import Declared, declare
from ..conventions.sidecars import declaration_of
from ..errors import NamesError, SettingError
from .spec_readers import openvino_facts

Names = Sequence[str] | Literal["coco"]


def foreign_spec(path: Path, convention: str, names: Names | None = None) -> ModelSpec:
    """The spec of a foreign ONNX or OpenVINO file under a declaration.

    Args:
        path: an .onnx or .xml file.
        convention: name of a declaration, or a YAML or JSON file with one.
        names: class names; "coco" is COCO's 80; None takes the file's own, or numbers.

    Raises:
        SettingError: another kind of file, or an unknown convention.
        SpecError: the declaration does not fit the file.
        NamesError: names that are not as many as the classes.
    """
    given = _given(names)
    declared, known = declaration_of(path, graph_facts(path), convention, given)
    return _spec(path.name, declared, known)


def remote_spec(
    name: str, facts: GraphFacts, convention: str, names: Names | None = None
) -> ModelSpec:
    """As `foreign_spec`, of a model elsewhere of which only inputs and outputs are known."""
    given = _given(names)
    declared = declare(facts, name, convention, classes=None if given is None else len(given))
    return _spec(name, declared, given)


def graph_facts(path: Path) -> GraphFacts:
    """Inputs, outputs and metadata of an .onnx or .xml file.

    Raises:
        SettingError: another kind of file.
        ArtefactError: the file cannot be read.
        MissingExtraError: an .xml file, and OpenVINO is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return read_onnx_graph(path)
    if suffix == ".xml":
        return openvino_facts(path)
    raise SettingError(f"a convention is for .onnx and .xml files, not for {path.name}")


def _given(names: Names | None) -> tuple[str, ...] | None:
    return NAMES if names == "coco" else None if names is None else tuple(names)


def _spec(name: str, declared: Declared, known: tuple[str, ...] | None) -> ModelSpec:
    classes = declared.contract.output.classes
    known = known or tuple(f"class{i}" for i in range(classes))
    if len(known) != classes:
        raise NamesError(f"{len(known)} class names for {classes} classes of {name}")
    info = ModelInfo(
        f"foreign:{declared.row.name}", known, train_size=max(declared.contract.input.size)
    )
    return ModelSpec.of(info, declared.contract)
