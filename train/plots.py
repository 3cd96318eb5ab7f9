"""The pictures of a finished run: its curves, and what its model makes of the validation images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from train.job import Job
from train.loader import Batch, TrainLoader
from train.run import RunFolder
from train.start import starts_from_default
from train.validate import validate
from yolov4sdk.errors import MissingExtraError
from yolov4sdk.imaging.draw import write_image
from yolov4sdk.measure.diagnosis import Training, diagnose, diagnosis_figure
from yolov4sdk.measure.pictures import colors_of, grid, plot_predictions, tile
from yolov4sdk.measure.plots import curve_figure, label_figure, plot_evaluation, save
from yolov4sdk.models import Model

_PANELS = (
    ("losses", {"box": "box", "objectness": "objectness", "classes": "classes"}, False),
    ("validation", {"map50_95": "AP50-95", "map50": "AP50", "map75": "AP75"}, True),
    ("learning rate", {"lr": "learning rate"}, False),
    ("IoU ratio of the objectness target", {"iou_ratio": "ratio"}, True),
)


def plot_batch(batch: Batch, names: Sequence[str], path: Path, count: int = 16) -> None:
    """A grid of a training batch's pictures as the network gets them, with their targets."""
    targets = batch.targets.numpy()
    tiles = []
    for i, image in enumerate(batch.images.numpy()[:count]):
        height, width = image.shape[1:]
        rows = targets[targets[:, 0] == i]
        half = rows[:, 4:6] / 2
        xyxy = np.concatenate([rows[:, 2:4] - half, rows[:, 2:4] + half], axis=1)
        ids = rows[:, 1].astype(np.int64)
        pixels = np.ascontiguousarray(image[::-1].transpose(1, 2, 0))  # RGB planes -> BGR
        texts = [names[c] for c in ids]
        tiles.append(tile(pixels, xyxy * (width, height, width, height), texts, colors_of(ids)))
    write_image(path, grid(tiles))


def plot_run(job: Job, run: RunFolder) -> list[str]:
    """Write all pictures of a run into its `plots` folder; returns lines to show.

    The first says what holds the model back, where there is a validation split. The run is over by
    then, so a missing matplotlib is reported, not raised.
    """
    folder = run.path / "plots"
    settings = job.settings
    lines: list[str] = []
    try:
        if job.val is not None:
            model = job.parts.ema.model
            assert isinstance(model, Model)
            result = validate(model, job.val, settings.size, job.local_batch, job.device)
            diagnosis = diagnose(result, _training(job, run))
            lines.append(diagnosis.paragraph())
            save(diagnosis_figure(result, diagnosis), folder / "diagnosis.png")
            plot_evaluation(result, folder)
            plot_predictions(job.val, result.predictions, folder / "predictions.jpg")
        save(curve_figure(run.results(), _PANELS), folder / "curves.png")
        save(label_figure(job.train_set.dataset), folder / "labels.png")
        first = next(TrainLoader(job.train_set, job.local_batch, settings.seed).epoch(0))
        plot_batch(first, job.train_set.dataset.names, folder / "batch.jpg")
    except MissingExtraError as error:
        return [*lines, f"no plots: {error}"]
    return [*lines, f"plots: {folder}"]


def _training(job: Job, run: RunFolder) -> Training:
    settings = job.settings
    return Training(
        job.train_set.dataset,
        updates=int(run.results()[-1]["updates"]),
        scratch=not (settings.weights or starts_from_default(settings)),
        epochs=settings.epochs,
    )
