"""`yolov4sdk detect --ray`: many images on many machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from rich.progress import Progress

from .console import messages


def detect_ray(
    sources: list[str],
    model: str | None,
    output: Path,
    format: str,
    partition: int,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    """Run the job with a bar of its partitions; exit code 1 where images failed."""
    from ..cluster.ray_job import detect_with_ray

    with Progress(console=messages(), transient=True) as bar:
        task = bar.add_task("partitions", total=None)
        summary = detect_with_ray(
            sources, output, model=model, format=format, partition=partition,
            progress=lambda done, total: bar.update(task, completed=done, total=total), **options,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(summary.to_dict()))
    else:
        typer.echo(
            f"{summary.images} images, {summary.failed} of them failed, {summary.partitions} "
            f"partitions ({summary.skipped} finished before) in {output}"
        )
    if summary.failed:
        raise typer.Exit(1)
