"""The pictures of a finished run: its curves, and what its model makes of the validation images."""

from __future__ import annotations

from pathlib import Path

from train.job import Job
from train.loader import TrainLoader
from train.plots_data import plot_batch, plot_evaluation, plot_labels, plot_predictions
from train.run import RunFolder
from train.validate import validate
from yolov4sdk.errors import MissingExtraError
from yolov4sdk.models import Model
from yolov4sdk.system.files import atomic_write

_PANELS = (
    ("losses", ("box", "objectness", "classes")),
    ("validation", ("map50_95", "map50", "map75")),
    ("learning rate", ("lr",)),
    ("IoU ratio of the objectness target", ("iou_ratio",)),
)


def plot_curves(rows: list[dict[str, str]], path: Path) -> None:
    """Draw losses, mAP, learning rate and IoU ratio over the epochs of results.csv.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("Plotting", "plot", "matplotlib") from None
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
        for name in names:
            points = [(int(r["epoch"]), float(r[name])) for r in rows if r[name]]
            axes.plot(*zip(*points, strict=True), label=name) if points else None
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        if len(names) > 1 and axes.lines:
            axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def plot_run(job: Job, run: RunFolder) -> list[str]:
    """Write all pictures of a run into its `plots` folder; returns lines to show.

    The run is over by then, so a missing matplotlib is reported, not raised.
    """
    folder = run.path / "plots"
    settings = job.settings
    try:
        plot_curves(run.results(), folder / "curves.png")
        plot_labels(job.train_set.dataset, folder / "labels.png")
        first = next(TrainLoader(job.train_set, job.local_batch, settings.seed).epoch(0))
        plot_batch(first, job.train_set.dataset.names, folder / "batch.jpg")
        if job.val is not None:
            model = job.parts.ema.model
            assert isinstance(model, Model)
            result = validate(model, job.val, settings.size, job.local_batch, job.device)
            plot_evaluation(result, folder)
            plot_predictions(job.val, result.predictions, folder / "predictions.jpg")
    except MissingExtraError as error:
        return [f"no plots: {error}"]
    return [f"plots: {folder}"]
