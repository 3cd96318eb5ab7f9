"""The figures of the check, written into the file that was checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import quoteattr

from yolov4sdk.contract.onnx_header import copy_with_metadata
from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec

if TYPE_CHECKING:
    from .check import Check

FIGURES: Final = "check"
"""Key of a spec's provenance."""


def with_figures(spec: ModelSpec, checks: Sequence[Check]) -> ModelSpec:
    """The spec with the largest errors of the file and of the source in its provenance."""
    if not checks:
        return spec
    return spec.replace(provenance={**spec.provenance, FIGURES: figures(checks)})


def figures(checks: Sequence[Check]) -> str:
    """Both figures in a sentence: largest errors of the file, and of the source itself."""
    found = [check.agreement for check in checks]
    said = (
        f"largest error: boxes {max(a.boxes_max for a in found):.2g}, "
        f"scores {max(a.scores_max for a in found):.2g}"
    )
    own = [check.rounding for check in checks if check.rounding is not None]
    if own:
        said += (
            f"; rounding of the source itself, against {checks[0].against}: "
            f"boxes {max(a.boxes_max for a in own):.2g}, "
            f"scores {max(a.scores_max for a in own):.2g}"
        )
    return said


def record(path: Path, spec: ModelSpec, checks: Sequence[Check]) -> None:
    """Exchange the spec in an ONNX or OpenVINO file for one with the figures.

    Args:
        path: .onnx or .xml, written here a moment ago.
        spec: what the file carries.
        checks: of this file.
    """
    labelled = with_figures(spec, checks)
    copy = path.with_name(f"{path.name}.labelled")
    if path.suffix == ".onnx":
        copy_with_metadata(path, copy, METADATA_KEY, labelled.to_json())
    else:
        old, new = (quoteattr(s.to_json(), {'"': "&quot;"})[1:-1] for s in (spec, labelled))
        text = path.read_text(encoding="utf-8")
        if old not in text:  # it may be there twice: OpenVINO keeps ONNX's metadata too
            raise AssertionError(f"{path.name} does not hold the spec that was written into it")
        copy.write_text(text.replace(old, new), encoding="utf-8")
    copy.replace(path)
