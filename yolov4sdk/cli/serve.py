"""`yolov4sdk serve`: the REST service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..backends import TABLE
from ..errors import SettingError
from .signature import completion


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Artefacts, PATH or NAME=PATH. Default: the embedded model."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    host: Annotated[str | None, typer.Option(help="Address; 0.0.0.0 for all.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; default 8000.")] = None,
    backend: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(TABLE)}.", autocompletion=completion(TABLE)),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda; cuda:0,cuda:1 for several.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder that models may be loaded from at run time.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a batch; default 8.")] = None,
    batch_delay: Annotated[
        float | None, typer.Option(help="Seconds a batch waits for more images.")
    ] = None,
    queue_length: Annotated[int | None, typer.Option(help="Images waiting at most.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds an image may wait.")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or text.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting: --set max_pixels=20000000."),
    ] = None,
) -> None:
    """Serve models over HTTP. Every setting can also stand in the environment (YOLOV4SDK_...)."""
    flags: dict[str, Any] = {
        "models": tuple(models) if models else None, "host": host, "port": port,
        "backend": backend, "device": device, "precision": precision, "models_dir": models_dir,
        "batch_size": batch_size, "batch_delay": batch_delay, "queue_length": queue_length,
        "deadline": deadline, "log_format": log_format,
    }  # fmt: skip
    flags = {name: value for name, value in flags.items() if value is not None}
    for entry in more or []:
        name, equals, value = entry.partition("=")
        if not equals:
            raise SettingError(f"--set takes NAME=VALUE, got {entry!r}")
        flags[name.strip().replace("-", "_")] = value.strip()
    if config is not None:
        os.environ["YOLOV4SDK_CONFIG"] = str(config)
    from serve.server import run
    from serve.settings import load_settings

    if code := run(load_settings(**flags)):
        raise typer.Exit(code)
