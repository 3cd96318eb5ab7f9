"""`val` on COCO data: AP by the file's areas, detections under the file's ids."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import yolov4sdk
from yolov4sdk.cli import app
from yolov4sdk.cli.val import write_detections
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.measure.evaluation import EvaluationResult, evaluate

from ..conftest import REPOSITORY

MODEL = Path(yolov4sdk.__file__).parent / "assets" / "default.onnx"
PHOTOS = REPOSITORY / "examples" / "images"


def find_white(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A "network" of two classes that finds the white part of each image."""
    boxes, scores = np.zeros((len(images), 1, 4), np.float32), np.zeros((len(images), 1, 2))
    for b, image in enumerate(images):
        ys, xs = np.nonzero(image.min(axis=0) > 0.7)
        boxes[b, 0] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
        scores[b, 0, 1] = 0.9
    return boxes, scores.astype(np.float32)


def coco(folder: Path, area: float | None) -> DetectionDataset:
    """Two files of one name in two folders, ids 7 and 9, category ids 3 and 90."""
    entries, annotations = [], []
    for number, place in ((7, "one"), (9, "two")):
        image = np.zeros((160, 160, 3), np.uint8)
        image[20:60, 30:110] = 255
        (folder / place).mkdir()
        cv2.imwrite(str(folder / place / "a.png"), image)
        entries.append({"id": number, "file_name": f"{place}/a.png", "width": 160, "height": 160})
        entry = {
            "id": number,
            "image_id": number,
            "category_id": 90,
            "bbox": [30, 20, 80, 40],
            "iscrowd": 0,
        }
        annotations.append(entry | ({} if area is None else {"area": area}))
    categories = [{"id": 3, "name": "black"}, {"id": 90, "name": "white"}]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    (folder / "val.json").write_text(json.dumps(content))
    return load_dataset(folder / "val.json", "val")


@pytest.mark.parametrize(
    ("area", "where"), [(500.0, "ap_small"), (5000.0, "ap_medium"), (50000.0, "ap_large"),
                        (None, "ap_medium"), (0.0, "ap_small")]
)  # fmt: skip
def test_ap_by_size_goes_by_the_files_area(tmp_path: Path, area: float | None, where: str) -> None:
    result = evaluate(find_white, coco(tmp_path, area), size=160)
    sizes = {key: getattr(result.coco, key) for key in ("ap_small", "ap_medium", "ap_large")}
    assert sizes.pop(where) > 0.9
    assert all(np.isnan(value) or value <= 0 for value in sizes.values())


def detections(folder: Path, dataset: DetectionDataset) -> tuple[EvaluationResult, Path]:
    result = evaluate(find_white, dataset, size=160)
    write_detections(result, folder / "found.json")
    return result, folder / "found.json"


def test_pycocotools_agrees_on_the_detections(tmp_path: Path) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    result, file = detections(tmp_path, coco(tmp_path, 500.0))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = pycocotools.COCO(str(tmp_path / "val.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(file)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    np.testing.assert_allclose(evaluation.stats[[0, 1, 3]], [result.ap, 1, result.coco.ap_small])
    entries = json.loads(file.read_text())
    assert {e["image_id"] for e in entries} == {7, 9} and {e["category_id"] for e in entries} == {
        90
    }


def test_names_of_two_folders_stay_apart(tmp_path: Path) -> None:
    coco(tmp_path, None)
    for place in ("one", "two"):
        (tmp_path / place / "a.txt").write_text("1 .5 .5 .2 .2\n")
    (tmp_path / "classes.txt").write_text("black\nwhite\n")
    (tmp_path / "val.json").unlink()
    _, file = detections(tmp_path, load_dataset(tmp_path, "val"))
    assert {e["image_id"] for e in json.loads(file.read_text())} == {"one/a.png", "two/a.png"}


def test_the_command_with_the_embedded_model(tmp_path: Path) -> None:
    """Category ids that are not in the model's order come back as the file has them."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "a.jpg").write_bytes((PHOTOS / "dog.jpg").read_bytes())
    height, width = cv2.imread(str(tmp_path / "a.jpg")).shape[:2]
    content = {
        "images": [{"id": 41, "file_name": "a.jpg", "width": width, "height": height}],
        "categories": [{"id": 5, "name": "dog"}, {"id": 1, "name": "horse"}],
        "annotations": [{"id": 1, "image_id": 41, "category_id": 5, "bbox": [10, 10, 99, 99]}],
    }
    (tmp_path / "val.json").write_text(json.dumps(content))
    words = [
        "val",
        str(MODEL),
        str(tmp_path / "val.json"),
        "--detections",
        str(tmp_path / "f.json"),
    ]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 0, run.output
    entries = json.loads((tmp_path / "f.json").read_text())
    assert {e["image_id"] for e in entries} == {41} and {e["category_id"] for e in entries} <= {
        1,
        5,
    }
    assert max(entries, key=lambda e: e["score"])["category_id"] == 5
