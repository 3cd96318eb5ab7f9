"""`yolov4sdk serve`: the REST service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import SettingError
from .signature import accepts


def _declared() -> type:
    from serve.options import ServiceOptions

    return ServiceOptions


@accepts(_declared())
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Artefacts, PATH or NAME=PATH. Default: the embedded model."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting by name, keys too: --set max_pixels=20000000."),
    ] = None,
    *,
    given: dict[str, Any],
) -> None:
    """Serve models over HTTP. Every setting can also stand in the environment (YOLOV4SDK_...)."""
    flags = given | ({"models": tuple(models)} if models else {})
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
