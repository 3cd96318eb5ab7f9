"""`yolov4sdk init`: an empty data set to put images and labels into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from ..errors import NamesError, OutputError
from ..system.files import atomic_write, printable
from .console import next_steps

DATA: Final = """\
# A data set for yolov4sdk. Put the images into images/train and images/val: about one in five into
# val, and no image, nor another frame of its video, into both.
path: .                  # the folders below are in the folder of this file
train: images/train
val: images/val

# For images/train/a.jpg the boxes stand in labels/train/a.txt, a line each:
#     class x y width height
# class is a number of the list below; x and y are the centre of the box. All four are parts of the
# image's width and height, 0 to 1. An image without objects has an empty file.
names:
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where; it may exist.")] = Path("dataset"),
    names: Annotated[
        str, typer.Option(help="Class names, comma-separated; they get the ids 0, 1, ...")
    ] = "cat,dog",
) -> None:
    """Write the folders of a data set and a data.yaml with comments. Nothing is overwritten."""
    listed = [name.strip() for name in names.split(",")]
    if "" in listed or len(set(listed)) < len(listed):
        raise NamesError(f"--names takes different names, separated by commas, got {names!r}")
    file = folder / "data.yaml"
    if file.exists():
        raise OutputError(f"{file} exists already; choose another folder")
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
    # JSON's strings are YAML's too, whatever the name holds.
    lines = [f"  {i}: {json.dumps(name, ensure_ascii=False)}\n" for i, name in enumerate(listed)]
    with atomic_write(file) as temporary:
        temporary.write_text(DATA + "".join(lines), encoding="utf-8")
    typer.echo(
        printable(f"{file}: put images into {folder}/images and their boxes into {folder}/labels")
    )
    next_steps(
        ("label", "photos", "-o", f"{folder}-labelled"),
        ("data", "check", str(file)),
        ("train", str(file)),
    )
