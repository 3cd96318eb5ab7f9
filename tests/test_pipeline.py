"""One path from images to boxes: who calls it, and what a graph's contract makes of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from yolov4sdk import Detector, errors
from yolov4sdk.backends import load_backend
from yolov4sdk.contract.contract import GraphContract, float_input, own_output
from yolov4sdk.conventions import Outputs
from yolov4sdk.datasets import load_dataset
from yolov4sdk.measure.evaluation import evaluate
from yolov4sdk.measure.verify import compare, run
from yolov4sdk.pipeline import Pipeline
from yolov4sdk.results.postprocess import box_iou
from yolov4sdk.results.thresholds import Thresholds

from .support.graphs import suppressed_graph
from .support.triton_python import InProcess

pytest.importorskip("onnx")
BOXES = np.array([[0, 0, 40, 40], [10, 0, 50, 40]], np.float32)


@pytest.fixture(scope="module")
def suppressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return suppressed_graph(tmp_path_factory.mktemp("nms") / "nms.onnx")


@pytest.fixture
def grey() -> np.ndarray:
    return np.full((64, 64, 3), 128, np.uint8)


def test_the_boxes_of_these_tests_overlap_by_six_tenths() -> None:
    assert box_iou(BOXES[:1], BOXES[1:])[0, 0] == pytest.approx(0.6)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_detector_does_not_suppress_again(
    suppressed: Path, grey: np.ndarray, backend: str
) -> None:
    with Detector(suppressed, backend=backend, device="cpu") as detector:
        for found in (detector(grey), *detector([grey, grey])):
            np.testing.assert_allclose(found.xyxy, BOXES)
            np.testing.assert_allclose(found.scores, [0.9, 0.8])
        assert len(detector(grey, max_det=1)) == 1 and len(detector(grey, conf=0.85)) == 1
        for option in ({"iou": 0.3}, {"agnostic": True}):
            with pytest.raises(errors.SettingError, match="suppressed overlapping boxes itself"):
                detector(grey, **option)
        merged = detector(grey, tiles=64, iou=0.3)  # tiles are merged, which takes an overlap
        assert len(merged) == 2, "one tile: nothing to merge"
    with pytest.raises(errors.SettingError, match=r"iou 0\.5 has no effect"):
        Detector(suppressed, device="cpu", iou=0.5)


def test_an_evaluation_does_not_suppress_again(
    suppressed: Path, grey: np.ndarray, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    rows = ["0 0.3125 0.3125 0.625 0.625", "0 0.46875 0.3125 0.625 0.625"]
    (tmp_path / "grey.txt").write_text("\n".join(rows) + "\n")
    (tmp_path / "data.yaml").write_text("path: .\nval: .\nnames: [ant]\n")
    dataset = load_dataset(tmp_path / "data.yaml", "val")
    with load_backend(suppressed, device="cpu") as backend:
        result = evaluate(backend, dataset)
        assert len(result.predictions[0].xyxy) == 2 and result.ap == pytest.approx(1)
        with pytest.raises(errors.SettingError, match=r"iou 0\.65 has no effect"):
            evaluate(backend, dataset, iou=0.65)


def test_a_comparison_does_not_suppress_again(suppressed: Path, grey: np.ndarray) -> None:
    with load_backend(suppressed, device="cpu") as backend:
        result = run(backend, grey[None])
    assert compare(result, result).detections == 2


def test_tritons_last_step_does_not_suppress_again(
    suppressed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model of Triton's Python backend, with a stand-in for the module Triton gives it."""
    pytest.importorskip("tritonclient.grpc", reason='pip install "yolov4sdk[triton]"')
    from export.options import TritonOptions
    from export.triton_config import boxes_config
    from yolov4sdk.backends.artefacts import read_spec

    config = boxes_config("boxes", read_spec(suppressed), TritonOptions())
    model = InProcess(monkeypatch, "boxes", config)
    with load_backend(suppressed, device="cpu") as backend:
        found = backend.infer(np.zeros((1, 3, 64, 64), np.float32))
    assert found.class_ids is not None
    values = {
        "raw_boxes": found.boxes, "raw_scores": found.scores, "raw_ids": found.class_ids,
        "geometry": np.array([[64, 64, 64, 64, 0, 0, 64, 64]], np.int32),
    }  # fmt: skip
    answer = model(**values)
    assert answer["count"].tolist() == [[2]]
    np.testing.assert_allclose(answer["boxes"][0, :2], BOXES)


class Recorder:
    """A backend that remembers shapes and gives as many empty rows."""

    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []

    def infer(self, batch: np.ndarray) -> Outputs:
        self.batches.append(batch.copy())
        return Outputs(
            np.zeros((len(batch), 1, 4), np.float32), np.zeros((len(batch), 1, 1), np.float32)
        )


def contract(batch: int | None, **changes: Any) -> GraphContract:
    return GraphContract(float_input(size=(64, 64), **changes), own_output("full", 1), batch)


def test_a_short_batch_is_filled_up_in_the_pipeline() -> None:
    backend = Recorder()
    pipeline = Pipeline(contract(4), backend)
    image = np.full((64, 64, 3), 255, np.uint8)
    plan = pipeline.plan((64, 64))
    for count in (4, 1):  # the second after a full one: nothing of it is left
        outputs = pipeline.run(pipeline.prepare([image] * count, [plan] * count))
        assert len(outputs.boxes) == 4
    assert [batch.shape for batch in backend.batches] == [(4, 3, 64, 64)] * 2
    assert backend.batches[1][0].min() == 1 and backend.batches[1][1:].max() == 0


def test_sizes_of_a_fixed_graph() -> None:
    with pytest.raises(errors.SettingError, match=r"takes \(64, 64\) \(height, width\) only"):
        Pipeline(contract(1, dynamic=False), size=96)
    with pytest.raises(errors.SettingError, match="needs a graph exported with `--dynamic`"):
        Pipeline(contract(1, dynamic=False), rectangular=True)
    with pytest.raises(errors.InputSizeError):
        Pipeline(contract(1), size=65)
    with pytest.raises(errors.SettingError, match="gpu_letterbox needs TensorRT, not recorder"):
        Pipeline(contract(1), SimpleNamespace(name="recorder", infer=None), gpu_letterbox=True)


def test_thresholds_are_checked_for_the_graph() -> None:
    names, full, rows = ("ant", "bee"), own_output("full", 2), own_output("topk", 2, 5)
    chosen = Thresholds(conf={"bee": 0.5}, classes=["bee"]).resolved(names, full)
    assert chosen.classes == (1,) and chosen.conf.tolist() == [0.25, 0.5]
    assert (chosen.iou, chosen.overlap) == (None, 0.45)
    with pytest.raises(errors.SettingError, match="multi_label needs all scores"):
        Thresholds(multi_label=True).resolved(names, rows)
    with pytest.raises(errors.SettingError, match="iou must be between 0 and 1"):
        Thresholds(iou=2).resolved(names, full)
    with pytest.raises(errors.UnknownClassError):
        Thresholds(classes=["cow"]).resolved(names, full)


def test_each_image_or_its_error(suppressed: Path, grey: np.ndarray, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no image")
    sources = [grey, broken, grey[:32], b""]
    with Detector(suppressed, device="cpu", color="RGB") as detector:
        results = list(detector.detect_each(iter(sources), on_error="keep"))
        assert [source is given for (source, _, _), given in zip(results, sources, strict=True)]
        kinds = [type(found).__name__ for _, _, found in results]
        assert kinds == ["Detections", "ImageDecodeError", "Detections", "EmptyImageError"] or (
            kinds[::2] == ["Detections"] * 2 and all(k.endswith("Error") for k in kinds[1::2])
        )
        assert [image is None for _, image, _ in results] == [False, True, False, True]
        assert results[2][2] == detector(grey[:32])
        with pytest.raises(errors.ImageError, match=r"broken\.jpg"):
            list(detector.detect_each(sources))
        with pytest.raises(errors.SettingError, match='on_error must be "raise" or "keep"'):
            detector.detect_each(sources, on_error="ignore")  # type: ignore[arg-type]
