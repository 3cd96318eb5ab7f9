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
    """The edges of the rectangle have the class's colour."""
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


def test_evaluation(dataset: DetectionDataset, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    def nothing(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(images), 1, 4), np.float32), np.zeros((len(images), 1, 2), np.float32)

    paths = plot_evaluation(evaluate(nothing, dataset, size=64), tmp_path / "plots")
    assert [path.name for path in paths] == ["pr.png", "f1.png", "confusion.png"]
    assert all(cv2.imread(str(path)) is not None for path in paths)
    assert "matplotlib.pyplot" not in sys.modules
