"""Where tables and messages go. Nothing that is printed is read as markup: paths hold brackets."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from rich.console import Console
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
