"""Where tables and messages go. Nothing that is printed is read as markup: paths hold brackets."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

WIDTH = 130


def wide_console() -> Console:
    """Standard output as it is; files and pipes get lines wide enough for a table of figures."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False)


def messages() -> Console:
    """Standard error, for what is said beside the results; lines are not broken."""
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def failed(console: Console, reason: object) -> None:
    """Say what could not be used; the reason names it."""
    console.print(Text.assemble(("failed", "red"), f" {reason}"))


def print_json(value: Any) -> None:
    """A line of JSON on standard output, escaped where its encoding lacks the letters."""
    unicode = (sys.stdout.encoding or "ascii").lower().startswith("utf")
    typer.echo(json.dumps(value, ensure_ascii=not unicode))


def any_encoding() -> None:
    """Let letters that the terminal lacks be escaped; they would end the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """ "1 image", "2 images", "1,000 boxes"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """ "0.3 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size_of(count: int) -> str:
    """Bytes in decimal units, as disks are sold: "870 B", "12.3 MB", "1.24 GB"."""
    for unit, digits, factor in (("GB", 2, 1e9), ("MB", 1, 1e6), ("kB", 1, 1e3)):
        if count >= factor:
            return f"{count / factor:.{digits}f} {unit}"
    return f"{count} B"


def next_steps(*commands: tuple[str, ...]) -> None:
    """Say on standard error which commands usually follow."""
    for i, words in enumerate(commands):
        start = "next: " if i == 0 else "      "
        typer.echo(f"{start}{shlex.join(['yolov4sdk', *words])}", err=True)


class _Rate(ProgressColumn):
    """Steps a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """See `ProgressColumn`."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g} {self._unit}/s", style="cyan")


def progress_bar(unit: str, console: Console | None = None) -> Progress:
    """A bar with count, rate and time left, which all have room in 80 columns; gone at the end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console or messages(),
        transient=True,
    )
