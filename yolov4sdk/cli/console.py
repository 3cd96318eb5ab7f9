"""Where tables go."""

from __future__ import annotations

import sys

from rich.console import Console

WIDTH = 130


def wide_console() -> Console:
    """The terminal as it is; files and pipes get lines wide enough for a table of figures."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)
