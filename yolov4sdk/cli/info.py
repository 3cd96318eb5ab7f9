"""`yolov4sdk info FILE`: what an artefact says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..backends.artefacts import read_spec


def info(
    file: Annotated[Path, typer.Argument(help="A .safetensors, .onnx or .xml file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Print the ModelSpec inside a model file; no runtime is loaded for it."""
    spec = read_spec(file)
    if as_json:
        typer.echo(spec.to_json())
        return
    fields: dict[str, Any] = json.loads(spec.to_json())
    if not isinstance(spec.architecture, str):
        fields["architecture"] = "a definition of its own (see --json)"
    table = Table(title=str(file), show_header=False)
    for name, value in fields.items():
        match value:
            case dict():
                text = "\n".join(f"{k}: {v}" for k, v in value.items())
            case list() if name == "names":
                text = f"{len(value)}: {', '.join(value)}"
            case list() if name == "anchors":
                text = " | ".join(" ".join(f"{w:g},{h:g}" for w, h in lv) for lv in value)
            case list():
                text = " ".join(map(str, value))
            case None:
                text = "any" if name == "batch" else "-"
            case _:
                text = str(value)
        table.add_row(name, text)
    Console(markup=False).print(table)
