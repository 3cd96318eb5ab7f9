"""What an export writes where nothing else is asked for, and that every consumer takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.options import BEST_ROWS, ExportOptions
from yolov4sdk import Detector
from yolov4sdk.backends import load_backend
from yolov4sdk.backends.tta import AugmentedBackend
from yolov4sdk.errors import SettingError
from yolov4sdk.measure.verify import compare_artefacts
from yolov4sdk.models import Model

from .conftest import Exporter, images, torch_outputs

FLEXIBLE: dict[str, Any] = {"batch": None, "dynamic": True}


def test_default(model: Model) -> None:
    spec = model.spec.replace(input_size=(640, 640))
    made = ExportOptions().artefact_spec(spec, "1")
    assert (made.input_form, made.outputs, made.topk) == ("uint8_nhwc", "best", BEST_ROWS)
    small = ExportOptions(size=(64, 64)).artefact_spec(spec, "1")  # 640 boxes: nothing to choose
    assert (small.outputs, small.topk) == ("full", None)
    raw = ExportOptions(float_input=True, raw_outputs=True).artefact_spec(spec, "1")
    assert (raw.input_form, raw.outputs, raw.topk) == ("float_nchw", "full", None)


@pytest.mark.parametrize(
    "options",
    [
        {"uint8": True, "float_input": True},
        {"raw_outputs": True, "topk": 5},
        {"raw_outputs": True, "nms": True},
    ],
)
def test_what_excludes_one_another(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="exclude"):
        ExportOptions(**options)


@pytest.fixture(scope="module")
def fast(exporter: Exporter) -> Path:
    return exporter(topk=300, uint8=True, **FLEXIBLE).path


def test_the_scores_of_all_classes_are_those_of_the_network(fast: Path, model: Model) -> None:
    pixels = images(2, 64, 64)
    boxes, scores = torch_outputs(model, pixels)
    with load_backend(fast, device="cpu") as backend:
        found = backend.infer(pixels)
    assert found.boxes.shape == (2, 300, 4) and found.scores.shape == (2, 300, 3)
    for image in range(2):
        best = np.sort(scores[image].max(axis=1))[::-1][:300]
        np.testing.assert_allclose(found.scores[image].max(axis=1), best, atol=1e-5)
        for box, row in zip(found.boxes[image], found.scores[image], strict=True):
            same = np.abs(boxes[image] - box).max(axis=1) < 1e-3
            assert (same & (np.abs(scores[image] - row).max(axis=1) < 1e-5)).any()


@pytest.mark.parametrize(
    "options",
    [
        {"conf": 0.6},
        {"conf": 0.6, "multi_label": True, "iou": 0.65},
        {"conf": {"class0": 0.75, "class1": 0.6, "class2": 0.65}},
        {"conf": 0.6, "tiles": 64},
    ],
)
def test_answers_are_those_of_the_raw_graph(
    fast: Path, exporter: Exporter, photos_dir: Path, options: dict[str, Any]
) -> None:
    photo = photos_dir / "dog.jpg"
    raw = exporter(**FLEXIBLE).path
    with Detector(raw, size=64) as one, Detector(fast, size=64) as other:
        expected, found = one(photo, **options), other(photo, **options)
    assert len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=0.1)
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)


def test_verification_and_augmentation_take_it(fast: Path, exporter: Exporter) -> None:
    raw, pixels = exporter(**FLEXIBLE).path, list(images(2, 64, 64))
    for pair in ([raw, fast], [fast, raw], [fast, fast]):
        (agreement,) = compare_artefacts(pair, pixels, size=(64, 64))
        assert agreement.boxes_max < 1e-4 and agreement.scores_max < 1e-4
        assert agreement.detections > 3 and agreement.matched == 1
    with load_backend(fast, device="cpu") as backend:
        found = AugmentedBackend(backend, scales=(1.0, 0.5)).infer(images(1, 64, 64))
    assert found.scores.shape == (1, 4 * 300, 3)
