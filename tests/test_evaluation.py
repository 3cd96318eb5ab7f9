"""The evaluation loop: protocol, forms of graphs, and the authors' figures on BCCD."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from yolov4sdk.backends.base import ContextManager, Outputs
from yolov4sdk.backends.tta import AugmentedBackend
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.errors import DatasetError, SettingError
from yolov4sdk.measure.evaluation import EvaluationResult, evaluate, print_result

COLORS = {"red": (0, 0, 255), "green": (0, 255, 0)}
SHAPES = [(120, 160), (160, 120), (90, 160), (150, 150), (60, 61)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    """Five blue images of different shapes, each with a red and a green rectangle."""
    folder = tmp_path_factory.mktemp("evaluation")
    for i, (height, width) in enumerate(SHAPES):
        image = np.full((height, width, 3), (255, 0, 0), np.uint8)
        lines = []
        for c, color in enumerate(COLORS.values()):
            x1, y1, x2, y2 = 5 + 25 * c, 8, 25 + 25 * c, 48 - 6 * i
            image[y1:y2, x1:x2] = color
            row = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
            lines.append(f"{c} {row[0]} {row[1]} {(x2 - x1) / width} {(y2 - y1) / height}")
        cv2.imwrite(str(folder / f"{i}.png"), image)
        (folder / f"{i}.txt").write_text("\n".join(lines))
    (folder / "classes.txt").write_text("\n".join(COLORS))
    return load_dataset(folder)


def find_colors(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A "network" that finds the colored rectangles in float32 RGB [B, 3, H, W]."""
    assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
    boxes = np.zeros((len(images), 2, 4), np.float32)
    scores = np.zeros((len(images), 2, 2), np.float32)
    for b, image in enumerate(images):
        for c in range(2):  # RGB: channel 0 is red, 1 is green
            ys, xs = np.nonzero((image[c] > 0.6) & (image[2] < 0.3) & (image[1 - c] < 0.3))
            if len(xs):
                boxes[b, c] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
                scores[b, c, c] = 0.9
    return boxes, scores


class Finder(ContextManager):
    """`find_colors` as a backend with any spec."""

    name, device, precision = "finder", "cpu", "fp32"

    def __init__(self, **changes: Any) -> None:
        base = ModelSpec(
            architecture="yolov4-csp",
            names=tuple(COLORS),
            strides=(8, 16, 32),
            anchors=(((8, 8),),) * 3,
            dynamic_size=True,
        )
        self.spec = base.replace(**changes)
        self.shapes: list[tuple[int, ...]] = []
        self.closed = False

    def infer(self, batch: np.ndarray) -> Outputs:
        self.shapes.append(batch.shape)
        if self.spec.input_form == "uint8_nhwc":
            assert batch.dtype == np.uint8
            batch = np.moveaxis(batch, -1, 1).astype(np.float32) / 255
        boxes, scores = find_colors(batch)
        if self.spec.outputs == "full":
            return Outputs(boxes, scores)
        ids = np.tile(np.arange(2), (len(batch), 1))
        return Outputs(boxes, scores.max(axis=2), ids)

    def close(self) -> None:
        self.closed = True


def assert_found_all(result: EvaluationResult, at_least: float = 0.9) -> None:
    assert result.ap50 == pytest.approx(1.0), "every rectangle is found, in its own pixels"
    assert result.ap > at_least
    assert result.confusion.tolist() == [[5, 0, 0], [0, 5, 0], [0, 0, 0]]


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
@pytest.mark.parametrize("rectangular", [True, False])
def test_function(dataset: DetectionDataset, rectangular: bool, batch: int) -> None:
    result = evaluate(find_colors, dataset, size=320, rectangular=rectangular, batch=batch)
    assert_found_all(result)
    assert (result.images, result.boxes) == (5, 10)


def test_canvas_rule_of_the_authors(dataset: DetectionDataset) -> None:
    """640 x 480 at 320 gives 352 x 256 (spec); here 160 x 120 images, whose ratio is the same."""
    finder = Finder()
    evaluate(finder, dataset.subset([0]), size=320)
    assert finder.shapes == [(1, 3, 256, 352)]


def test_batches_are_sorted_by_aspect(dataset: DetectionDataset) -> None:
    finder = Finder()
    evaluate(finder, dataset, size=320, batch=2)
    # 90 x 160 with 120 x 160; 60 x 61 with 150 x 150; 160 x 120 alone
    assert finder.shapes == [(2, 3, 256, 352), (2, 3, 352, 352), (1, 3, 352, 256)]


def test_larger_stride_comes_from_the_spec(dataset: DetectionDataset) -> None:
    finder = Finder(strides=(8, 16, 32, 64), anchors=(((8, 8),),) * 4)
    evaluate(finder, dataset, size=320)
    assert {shape[2:] for shape in finder.shapes} == {(384, 384)}
    with pytest.raises(SettingError, match="stride 64; 320 and 384 are"):
        evaluate(finder, dataset, size=352)


@pytest.mark.parametrize("form", ["float_nchw", "uint8_nhwc"])
@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("outputs", ["full", "topk", "nms"])
def test_graphs_of_fixed_size(
    dataset: DetectionDataset, form: str, batch: int | None, outputs: str
) -> None:
    finder = Finder(
        dynamic_size=False,
        input_size=(192, 320),
        batch=batch,
        input_form=form,
        outputs=outputs,
        topk=None if outputs == "full" else 2,
    )
    assert_found_all(evaluate(finder, dataset), at_least=0.8)
    side = (192, 320, 3) if form == "uint8_nhwc" else (3, 192, 320)
    expected = {None: {5}, 1: {1}, 3: {3}}[batch]
    assert {shape[0] for shape in finder.shapes} == expected
    assert {shape[1:] for shape in finder.shapes} == {side}
    with pytest.raises(SettingError, match="fixed size"):
        evaluate(finder, dataset, size=640)


def test_classes_follow_the_backend(dataset: DetectionDataset) -> None:
    swapped = dataset.with_names(["green", "red"])
    assert_found_all(evaluate(Finder(), swapped, size=320))
    with pytest.raises(DatasetError, match="red"):
        evaluate(Finder(names=("green", "blue")), dataset, size=320)


@pytest.mark.parametrize("form", ["float_nchw", "uint8_nhwc"])
def test_augmented_backend(dataset: DetectionDataset, form: str) -> None:
    finder = Finder(input_form=form)
    with AugmentedBackend(finder, scales=(1.0, 0.8, 1.3), flip=True) as augmented:
        result = evaluate(augmented, dataset, size=320, iou=0.5)
    assert finder.closed
    assert_found_all(result, at_least=0.8)
    assert len(set(finder.shapes)) == 3 and len(finder.shapes) == 6
    for scale, flip in ((1.0, True), (0.8, False), (1.3, True)):
        alone = AugmentedBackend(Finder(input_form=form), scales=(scale,), flip=flip)
        assert_found_all(evaluate(alone, dataset, size=320, iou=0.5), at_least=0.8)


@pytest.mark.parametrize(
    ("changes", "scales", "message"),
    [
        ({}, (), "0.1 to 4"),
        ({}, (0.0,), "0.1 to 4"),
        ({"dynamic_size": False, "input_size": (320, 320)}, (1, 0.5), "mirrored, not scaled"),
        ({"outputs": "topk", "topk": 2}, (1,), "needs all boxes"),
    ],
)
def test_augmented_backend_refuses(
    changes: dict[str, Any], scales: tuple[float, ...], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        AugmentedBackend(Finder(**changes), scales)


def test_result_as_dict_and_table(dataset: DetectionDataset) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate(
        find_colors,
        dataset,
        size=320,
        batch=3,
        progress=lambda done, all_: seen.append((done, all_)),
    )
    assert seen == [(3, 5), (5, 5)]
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["ap50"] == pytest.approx(1) and data["ap_large"] is None
    assert [row["name"] for row in data["classes"]] == ["red", "green"]
    assert [row["labels"] for row in data["classes"]] == [5, 5]
    console = Console(record=True, width=120, file=io.StringIO())
    print_result(result, console)
    text = console.export_text()
    assert "5 images, 10 boxes" in text and "green" in text and "AR100" in text


def test_no_images(dataset: DetectionDataset) -> None:
    with pytest.raises(DatasetError, match="no images"):
        evaluate(find_colors, dataset.subset([]))


@pytest.mark.parametrize(
    "wrong", [{"conf": 1.5}, {"iou": -1}, {"max_det": 0}, {"batch": 0}, {"size": 100}]
)
def test_settings(dataset: DetectionDataset, wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        evaluate(find_colors, dataset, **{"size": 320, **wrong})


@pytest.mark.parametrize("engine", ["torch", "onnx", "openvino"])
def test_authors_figures_on_bccd(engine: str, shared_dir: Path, tmp_path: Path) -> None:
    """The checkpoint of the authors' code reaches the figures of the oracle's README."""
    from export import export_model
    from yolov4sdk.backends import load_backend
    from yolov4sdk.models.official import import_official

    dataset = load_dataset(shared_dir / "data" / "bccd", "test")
    model: Any = import_official(shared_dir / "oracle" / "official-bccd.pt", size=320)
    if engine != "torch":
        output = tmp_path / ("bccd.onnx" if engine == "onnx" else "bccd.xml")
        model = export_model(model, engine, output, batch=None, dynamic=True).path
    with load_backend(model) as backend:
        result = evaluate(backend, dataset, size=320)
    assert (result.images, result.boxes) == (72, 945)
    coco = result.coco
    figures = [coco.ap, coco.ap50, coco.ap75, coco.ar100, *coco.class_ap]
    assert result.names == ("RBC", "WBC", "Platelets")
    expected = [0.534, 0.865, 0.624, 0.661, 0.567, 0.688, 0.346]
    np.testing.assert_allclose(figures, expected, atol=0.002)
