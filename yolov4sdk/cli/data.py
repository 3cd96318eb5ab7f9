"""`yolov4sdk data`: look at a data set before training on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, get_args

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..datasets import (
    DatasetReport,
    DetectionDataset,
    check_splits,
    find_splits,
    load_dataset,
    write_dataset,
)
from ..datasets.write import Form
from ..errors import SettingError
from ..measure.pictures import plot_samples
from ..measure.plots import label_figure, new_figure, save
from ..system.files import check_new_files, check_new_folder
from .console import print_json
from .signature import completion

_PICTURES: Final = ("labels.png", "samples.jpg")

data_app: typer.Typer = typer.Typer(
    help="Look at data sets, convert and cut them.", no_args_is_help=True
)


@data_app.callback()
def _data() -> None:
    """Look at data sets, convert and cut them."""


@data_app.command("check")
def check(
    data: Annotated[
        Path, typer.Argument(help="data.yaml, COCO JSON, VOC folder or folder of images.")
    ],
    splits: Annotated[
        str, typer.Option("--split", help="Splits to read, comma-separated.")
    ] = "train,val",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the pictures; none without it."),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every image, not only its header (slow).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Read a data set, say what was repaired or dropped, and draw it.

    Exit code 1: it can be used, but images are missing or corrupt.
    """
    names = [split.strip() for split in splits.split(",")]
    if output is not None:
        new_figure(1, 1)  # whether matplotlib is there
        pictures = [f"{split}-{name}" for split in names for name in _PICTURES]
        check_new_files([output / name for name in pictures])
    read = [load_dataset(data, split) for split in names]
    if {"train", "val"} <= set(names):
        check_splits(read[names.index("train")], read[names.index("val")])
    if decode:
        for dataset in read:
            decode_all(dataset)
    if output is not None:
        for dataset in read:
            labels, samples = (output / f"{dataset.split}-{name}" for name in _PICTURES)
            save(label_figure(dataset), labels)
            plot_samples(dataset, samples)
    if as_json:
        reports = {d.split: d.report.to_dict() | {"sha256": d.sha256()} for d in read}
        print_json(reports)
    else:
        console = Console(markup=False)
        for dataset in read:
            print_report(dataset.split, dataset.report, console)
        if output is not None:
            console.print(f"pictures are in {output}")
    if any(_lost_images(d.report) for d in read):
        raise typer.Exit(1)


@data_app.command("convert")
def convert(
    source: Annotated[
        Path, typer.Argument(help="data.yaml, COCO JSON, VOC folder or folder of images.")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format", help="yolo, coco or voc.", autocompletion=completion(get_args(Form))
        ),
    ],
    target: Annotated[Path | None, typer.Argument(help="A new folder; or name it by -o.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A new folder.")] = None,
    splits: Annotated[
        str | None,
        typer.Option("--split", help="Splits, comma-separated; NEW=OLD renames: train=trainval."),
    ] = None,
    images: Annotated[
        str, typer.Option(help="How the image files come there: copy, symlink or hardlink.")
    ] = "copy",
) -> None:
    """Write a data set in another form. Labels are repaired as in training; see `data check`.

    Exit code 1: it was converted, but images were missing or corrupt and are left out.
    """
    target = _target(target, output)
    wanted = splits.split(",") if splits else find_splits(source)
    renamed = [split.partition("=") for split in wanted]
    pairs = [(new.strip(), old.strip() or new.strip()) for new, _, old in renamed]
    read = [replace(load_dataset(source, old), split=new) for new, old in pairs]
    notes = write_dataset(read, target, form, images)  # type: ignore[arg-type]
    console = Console(markup=False)
    for dataset in read:
        console.print(Text.assemble((dataset.split, "bold"), f": {dataset.report.summary()}"))
        notes = [*dataset.report.notes, *notes]
    for note in dict.fromkeys(notes):
        console.print(f"note: {note}", style="yellow", soft_wrap=True, markup=False)
    console.print(f"{form} data set in {target}", highlight=False, soft_wrap=True)
    if any(_lost_images(d.report) for d in read):
        raise typer.Exit(1)


def _target(argument: Path | None, option: Path | None) -> Path:
    """The new folder, named in one of the two ways."""
    if (argument is None) == (option is None):
        raise SettingError("name one new folder for the result: as the second argument, or by -o")
    target = argument or option
    assert target is not None
    check_new_folder(target)
    return target


def _lost_images(report: DatasetReport) -> int:
    return report.missing_images + report.corrupt_images + report.wrong_sizes


@data_app.command("crops")
def crops(
    data: Annotated[
        Path, typer.Argument(help="data.yaml, COCO JSON, VOC folder or folder of images.")
    ],
    target: Annotated[Path | None, typer.Argument(help="A new folder; or name it by -o.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A new folder.")] = None,
    splits: Annotated[str, typer.Option("--split", help="Splits, comma-separated.")] = "train,val",
    margin: Annotated[float, typer.Option(help="Added on each side, of the box's.")] = 0.1,
    min_side: Annotated[int, typer.Option(help="Least pixels of a box's shorter side.")] = 32,
    per_class: Annotated[
        int | None, typer.Option(help="Crops of a class in a split at most; default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice among them.")] = 0,
) -> None:
    """Cut the boxes out as images, one folder a class, as `train-backbone` takes them."""
    from ..datasets.crops import write_crops

    target = _target(target, output)
    read = [load_dataset(data, split.strip()) for split in splits.split(",")]
    counts = write_crops(
        read, target, margin=margin, min_side=min_side, per_class=per_class, seed=seed
    )
    table = Table("class", *counts)
    for name in read[0].names:
        table.add_row(name, *(str(found[name]) for found in counts.values()))
    Console(markup=False).print(table)


def decode_all(dataset: DetectionDataset) -> None:
    """Decode every image; those that fail are added to the report's corrupt ones."""
    from concurrent.futures import ThreadPoolExecutor

    from ..errors import ImageError
    from ..imaging.images import read_image

    def broken(index: int) -> bool:
        try:
            shape = read_image(dataset.images[index]).shape
        except ImageError:
            return True
        return shape[:2] != tuple(dataset.sizes[index].tolist())

    with ThreadPoolExecutor() as pool:
        for path, failed in zip(dataset.images, pool.map(broken, range(len(dataset))), strict=True):
            dataset.report.count("corrupt_images", path, int(failed))


def print_report(title: str, report: DatasetReport, console: Console) -> None:
    """The counts as tables, the first files of each kind of trouble, and the notes."""
    console.print(Text.assemble((title, "bold"), f": {report.summary()}"))
    table = Table("class", "boxes")
    for name, count in report.class_counts.items():
        table.add_row(name, str(count), style="" if count else "yellow")
    console.print(table)
    for kind, count in report.troubles.items():
        files = report.files.get(kind, [])
        console.print(f"{count} {kind.replace('_', ' ')}, such as:", style="yellow")
        for file in files[:3]:
            console.print(f"  {file}", highlight=False, soft_wrap=True, markup=False)
    for note in report.notes:
        console.print(f"note: {note}", style="yellow", soft_wrap=True, markup=False)
