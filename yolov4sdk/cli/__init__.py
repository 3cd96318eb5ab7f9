"""The `yolov4sdk` command.

Exit codes: 0 done; 1 done, but some inputs failed, or a check did not hold; 2 an error in words;
130 interrupted.
"""

from __future__ import annotations

import os
import sys

import typer

from ..errors import YOLOv4Error
from ..system.files import printable
from .commands import Commands
from .console import any_encoding

app: typer.Typer = typer.Typer(
    name="yolov4sdk",
    help="Scaled-YOLOv4 detectors from training to production.",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__  # looked up when it is asked for

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Scaled-YOLOv4 detectors from training to production."""


def main() -> None:
    """Run the command; our errors become one message on stderr and exit code 2."""
    any_encoding()
    try:
        app()
    except YOLOv4Error as error:
        typer.secho(f"error: {printable(error)}", fg="red", err=True)
        sys.exit(2)
    except BrokenPipeError:  # `| head` has read enough; Python would complain at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        reason = f"{error.filename} cannot be read or written: {error.strerror}"
        typer.secho(f"error: {printable(reason)}", fg="red", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
