"""`yolov4sdk val`: the accuracy of a model on labelled images."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ..backends import load_backend
from ..backends.tta import augmented
from ..datasets import load_dataset
from ..errors import SettingError
from ..measure.classes import parse_map
from ..measure.diagnosis import diagnose
from ..measure.evaluation import EvaluationResult, evaluate, print_result
from ..measure.metrics import coco_results
from ..measure.pictures import plot_predictions
from ..measure.plots import EVALUATION_FILES, new_figure, plot_evaluation
from ..measure.report import write_report
from ..system.files import atomic_write, check_new_files
from .console import messages, progress_bar
from .declared import Looking, Reporting, Running
from .signature import accepts, taken

_PREDICTIONS: Final = "predictions.jpg"


@accepts(Running, Reporting, Looking, without=("classes", "agnostic", "tiles"), batch=16)
def val(
    model: Annotated[Path, typer.Argument(help="A .safetensors, .onnx, .xml or .engine file.")],
    data: Annotated[
        Path, typer.Argument(help="data.yaml, COCO JSON, VOC folder or folder of images.")
    ],
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "val",
    conf: Annotated[float, typer.Option(help="Least score of a detection.")] = 0.001,
    iou: Annotated[
        float | None, typer.Option(help="Overlap above which the lesser box goes (0.65).")
    ] = None,
    square: Annotated[
        bool, typer.Option("--square", help="Square canvases instead of the smallest ones.")
    ] = False,
    scaled_decode: Annotated[
        bool,
        typer.Option("--scaled-decode", help="Decode large JPEGs at a fraction of the size."),
    ] = False,
    renamed: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="A class by the model's name and the data's: 'potted plant=pottedplant'."
        ),
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for PR, F1, confusion and prediction pictures.")
    ] = None,
    detections: Annotated[
        Path | None, typer.Option(help="Write all detections as JSON, like a COCO results file.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write one HTML file: figures, curves, tables, worst misses."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    *,
    given: dict[str, Any],
) -> None:
    """Measure COCO's mAP of a model, on any backend, under the authors' protocol."""
    _check_outputs(detections, plots, report)
    size, tta = given.pop("size", None), given.pop("tta", False)
    with load_backend(model, **taken(given, Running)) as loaded:
        dataset = load_dataset(data, split)
        runner = augmented(loaded) if tta else loaded
        console = messages()
        console.print(f"{data} {split}: {dataset.report.summary()}", highlight=False)
        with progress_bar("image", console) as progress:
            task = progress.add_task(f"evaluating on {runner.name}", total=len(dataset))
            result = evaluate(
                runner, dataset, size=size, rectangular=not square, conf=conf, iou=iou,
                scaled_decode=scaled_decode, class_map=parse_map(renamed or []),
                progress=lambda done, _: progress.update(task, completed=done), **given,
            )  # fmt: skip
    for note in result.notes:
        console.print(f"note: {note}", style="yellow", soft_wrap=True, markup=False)
    diagnosis = diagnose(result)
    if detections is not None:
        write_detections(result, detections)
    if plots is not None:
        plot_evaluation(result, plots)
        plot_predictions(result.dataset, result.predictions, plots / _PREDICTIONS)
    if report is not None:
        write_report(result, report, f"{model.name} on {data}, {split}", diagnosis)
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
    else:
        print_result(result)
    console.print(diagnosis.paragraph(), soft_wrap=True, markup=False, highlight=False)


def _check_outputs(detections: Path | None, plots: Path | None, report: Path | None) -> None:
    """See that the files of a run can be written before it starts.

    Raises:
        SettingError: a file is there already, or has a suffix that is not written.
        MissingExtraError: matplotlib is needed and not installed.
    """
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise SettingError(f"--report writes an .html file, got {report}")
    if plots is not None or report is not None:
        new_figure(1, 1)
    pictures = [plots / name for name in (*EVALUATION_FILES, _PREDICTIONS)] if plots else []
    check_new_files([path for path in (detections, report, *pictures) if path is not None])


def write_detections(result: EvaluationResult, path: Path) -> None:
    """Write a COCO results file: a list of image_id, bbox [x, y, w, h], score and category_id.

    The ids of a COCO data set are its own, so that pycocotools compares the file with it. In other
    forms images go by their file's name (by their path, where names repeat) and categories by the
    class id. Classes that a COCO file does not have are left out.
    """
    dataset = result.dataset
    images = dataset.image_ids or _image_names(dataset.images)
    categories = dataset.category_ids or {name: i for i, name in enumerate(dataset.names)}
    entries = [
        {
            "image_id": images[int(i)],
            "bbox": box,
            "score": score,
            "category_id": categories[dataset.names[int(c)]],
        }
        for i, *box, score, c in coco_results(result.predictions).tolist()
        if dataset.names[int(c)] in categories
    ]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(entries))


def _image_names(paths: Sequence[Path]) -> list[str]:
    """The files' names; where two are alike, all paths from the folder that holds all images."""
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    absolute = [path.absolute() for path in paths]
    top = os.path.commonpath([path.parent for path in absolute])
    return [path.relative_to(top).as_posix() for path in absolute]
