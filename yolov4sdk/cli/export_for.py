"""`yolov4sdk export --for`: a detector as another program reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import typer

from ..errors import SettingError
from .console import counted

OPTIONS: Final = ("size", "conf", "iou", "max_det")


def export_for(
    model: Path | None,
    consumer: str,
    engine: str,
    output: Path | None,
    overwrite: bool,
    given: dict[str, Any],
    as_json: bool,
) -> None:
    """Write the files and show the configuration.

    Args:
        model: None is the embedded default.
        engine: only the usual one: the consumer decides the format.
        given: options of the export; size and thresholds are taken.
    """
    others = [f"--{name.replace('_', '-')}" for name in given if name not in OPTIONS]
    if engine != "onnx":
        others.insert(0, "--engine")
    if others:
        raise SettingError(
            f"with --for the other program decides the form of the file: {', '.join(others)} "
            "cannot be given"
        )
    from export.consumers.write import export_for as write

    made = write(model, consumer, output, overwrite=overwrite, **given)
    if as_json:
        typer.echo(json.dumps(made.to_dict()))
        return
    for file in made.files:
        typer.echo(str(file))
    found = made.agreement
    typer.echo(
        f"decoded by the rules of {made.title}, {counted(found.candidates, 'box', 'boxes')} of a "
        f"photograph agree with the model within {found.box_error:.1g} px and "
        f"{found.score_error:.1g} in scores; {found.detections} of {found.own} are left"
    )
    for note in made.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"\n{made.config}", nl=False)
