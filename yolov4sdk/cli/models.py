"""`yolov4sdk models`: the built-in models."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """List the built-in models with parameters, GFLOPs (2 x multiply-add) and strides."""
    from ..models.summary import summaries

    rows = summaries()
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("model", "parameters", "GFLOPs", "size", "strides", "anchors a level")
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['parameters']:,}",
            f"{row['gflops']:.1f}",
            str(row["size"]),
            " ".join(map(str, row["strides"])),
            str(row["anchors_per_level"]),
        )
    for column in (1, 2, 3):
        table.columns[column].justify = "right"
    Console().print(table)
