"""`yolov4sdk info FILE`: what an artefact says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from ..backends.artefacts import read_spec
from .console import print_json

FIELDS: Final = (
    "architecture", "names", "strides", "anchors", "decoding", "input_size", "dynamic_size",
    "batch", "input_form", "outputs", "topk", "precision", "train_size", "provenance",
)  # fmt: skip


def info(
    file: Annotated[Path, typer.Argument(help="A .safetensors, .onnx, .xml or .engine file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Print the ModelSpec inside a model file; no runtime is loaded for it."""
    spec = read_spec(file)
    whole: dict[str, Any] = json.loads(spec.to_json())
    shown = {name: getattr(spec, name) for name in FIELDS}
    fields: dict[str, Any] = {**shown, **whole["model"]}
    if as_json:  # the contract says in full what input_form and outputs name
        print_json({"format_version": whole["format_version"], **fields,
                    "contract": whole["contract"]})  # fmt: skip
        return
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
            case list() | tuple():
                text = " ".join(map(str, value))
            case None:
                text = "any" if name == "batch" else "-"
            case _:
                text = str(value)
        table.add_row(name, text)
    Console(markup=False).print(table)
