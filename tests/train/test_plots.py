"""The pictures: the right size, the boxes where they belong, no global state."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from train.loader import Batch
from train.plots import plot_batch
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.imaging.draw import PALETTE
from yolov4sdk.measure.evaluation import evaluate
from yolov4sdk.measure.metrics import Prediction
from yolov4sdk.measure.pictures import TILE, plot_predictions, plot_samples
from yolov4sdk.measure.plots import plot_evaluation


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((80, 160, 3), 30, np.uint8))
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.5 0.5")
    return load_dataset(tmp_path)


def assert_box(path: Path, xyxy: tuple[int, int, int, int], class_id: int) -> None:
    """The edges of the rectangle have the class's color."""
    image = cv2.imread(str(path)).astype(int)
    x1, y1, x2, y2 = xyxy
    for y, x in (((y1 + y2) // 2, x1), ((y1 + y2) // 2, x2), (y2, (x1 + x2) // 2)):
        assert np.abs(image[y, x] - PALETTE[class_id]).max() < 8


def test_samples(dataset: DetectionDataset, tmp_path: Path) -> None:
    plot_samples(dataset, tmp_path / "s.png")
    assert_box(tmp_path / "s.png", (80, 120, 240, 200), 1)


def test_predictions(dataset: DetectionDataset, tmp_path: Path) -> None:
    boxes = np.array([[40, 20, 120, 60], [0, 0, 9, 9]], np.float32)
    found = Prediction(boxes, np.array([0.9, 0.1], np.float32), np.array([0, 1]))
    plot_predictions(dataset, [found], tmp_path / "p.png")
    assert_box(tmp_path / "p.png", (80, 120, 240, 200), 0)
    assert (cv2.imread(str(tmp_path / "p.png")) == PALETTE[1]).all(axis=2).sum() == 0


def test_batch(tmp_path: Path) -> None:
    images = torch.full((5, 3, 64, 64), 20, dtype=torch.uint8)
    targets = torch.tensor([[4.0, 0, 0.5, 0.5, 0.5, 0.5]])
    plot_batch(Batch(images, targets, [""] * 5), ["cat"], tmp_path / "b.png")
    # The fifth of a grid of three columns is in the middle of the second row.
    box = (TILE + 80, TILE + 80, TILE + 240, TILE + 240)
    assert_box(tmp_path / "b.png", box, 0)


def test_evaluation(
    dataset: DetectionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # another test's

    def nothing(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(images), 1, 4), np.float32), np.zeros((len(images), 1, 2), np.float32)

    paths = plot_evaluation(evaluate(nothing, dataset, size=64), tmp_path / "plots")
    assert [path.name for path in paths] == ["pr.png", "f1.png", "confusion.png"]
    assert all(cv2.imread(str(path)) is not None for path in paths)
    assert "matplotlib.pyplot" not in sys.modules


def test_bars_hold_as_many_numbers_each() -> None:
    """No false holes: every bar of a histogram of counts stands for the same number of counts."""
    from yolov4sdk.measure.plots import whole_bins

    for largest in (0, 1, 7, 49, 50, 85, 1000):
        edges = whole_bins(largest)
        widths = np.diff(edges)
        assert len(widths) <= 51 and (widths == widths[0]).all()
        assert edges[0] == -0.5 and edges[-1] > largest
        counts, _ = np.histogram(np.arange(largest + 1), edges)
        assert (counts[:-1] == widths[0]).all() and counts.sum() == largest + 1


def axes_of(figure: object) -> list:
    figure.draw_without_rendering()  # type: ignore[attr-defined]
    return figure.axes  # type: ignore[attr-defined]


def test_epochs_are_whole_and_ap_is_on_one_scale() -> None:
    pytest.importorskip("matplotlib")
    from train.plots import _PANELS
    from yolov4sdk.measure.plots import curve_figure

    names = [name for _, columns, _ in _PANELS for name in columns]
    for count in (1, 2, 3):
        rows = [{"epoch": str(e), **dict.fromkeys(names, "0.03")} for e in range(1, count + 1)]
        for axes in axes_of(curve_figure(rows, _PANELS)):
            assert all(float(tick).is_integer() for tick in axes.get_xticks())
        validation = axes_of(curve_figure(rows, _PANELS))[1]
        assert validation.get_ylim() == (0, 1.01)
        assert [t.get_text() for t in validation.get_legend().texts] == ["AP50-95", "AP50", "AP75"]


def test_legend_and_matrix_hold_the_figures(dataset: DetectionDataset) -> None:
    pytest.importorskip("matplotlib")
    from yolov4sdk.measure.plots import evaluation_figures

    def found(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes = np.array([[[24.0, 24, 56, 40]]], np.float32)  # on the label, in the canvas
        return boxes, np.array([[[0.1, 0.9]]], np.float32)

    result = evaluate(found, dataset, size=64)
    precision, _, confusion = evaluation_figures(result)
    assert result.ap50 > 0.99
    precision.draw_without_rendering()
    texts = [text.get_text() for text in precision.legends[0].get_texts()]
    assert texts == ["class1 1.000", "mean of 1 1.000"]
    cells = {text.get_text() for text in confusion.axes[0].texts}
    assert cells == {"1\n100%"}


@pytest.mark.parametrize("classes", [1, 10, 80])
def test_nothing_is_cut_off(classes: int) -> None:
    """Every label, tick and legend lies inside of the picture."""
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from yolov4sdk.measure.plots import _class_curves

    names = [f"a rather long name of a class {i} $x_1$" for i in range(classes)]
    rows = np.linspace(1, 0, 101)[None].repeat(classes, axis=0)
    figure = _class_curves(
        names, np.linspace(0, 1, 101), rows, np.full(classes, 0.5), ("recall", "precision", "AP50")
    )
    FigureCanvasAgg(figure).draw()
    width, height = figure.canvas.get_width_height()
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 * figure.dpi <= width + 1 and box.y1 * figure.dpi <= height + 1
