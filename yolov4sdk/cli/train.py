"""`yolov4sdk train`: from a data set to a detector."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import next_steps
from .signature import accepts


def _declared() -> type:
    from train.settings import TrainSettings

    return TrainSettings


@accepts(_declared())
def train(
    data: Annotated[
        str | None,
        typer.Argument(help="data.yaml, COCO JSON, VOC folder, or folder of images and labels."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, bit for bit.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A settings.json; options given here replace its values.")
    ] = None,
    *,
    given: dict[str, Any],
) -> None:
    """Train a detector. Ctrl-C saves and exits; --resume goes on exactly there.

    Start it with torchrun for several GPUs.
    """
    from train.environment import patient_threads

    patient_threads()
    from train.main import resume as resume_run
    from train.main import train as start_run
    from train.recipes import settings
    from train.settings import TrainSettings

    if data is not None:
        given["data"] = data
    if resume is not None:
        if config is not None:
            raise typer.BadParameter("--resume takes its settings from the run; leave out --config")
        output, position = resume, resume_run(resume, given)
    else:
        made = settings(None if config is None else TrainSettings.read(config), **given)
        output, position = Path(made.output), start_run(made)
    if not position.finished:  # exit code 130: it was interrupted
        raise typer.Exit(130)
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes one speaks
        model = str(output / "last.safetensors")
        next_steps(("detect", "photo.jpg", "-m", model), ("export", model))
