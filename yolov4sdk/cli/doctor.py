"""`yolov4sdk doctor`: what is installed, what is missing, and the command that adds it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Tell versions, devices and extras, and what does not go together (exit code 1)."""
    from ..backends import TABLE
    from ..system.environment import report

    found = report(TABLE.values())
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)
    if found["warnings"]:
        raise typer.Exit(1)


def _show(found: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for name, value in {**found["system"], **found["core"]}.items():
        missing = ("missing", "red")
        console.print(Text.assemble(f"{name:26} ", str(value) if value else missing))
    console.print()
    for name, runtime in found["runtimes"].items():
        text = ", ".join(f"{key} {_plain(value)}" for key, value in runtime.items())
        console.print(f"{name:26} {text or '-'}", markup=False)
    table = Table("extra", "state", "what adds it", box=None, pad_edge=False)
    for name, extra in found["extras"].items():
        state = "complete" if extra["complete"] else "lacks " + ", ".join(extra["missing"])
        table.add_row(name, state, "" if extra["complete"] else extra["command"])
    console.print()
    console.print(table)
    for warning in found["warnings"]:
        console.print()
        console.print(f"warning: {warning['problem']}", style="yellow", markup=False)
        console.print(f"  to fix it: {warning['remedy']}", markup=False)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
