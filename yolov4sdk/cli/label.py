"""`yolov4sdk label`: a data set from what a model finds, to correct and to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..datasets import write_dataset
from ..datasets.labelling import as_datasets
from ..detections import Detections
from ..detector import Detector
from ..errors import ImageError, SettingError
from ..imaging.sources import search
from ..system.classes import resolve_classes, resolve_conf
from ..system.files import check_new_folder, printable
from .console import failed, messages, progress_bar
from .declared import Looking, Reporting, Running
from .signature import accepts


@accepts(Running, Reporting, Looking, conf=0.4)
def label(
    sources: Annotated[list[str], typer.Argument(help="Images, folders or globs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.")],
    model: Annotated[
        Path | None, typer.Option("-m", "--model", help="Default: the embedded model.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="yolo, coco or voc.")] = "yolo",
    val: Annotated[float, typer.Option(help="Part of the images for validation.")] = 0.2,
    soft: Annotated[
        bool,
        typer.Option(
            "--soft",
            help="Write scores too (YOLO), and boxes down to half of --conf as not to be judged.",
        ),
    ] = False,
    images: Annotated[
        str, typer.Option(help="How the image files come there: copy, symlink or hardlink.")
    ] = "copy",
    *,
    given: dict[str, Any],
) -> None:
    """Label images with a model: a data set that `data check` and `train` read.

    Exit code 1: it was written, but broken images are left out.
    """
    check_new_folder(output)
    images_found = search(sources)
    least, wanted = given["conf"], given.get("classes")
    if soft and form != "yolo":
        raise SettingError(f"--soft writes scores, which {form} labels cannot hold; use yolo")
    detector = Detector(model, **{**given, "conf": _halved(least) if soft else least})
    names = detector.names
    if wanted is not None:
        names = tuple(names[i] for i in dict.fromkeys(resolve_classes(wanted, names)))
    console = messages()
    found: list[tuple[Path, Detections]] = []
    broken = [f"{path} cannot be read: {why}" for path, why in images_found.unreadable.items()]
    with detector, progress_bar("image", console) as progress:
        task = progress.add_task("labelling", total=len(images_found.files))
        for path, _, result in detector.detect_each(images_found.files, on_error="keep"):
            progress.advance(task)
            if isinstance(result, ImageError):
                broken.append(str(result))
            else:
                found.append((path, result))
    splits = as_datasets(found, names, val, _certain(least, names) if soft else None)
    write_dataset(splits, output, form, images)  # type: ignore[arg-type]
    for dataset in splits:
        console.print(f"{dataset.split}: {dataset.report.summary()}")
    console.print(f"{form} data set in {printable(output)}")
    for note in images_found.notes():
        console.print(printable(note))
    for reason in broken:
        failed(console, printable(reason))
    if broken:
        raise typer.Exit(1)


_Thresholds = float | dict[str | int, float]


def _halved(conf: _Thresholds) -> _Thresholds:
    return {k: v / 2 for k, v in conf.items()} if isinstance(conf, dict) else conf / 2


def _certain(conf: _Thresholds, names: tuple[str, ...]) -> Callable[[str], float]:
    """The threshold of a class by its name."""
    table = np.broadcast_to(resolve_conf(conf, names), len(names))
    return lambda name: float(table[names.index(name)])
