"""What goes wrong is said in words: each finding appears where it must, and only there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.test_metrics import dataset_of
from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.measure.diagnosis import Training, diagnose, diagnosis_figure
from yolov4sdk.measure.evaluation import _measured
from yolov4sdk.measure.metrics import Prediction

IMAGES = 40


def labels(seed: int = 0, sides=(40.0, 110.0), shares=(0.4, 0.3, 0.3), classes=3):
    """Two boxes an image: (class, x1, y1, x2, y2) in 200 x 200 pixels."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(IMAGES):
        boxes = []
        for half in range(2):  # one on the left, one on the right
            w, h = rng.uniform(*sides, 2).clip(max=95)
            x, y = rng.uniform(0, 99 - w) + 100 * half, rng.uniform(0, 199 - h)
            kind = int(rng.choice(classes, p=np.array(shares[:classes]) / sum(shares[:classes])))
            boxes.append((kind, x, y, x + w, y + h))
        rows.append(boxes)
    return rows


def found(rows, shift: float = 0.01, wrong: float = 0.0, small_missed: float = 0.0, seed: int = 1):
    """Detections of the labels, moved by a share of their size; some with a wrong name."""
    rng = np.random.default_rng(seed)
    predictions = []
    for boxes in rows:
        table = []
        for kind, x1, y1, x2, y2 in boxes:
            if (x2 - x1) * (y2 - y1) < 32**2 and rng.random() < small_missed:
                continue
            d = shift * (x2 - x1)
            named = (kind + 1) % 3 if rng.random() < wrong else kind
            score = rng.uniform(0.5, 0.9)
            table.append((x1 + d, y1, x2 + d, y2, score, named))
            table.append((x1 + d, y1, x2 + d, y2, score / 4, (named + 1) % 3))  # many labels a box
        t = np.array(sorted(table, key=lambda r: -r[4]), np.float32).reshape(-1, 6)
        predictions.append(Prediction(t[:, :4], t[:, 4], t[:, 5].astype(np.int64)))
    return predictions


def result_of(rows, **mistakes):
    return _measured(dataset_of(rows), found(rows, **mistakes), {}, {}, [])


def kinds(result, training=None) -> list[str]:
    return [finding.kind for finding in diagnose(result, training).findings]


GOOD = labels()


@pytest.mark.parametrize(
    ("result", "expected", "words"),
    [
        (result_of(GOOD), [], "nothing stands out"),
        (result_of(GOOD, wrong=0.05), [], "nothing stands out"),
        (result_of(GOOD, wrong=0.6), ["names"], "--class-gain"),
        (result_of(GOOD, shift=0.2), ["boxes"], "--box-gain"),
        (result_of(GOOD, shift=0.06), [], "nothing stands out"),
        (result_of(labels(sides=(14, 70)), small_missed=0.9), ["small"], "--tile"),
        (result_of(labels(sides=(14, 70)), small_missed=0.2), [], "nothing stands out"),
        (result_of(labels(classes=2)), ["classes"], "no box of c"),
    ],
    ids=["good", "few wrong names", "wrong names", "loose", "a little loose", "small missed",
         "small found", "class without labels"],
)  # fmt: skip
def test_what_a_result_shows(result, expected, words):
    diagnosis = diagnose(result)
    assert [finding.kind for finding in diagnosis.findings] == expected
    assert words in diagnosis.paragraph()


def test_wrong_names_are_named():
    text = diagnose(result_of(GOOD, wrong=0.6)).paragraph()
    assert "a for b" in text or "b for c" in text or "c for a" in text


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> dict[int, list[Path]]:
    """Grey images by their brightness, as many as a split has."""
    folder = tmp_path_factory.mktemp("grey")
    files = {}
    for level in (60, 100, 190):
        files[level] = folder / f"{level}.png"
        cv2.imwrite(str(files[level]), np.full((200, 200, 3), level, np.uint8))
    return {level: [file] * IMAGES for level, file in files.items()}


def split(rows, images: list[Path], name: str) -> DetectionDataset:
    return replace(dataset_of(rows), images=images, split=name)


@pytest.mark.parametrize(
    ("train", "light", "words"),
    [
        (labels(seed=5), 100, ""),
        (labels(seed=5, shares=(0.05, 0.05, 0.9)), 100, "of the boxes"),
        (labels(seed=5, sides=(15.0, 40.0)), 100, "side"),
        (labels(seed=5), 190, "brightness"),
        (labels(seed=5), 60, ""),
    ],
    ids=["alike", "other classes", "other sizes", "brighter", "a little darker"],
)
def test_splits_that_are_unlike(pictures, train, light, words):
    result = result_of(GOOD)
    result = replace(result, dataset=split(GOOD, pictures[100], "val"))
    training = Training(split(train, pictures[light], "train"), 5000, True, 60)
    text = "".join(f.text for f in diagnose(result, training).findings if f.kind == "unlike")
    assert bool(text) == bool(words) and words in text


def test_few_updates_and_rare_classes(pictures):
    result = result_of(GOOD, wrong=0.6)
    result = replace(result, dataset=split(GOOD, pictures[100], "val"))
    train = split(labels(seed=5, shares=(0.5, 0.45, 0.05)), pictures[100], "train")
    found = diagnose(result, Training(train, 100, True, 10)).findings
    assert "updates" in [f.kind for f in found]
    assert "--epochs 100" in next(f.text for f in found if f.kind == "updates")
    assert "c (" in next(f.text for f in found if f.kind == "classes")
    assert "updates" not in kinds(result, Training(train, 1000, True, 60))  # enough
    assert "updates" not in kinds(result, Training(train, 250, False, 10))  # not from scratch
    good = replace(result_of(GOOD), dataset=result.dataset)
    assert "updates" not in kinds(good, Training(train, 100, True, 10))  # it was enough


def test_the_picture_shows_the_figures():
    result = result_of(GOOD, shift=0.2)
    figure = diagnosis_figure(result, diagnose(result))
    assert [axes.get_title() for axes in figure.axes] == ["names, boxes, sizes", "classes"]
    assert figure.get_suptitle() == "boxes"
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths[1] == pytest.approx(result.ap50) and widths[2] == pytest.approx(result.coco.ap75)
