"""Plots of a data set, of a run of training and of an evaluation, by matplotlib.

Every function returns a figure apart from pyplot's global state; `save` writes it, whole or not at
all. AP, precision, recall and F1 are on one scale everywhere: 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.errors import MissingExtraError
from yolov4sdk.measure.evaluation import EvaluationResult
from yolov4sdk.system.files import atomic_write

_MANY: Final = 30  # classes; above this their names would not be readable in a matrix
_LEGEND_ROWS: Final = 25
_BARS: Final = 50  # of a histogram
_STYLES: Final = ("-", "--", ":", "-.")

EVALUATION_FILES: Final = ("pr.png", "f1.png", "confusion.png")


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of this size in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("Plotting", "plot", "matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, path: Path) -> None:
    """Write a figure; the suffix sets the format."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def label_figure(dataset: DetectionDataset) -> Any:
    """Boxes of each class, boxes an image, where their centres lie, and how large they are."""
    figure = new_figure(12, 9)
    axes = figure.subplots(2, 2)
    rows = np.concatenate(dataset.boxes)
    counts = dataset.class_counts()
    _class_bars(axes[0, 0], dataset.names, counts)
    per_image = [len(boxes) for boxes in dataset.boxes]
    axes[0, 1].hist(per_image, bins=whole_bins(max(per_image)), color="tab:blue")
    axes[0, 1].set(title="boxes in an image", xlabel="boxes", ylabel="images")
    for part in (axes[0, 1].xaxis, axes[0, 1].yaxis):
        part.get_major_locator().set_params(integer=True, min_n_ticks=1)
    _density(axes[1, 0], rows[:, 1:3], ("centres", "x / width", "y / height"))
    axes[1, 0].invert_yaxis()
    _density(axes[1, 1], rows[:, 3:5], ("sizes", "box width / width", "box height / height"))
    figure.suptitle(f"{dataset.split}: {dataset.report.summary()}", wrap=True)
    return figure


def whole_bins(largest: int) -> NDArray[np.float64]:
    """Edges of bars for whole numbers 0 to `largest`, each as many numbers wide as any other.

    Bars of 1.7 numbers would hold now one and now two of them: holes that are not in the data.
    """
    width = -(-(largest + 1) // _BARS)
    return np.arange(0, largest + 1 + width, width, dtype=np.float64) - 0.5


def _class_bars(axes: Any, names: Sequence[str], counts: NDArray[np.int64]) -> None:
    if len(names) <= _MANY:
        axes.barh(range(len(names)), counts, color="tab:blue")
        axes.set_yticks(range(len(names)), [_cut(name) for name in names])
        axes.invert_yaxis()
        for number, count in enumerate(counts.tolist()):
            axes.annotate(str(count), (count, number), (3, 0), textcoords="offset points",
                          va="center", fontsize=8)  # fmt: skip
        axes.margins(x=0.12)
        axes.set(title="boxes of each class", xlabel="boxes")
    else:
        axes.bar(range(len(names)), np.sort(counts)[::-1], color="tab:blue", width=1.0)
        axes.set(title=f"boxes of each of {len(names)} classes", xlabel="rank", ylabel="boxes")


def _density(axes: Any, points: NDArray[np.float32], texts: tuple[str, str, str]) -> None:
    """Points in the unit square, white where there is none."""
    from matplotlib.colors import LogNorm

    axes.set(title=texts[0], xlabel=texts[1], ylabel=texts[2], xlim=(0, 1), ylim=(0, 1))
    if not len(points):
        return
    *_, image = axes.hist2d(
        points[:, 0], points[:, 1], bins=40, range=[[0, 1], [0, 1]], cmap="viridis_r",
        norm=LogNorm(vmin=1), cmin=1,
    )  # fmt: skip
    bar = axes.figure.colorbar(image, ax=axes, label="boxes", format="%d")
    bar.ax.minorticks_off()
    largest = int(image.get_array().max())
    bar.set_ticks(sorted({1, round(largest**0.5), largest}))


def curve_figure(
    rows: Sequence[Mapping[str, str]], panels: Sequence[tuple[str, Mapping[str, str], bool]]
) -> Any:
    """Columns of a table over its column "epoch", in four panels.

    Args:
        rows: of the table; a column may be empty in some.
        panels: title, name of each column in the legend, and whether the scale is 0 to 1.
    """
    figure = new_figure(11, 7)
    for axes, (title, names, share) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for column, name in names.items():
            points = [(int(row["epoch"]), float(row[column])) for row in rows if row[column]]
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, label=name, marker="o" if len(points) == 1 else None)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if share:
            axes.set_ylim(0, 1.01)
        axes.grid(alpha=0.3)
        if len(names) > 1 and axes.lines:
            axes.legend()
    return figure


def evaluation_figures(result: EvaluationResult) -> list[Any]:
    """Precision over recall, F1 over confidence, and the confusion matrix."""
    recall = np.linspace(0, 1, result.coco.precision.shape[1])
    curves, best = result.curves, result.curves.best
    return [
        _class_curves(
            result.names, recall, result.coco.precision, result.coco.class_ap50,
            ("recall", "precision at IoU 0.5", "AP50"),
        ),
        _class_curves(
            result.names, curves.confidence, curves.f1, curves.f1[:, best],
            ("confidence", "F1 at IoU 0.5", f"F1 at {curves.confidence[best]:.2f}"),
        ),
        _confusion_figure(result),
    ]  # fmt: skip


def plot_evaluation(result: EvaluationResult, folder: Path) -> list[Path]:
    """`evaluation_figures` as the files EVALUATION_FILES of a folder.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    paths = [folder / name for name in EVALUATION_FILES]
    for figure, path in zip(evaluation_figures(result), paths, strict=True):
        save(figure, path)
    return paths


def _class_curves(
    names: Sequence[str],
    x: NDArray[np.float64],
    rows: NDArray[np.float64],
    figures: NDArray[np.float64],
    texts: tuple[str, str, str],
) -> Any:
    """One line a class, best first, and a thick one for their mean; figures stand in the legend."""
    from matplotlib import colormaps

    known = np.flatnonzero(~np.isnan(rows[:, 0]))
    known = known[np.argsort(-figures[known], kind="stable")].tolist()
    columns = -(-(len(known) + 1) // _LEGEND_ROWS)
    figure = new_figure(8 + 2 * columns, 6)
    axes = figure.subplots()
    colors = colormaps["turbo"](np.linspace(0.05, 0.95, max(len(known), 2)))
    for place, c in enumerate(known):
        axes.plot(
            x, rows[c], linewidth=1.2, color=colors[place],
            linestyle=_STYLES[place % len(_STYLES)], label=f"{_cut(names[c])} {figures[c]:.3f}",
        )  # fmt: skip
    if len(known):
        mean = f"mean of {len(known)} {figures[known].mean():.3f}"
        axes.plot(x, rows[known].mean(axis=0), linewidth=3, color="black", label=mean)
        figure.legend(
            title=texts[2], loc="outside right upper", ncols=columns,
            fontsize="small" if columns < 3 else "x-small",
        )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.set(xlabel=texts[0], ylabel=texts[1], xlim=(0, 1), ylim=(0, 1.01))
    return figure


def _confusion_figure(result: EvaluationResult) -> Any:
    """Counts, and the shares of each row's sum as colors and percents."""
    matrix = result.confusion
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    written = len(matrix) <= _MANY
    side = min(5 + 0.55 * len(matrix), 20) if written else 14
    figure = new_figure(side + 1.5, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(image, ax=axes, label="share of the row's sum", shrink=0.8)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if written:
        names = [_cut(name) for name in result.names]
        ticks = range(len(matrix))
        axes.set_xticks(ticks, [*names, "missed"], rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, [*names, "background"])
        for (row, column), number in np.ndenumerate(matrix):
            if number:
                share = shares[row, column]
                axes.text(
                    column, row, f"{number}\n{share:.0%}", ha="center", va="center", fontsize=8,
                    color="white" if share > 0.5 else "black",
                )  # fmt: skip
    axes.set(
        xlabel="detected (missed: labels without a detection)",
        ylabel="labelled (background: detections without a label)",
        title="at confidence 0.25 and IoU 0.45: count, and share of the row",
    )
    return figure


def _cut(name: str, limit: int = 24) -> str:
    """A class name for a legend, without what matplotlib would read as mathematics."""
    text = name.replace("$", r"\$")
    return text if len(text) <= limit else text[: limit - 1] + "…"
