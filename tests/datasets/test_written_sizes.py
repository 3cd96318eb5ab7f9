"""The size in COCO and VOC labels against the image's: kept, scaled, turned or left out."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.errors import DatasetError
from yolov4sdk.imaging.images import read_image

STORED = (120, 200)  # height, width
WHITE = (40, 20, 100, 60)  # on the stored pixels


def exif_jpeg(path: Path, orientation: int) -> None:
    """A black picture with a white part, and an EXIF orientation."""
    pixels = np.zeros((*STORED, 3), np.uint8)
    x1, y1, x2, y2 = WHITE
    pixels[y1:y2, x1:x2] = 255
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0" * 4
    path.parent.mkdir(parents=True, exist_ok=True)
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    path.write_bytes(data[:2] + segment + data[2:])


def coco(
    folder: Path, size: tuple[int, int], boxes: list[tuple[float, ...]], orientation: int = 1
) -> Path:
    exif_jpeg(folder / "train" / "a.jpg", orientation)
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": size[0], "width": size[1]}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "area": 100.0,
             "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for i, (x1, y1, x2, y2) in enumerate(boxes, 1)
        ],
    }  # fmt: skip
    file = folder / "instances_train.json"
    file.write_text(json.dumps(content))
    return file


def voc(folder: Path, size: tuple[int, int], box: tuple[float, ...]) -> Path:
    exif_jpeg(folder / "JPEGImages" / "a.jpg", 1)
    (folder / "Annotations").mkdir()
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    corners = "".join(
        f"<{tag}>{value}</{tag}>"
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    (folder / "Annotations" / "a.xml").write_text(
        f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>"
        f"<object><name>cat</name><bndbox>{corners}</bndbox></object></annotation>"
    )
    return folder


def whiteness(dataset: DetectionDataset) -> float:
    """The share of the first box, on the picture that training sees, that is white."""
    image = read_image(dataset.images[0])
    (x1, y1, x2, y2), *_ = dataset.boxes_xyxy(0)[0].round().astype(int).tolist()
    return float((image[y1:y2, x1:x2] > 128).mean())


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_on_the_stored_pixels_are_turned(tmp_path: Path, orientation: int) -> None:
    dataset = load_dataset(coco(tmp_path, STORED, [WHITE], orientation))
    assert dataset.sizes.tolist() == [[200, 120]]
    assert whiteness(dataset) > 0.98
    assert dataset.report.turned == 1 and not dataset.report.inverted
    assert "a.jpg" in dataset.report.notes[0] and "EXIF" in dataset.report.notes[0]


def test_stored_pixels_of_a_larger_copy(tmp_path: Path) -> None:
    large = tuple(4 * n for n in WHITE)
    dataset = load_dataset(coco(tmp_path, (480, 800), [large], 6))
    assert whiteness(dataset) > 0.98 and dataset.report.turned == 1


def test_boxes_on_the_upright_picture_stay(tmp_path: Path) -> None:
    upright = (120 - 60, 40, 120 - 20, 100)  # turned clockwise
    dataset = load_dataset(coco(tmp_path, STORED[::-1], [upright], 6))
    assert whiteness(dataset) > 0.98
    assert not dataset.report.notes and not dataset.report.troubles


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_turn_that_keeps_the_size_is_noted(tmp_path: Path, orientation: int) -> None:
    report = load_dataset(coco(tmp_path, STORED, [WHITE], orientation)).report
    assert report.unclear_turns == 1 and "a.jpg" in report.notes[0]


def test_yolo_labels_of_a_turned_image_are_noted(tmp_path: Path) -> None:
    exif_jpeg(tmp_path / "a.jpg", 6)
    (tmp_path / "a.txt").write_text("0 .5 .5 .2 .2\n")
    report = load_dataset(tmp_path).report
    assert report.unclear_turns == 1 and any("a.jpg" in note for note in report.notes)


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_a_size_in_proportion_scales_the_boxes(tmp_path: Path, form: str) -> None:
    large = tuple(10 * n for n in WHITE)
    if form == "coco":
        dataset = load_dataset(coco(tmp_path, (1200, 2000), [large]))
        assert dataset.areas[0].tolist() == [1.0]  # 100 px of the copy ten times as long
    else:
        dataset = load_dataset(voc(tmp_path, (1200, 2000), large))
    np.testing.assert_allclose(dataset.boxes_xyxy(0)[0], [WHITE], atol=1e-3)
    assert dataset.report.rescaled == 1
    assert "2000 x 1200 in the label, 200 x 120 in a.jpg" in dataset.report.notes[0]


def test_a_rounded_side_is_in_proportion(tmp_path: Path) -> None:
    dataset = load_dataset(coco(tmp_path, (241, 401), [(80, 40, 200, 120)]))
    assert dataset.report.rescaled == 1
    np.testing.assert_allclose(dataset.boxes_xyxy(0)[0], [WHITE], atol=0.5)


def test_a_size_that_the_boxes_contradict_does_not_count(tmp_path: Path) -> None:
    dataset = load_dataset(coco(tmp_path, STORED[::-1], [WHITE, (0, 0, 190, 110)]))
    assert whiteness(dataset) > 0.98
    assert dataset.report.size_slips == 1 and "a.jpg" in dataset.report.notes[0]


def test_another_images_size_leaves_the_image_out(tmp_path: Path) -> None:
    file = coco(tmp_path, (120, 120), [WHITE])
    with pytest.raises(
        DatasetError, match=r"1 of another size .*120 x 120 in the label, 200 x 120"
    ):
        load_dataset(file)
    content = json.loads(file.read_text())
    exif_jpeg(tmp_path / "train" / "b.jpg", 1)
    content["images"].append({"id": 2, "file_name": "b.jpg", "height": 120, "width": 200})
    content["annotations"].append({"id": 9, "image_id": 2, "category_id": 1, "bbox": [1, 1, 9, 9]})
    file.write_text(json.dumps(content))
    report = load_dataset(file).report
    assert (report.images, report.boxes, report.wrong_sizes, report.without_image) == (1, 1, 1, 1)
    assert report.written == 2


@pytest.mark.parametrize("size", [(0, 0), (0, 200)])
def test_no_size_is_no_size(tmp_path: Path, size: tuple[int, int]) -> None:
    dataset = load_dataset(voc(tmp_path, size, WHITE))
    assert whiteness(dataset) > 0.98 and not dataset.report.notes
