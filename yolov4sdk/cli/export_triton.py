"""`yolov4sdk export --engine triton`: a model repository."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import typer

from ..backends.artefacts import default_model

THRESHOLDS: Final = ("conf", "iou", "max_det")
"""Of the ensemble; with --nms of the graph too."""


def export_triton(
    model: Path | None,
    output: Path | None,
    runtimes: str,
    plan: Path | None,
    given: dict[str, Any],
    as_json: bool,
) -> None:
    """Write the repository and say how it is served.

    Args:
        model: None is the embedded default.
        given: fields of `ExportOptions` and of `TritonOptions`.
    """
    from export.options import TritonOptions
    from export.triton_repository import write_repository

    own = {field.name for field in fields(TritonOptions)}
    serving = {name: value for name, value in given.items() if name in own}
    shared = THRESHOLDS if given.get("nms") else ()
    graph = {name: v for name, v in given.items() if name not in own or name in shared}
    wanted = [runtime.strip() for runtime in runtimes.split(",")]
    if plan is not None and runtimes == "onnx":
        wanted.append("tensorrt")
    with default_model() if model is None else nullcontext(model) as path:
        made = write_repository(
            path,
            output or Path("repository"),
            runtimes=wanted,
            plan=plan,
            options=TritonOptions(**serving),
            **graph,
        )
    if as_json:
        typer.echo(json.dumps(made.to_dict()))
        return
    typer.echo(f"{made.path}: {made.ensemble} (image -> boxes), {', '.join(made.networks)}")
    typer.echo(f"serve it:  tritonserver --model-repository {made.path.resolve()}")
    typer.echo(f'ask it:    Detector("triton://localhost:8001/{made.ensemble}")')
