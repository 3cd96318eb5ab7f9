"""The `yolov4sdk` command.

Exit codes: 0 done; 1 done, but some inputs failed, or a check did not hold; 2 an error in words;
130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from ..errors import YOLOv4Error
from ..system.files import printable
from .adopt import adopt
from .benchmark import benchmark
from .console import any_encoding
from .data import data_app
from .detect import detect
from .doctor import doctor
from .export import export
from .import_model import import_model
from .info import info
from .label import label
from .models import models
from .serve import serve
from .train import train
from .train_backbone import train_backbone
from .val import val
from .verify import verify

app = typer.Typer(
    name="yolov4sdk",
    help="Scaled-YOLOv4 detectors from training to production.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "detect": detect,
    "label": label,
    "import": import_model,
    "adopt": adopt,
    "export": export,
    "train": train,
    "train-backbone": train_backbone,
    "val": val,
    "verify": verify,
    "benchmark": benchmark,
    "serve": serve,
    "models": models,
    "info": info,
    "doctor": doctor,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(data_app, name="data")


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
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
