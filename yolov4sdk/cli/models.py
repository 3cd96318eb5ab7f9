"""`yolov4sdk models`: the built-in models."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

# `yolov4sdk.models.summary` counts these, and a test that they are right; counting needs torch.
FIGURES: Final = (
    ("yolov4-csp-n", 2_396_373, 5.6, 640, (8, 16, 32), 3),
    ("yolov4-csp-s", 9_329_581, 21.2, 640, (8, 16, 32), 3),
    ("yolov4-csp-m", 24_676_485, 53.9, 640, (8, 16, 32), 3),
    ("yolov4-csp", 52_924_765, 120.2, 640, (8, 16, 32), 3),
    ("yolov4-p5", 70_834_012, 326.6, 896, (8, 16, 32), 4),
    ("yolov4-p6", 127_590_576, 717.0, 1280, (8, 16, 32, 64), 4),
    ("yolov4-p7", 287_575_580, 1636.7, 1536, (8, 16, 32, 64, 128), 4),
)
COLUMNS: Final = ("name", "parameters", "gflops", "size", "strides", "anchors_per_level")


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """List the built-in models with parameters, GFLOPs (2 x multiply-add) and strides."""
    rows: list[dict[str, Any]] = [dict(zip(COLUMNS, row, strict=True)) for row in FIGURES]
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
    Console(markup=False).print(table)
