"""`yolov4sdk export --engine triton`: a model repository."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer

from ..backends.artefacts import default_model


def export_triton(
    model: Path | None,
    output: Path | None,
    runtimes: str,
    plan: Path | None,
    graph: dict[str, Any],
    serving: dict[str, Any],
    as_json: bool,
) -> None:
    """Write the repository and say how it is served.

    Args:
        model: None is the embedded default.
        graph: fields of `ExportOptions`.
        serving: fields of `TritonOptions`.
    """
    from export.options import ExportOptions
    from export.triton_config import TritonOptions
    from export.triton_repository import write_repository

    default = ExportOptions()
    chosen = {key: value for key, value in graph.items() if value != getattr(default, key)}
    if graph["nms"]:
        chosen |= {key: serving[key] for key in ("conf", "iou", "max_det")}
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
            **chosen,
        )
    if as_json:
        typer.echo(json.dumps(made.to_dict()))
        return
    typer.echo(f"{made.path}: {made.ensemble} (image -> boxes), {', '.join(made.networks)}")
    typer.echo(f"serve it:  tritonserver --model-repository {made.path.resolve()}")
    typer.echo(f'ask it:    Detector("triton://localhost:8001/{made.ensemble}")')
