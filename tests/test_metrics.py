"""COCO's figures against pycocotools, curves and confusion against small cases by hand."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov4sdk.datasets import DatasetReport, DetectionDataset
from yolov4sdk.datasets.dataset import tally
from yolov4sdk.measure.metrics import (
    Prediction,
    coco_labels,
    coco_metrics,
    coco_results,
    confidence_curves,
    confusion_matrix,
)

SIZE = 200  # pixels, square images


def dataset_of(
    images: list[list[tuple[float, ...]]], ignored: dict[int, list[tuple[float, ...]]] | None = None
) -> DetectionDataset:
    """Boxes (class, x1, y1, x2, y2) in pixels of 200 x 200 images; three classes."""

    def rows(boxes: list[tuple[float, ...]]) -> np.ndarray:
        raw = np.array(boxes, np.float64).reshape(-1, 5)
        centre, extent = (raw[:, 1:3] + raw[:, 3:]) / 2, raw[:, 3:] - raw[:, 1:3]
        return np.column_stack([raw[:, 0], centre / SIZE, extent / SIZE]).astype(np.float32)

    result = DetectionDataset(
        names=("a", "b", "c"),
        images=[Path(f"{i}.jpg") for i in range(len(images))],
        sizes=np.full((len(images), 2), SIZE, np.int32),
        boxes=[rows(boxes) for boxes in images],
        ignored=[rows((ignored or {}).get(i, [])) for i in range(len(images))],
        report=DatasetReport(),
        split="val",
        source=Path("memory"),
    )
    tally(result, result.report)
    return result


def prediction(*rows: tuple[float, ...]) -> Prediction:
    """Rows (class, score, x1, y1, x2, y2)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    table = table[np.argsort(-table[:, 1], kind="stable")]
    return Prediction(table[:, 2:], table[:, 1], table[:, 0].astype(np.int64))


def random_case(seed: int, images: int = 12) -> tuple[DetectionDataset, list[Prediction]]:
    """Labels, and detections that are jittered labels, wrong classes and noise."""
    rng = np.random.default_rng(seed)
    labels, found = [], []
    crowd = {}
    for image in range(images):
        count = int(rng.integers(0, 8))
        low = rng.uniform(0, 120, (count, 2))
        boxes = np.hstack([low, low + rng.choice([10.0, 40.0, 78.0], (count, 1))])
        ids = rng.integers(0, 2, count)  # class 2 has no labels
        labels.append([(c, *b) for c, b in zip(ids.tolist(), boxes.tolist(), strict=True)])
        if count and rng.random() < 0.5:
            crowd[image] = [labels[-1].pop()]
        around = np.repeat(boxes, 3, axis=0) + rng.normal(0, 4, (3 * count, 4))
        noise = np.hstack([n := rng.uniform(0, 150, (5, 2)), n + 30])
        rows = np.vstack([around, noise]).clip(0, SIZE)
        rows[:, 2:] = np.maximum(rows[:, 2:], rows[:, :2] + 1)
        classes = np.concatenate([np.repeat(ids, 3), rng.integers(0, 3, 5)])
        scores = rng.random(len(rows)).round(2)  # ties too
        found.append(
            prediction(
                *((c, s, *b) for c, s, b in zip(classes, scores, rows.tolist(), strict=True))
            )
        )
    return dataset_of(labels, crowd), found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equal_to_pycocotools(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    dataset, found = random_case(seed)
    if dataset.report.boxes == 0:
        return
    ours = coco_metrics(dataset, found)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = coco_labels(dataset)
        truth.createIndex()
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(coco_results(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    theirs = np.where(evaluation.stats < 0, np.nan, evaluation.stats)
    figures = [ours.ap, ours.ap50, ours.ap75, ours.ap_small, ours.ap_medium, ours.ap_large]
    np.testing.assert_allclose([*figures, ours.ar100], theirs[[0, 1, 2, 3, 4, 5, 8]], atol=1e-9)
    per_class = np.where(evaluation.eval["precision"] < 0, np.nan, evaluation.eval["precision"])
    expected = per_class[:, :, :, 0, -1].mean(axis=(0, 1))
    np.testing.assert_allclose(ours.class_ap, expected, atol=1e-9)
    assert np.isnan(ours.class_ap[2])


def test_no_detections_are_zero_not_an_error() -> None:
    metrics = coco_metrics(dataset_of([[(0, 10, 10, 50, 50)]]), [prediction()])
    assert metrics.ap == metrics.ap50 == metrics.ar100 == 0
    assert np.isnan(metrics.ap_small) and np.isnan(metrics.class_ap[1])


def test_no_labels_are_nan() -> None:
    metrics = coco_metrics(dataset_of([[]]), [prediction((0, 0.9, 10, 10, 50, 50))])
    assert np.isnan(metrics.ap) and np.isnan(metrics.ar100)


def test_perfect_detections() -> None:
    labels = [(0, 10, 10, 50, 50), (1, 60, 60, 190, 190)]
    found = prediction((0, 0.9, 10, 10, 50, 50), (1, 0.4, 60, 60, 190, 190))
    metrics = coco_metrics(dataset_of([labels]), [found])
    assert metrics.ap == pytest.approx(1) and metrics.ap_medium == metrics.ap_large == 1


def test_only_the_hundred_best_of_a_class_are_passed_on() -> None:
    rows = [(c, 0.9 - 0.001 * i, 1, 1, 9, 9) for i in range(150) for c in (0, 1)]
    passed = coco_results([prediction(*rows)])
    assert [(passed[:, 6] == c).sum() for c in (0, 1)] == [100, 100]
    assert passed[:, 5].min() == pytest.approx(0.9 - 0.099, abs=1e-6)


def test_curves_by_hand() -> None:
    dataset = dataset_of([[(0, 10, 10, 50, 50), (0, 100, 100, 150, 150)], []])
    found = [
        prediction(
            (0, 0.9, 10, 10, 50, 50),
            (0, 0.8, 11, 11, 50, 50),  # a second on the same box: wrong
            (0, 0.6, 100, 100, 150, 150),
        ),
        prediction((0, 0.5, 0, 0, 30, 30), (1, 0.99, 0, 0, 30, 30)),
    ]
    curves = confidence_curves(dataset, found)

    def at(confidence: float) -> tuple[float, float]:
        i = int(np.searchsorted(curves.confidence, confidence))
        return curves.precision[0, i], curves.recall[0, i]

    assert at(0.0) == (pytest.approx(2 / 4), 1.0)
    assert at(0.55) == (pytest.approx(2 / 3), 1.0)
    assert at(0.7) == (pytest.approx(1 / 2), 0.5)
    assert at(0.85) == (1.0, 0.5)
    assert at(0.95) == (1.0, 0.0)
    assert curves.f1[0, curves.best] == pytest.approx(0.8)
    assert np.isnan(curves.f1[1]).all()


def test_curves_excuse_detections_on_ignored_boxes() -> None:
    dataset = dataset_of([[(0, 10, 10, 50, 50)]], {0: [(0, 100, 100, 200, 200)]})
    found = prediction(
        (0, 0.9, 10, 10, 50, 50),
        (0, 0.9, 110, 110, 130, 130),  # inside the crowd
        (1, 0.9, 110, 110, 130, 130),  # the crowd is of another class
    )
    curves = confidence_curves(dataset, [found])
    assert curves.precision[0, 100] == 1.0


def test_confusion_by_hand() -> None:
    dataset = dataset_of(
        [[(0, 10, 10, 50, 50), (1, 100, 100, 150, 150), (1, 0, 150, 20, 199)]],
        {0: [(2, 60, 0, 100, 40)]},
    )
    found = prediction(
        (0, 0.9, 10, 10, 50, 50),
        (1, 0.8, 10, 10, 50, 50),  # the box is taken: background
        (0, 0.7, 100, 100, 150, 152),  # class 1 taken for 0
        (2, 0.2, 0, 150, 20, 199),  # below the confidence of use
        (2, 0.9, 62, 2, 90, 30),  # on an ignored box
    )
    expected = [[1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert confusion_matrix(dataset, [found]).tolist() == expected


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_confusion_rows_are_the_labels(seed: int) -> None:
    dataset, found = random_case(seed, images=4)
    matrix = confusion_matrix(dataset, found)
    np.testing.assert_array_equal(matrix[:3].sum(axis=1), dataset.class_counts())
    curves = confidence_curves(dataset, found)
    labelled = dataset.class_counts() > 0
    falling = np.diff(curves.recall[labelled], axis=1)
    assert (falling <= 0).all() and (curves.recall[labelled] <= 1).all()
