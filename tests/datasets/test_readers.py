"""The three formats: what is read, what is refused, and with which message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolov4sdk.datasets import check_splits, load_dataset
from yolov4sdk.errors import DatasetError, UnknownClassError

Make = Callable[..., Path]
BOX = "0 0.5 0.5 0.2 0.25"


def test_yolo(yolo_set: Make) -> None:
    text = "0 0.5 0.5 0.2 0.25\n\n1 0.25 0.25 0.1 0.1\n"
    file = yolo_set({"train": {"a": text, "b": "", "c": None}, "val": {"d": BOX}})
    train = load_dataset(file, "train")
    assert train.names == ("cat", "dog")
    assert [path.name for path in train.images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert train.sizes.tolist() == [[80, 100]] * 3
    np.testing.assert_allclose(
        train.boxes[0], [[0, 0.5, 0.5, 0.2, 0.25], [1, 0.25, 0.25, 0.1, 0.1]]
    )
    xyxy, ids = train.boxes_xyxy(0)
    np.testing.assert_allclose(xyxy[0], [40, 30, 60, 50], atol=1e-4)
    assert ids.tolist() == [0, 1]
    report = train.report
    assert (report.images, report.boxes, report.background) == (3, 2, 2)
    assert report.missing_labels == 1 and report.class_counts == {"cat": 1, "dog": 1}
    assert "3 images (2 background), 2 boxes; 1 missing labels" in report.summary()
    json.dumps(report.to_dict())
    assert load_dataset(file.parent, "val").images == load_dataset(file, "val").images


def test_yolo_segments_become_boxes(yolo_set: Make) -> None:
    file = yolo_set({"train": {"a": "1 0.1 0.2 0.5 0.2 0.3 0.6"}})
    np.testing.assert_allclose(load_dataset(file).boxes[0], [[1, 0.3, 0.4, 0.4, 0.4]], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", r"a\.txt, line 1: class id 2 is past the list of 2 names \(0 to 1\)"),
        (f"{BOX}\n-1 0.5 0.5 0.1 0.1", "line 2: the class id -1"),
        ("0.5 0.5 0.5 0.1 0.1", "whole number"),
        ("nan 0.5 0.5 0.1 0.1", "whole number"),
        ("0 0.5 0.5 0.1", "expected 5 numbers .* got 4"),
        ("0 0.5 0.5 0.1 x", "expected numbers 'class cx cy w h'"),
        ("0 50 40 20 20", "normalised"),
        ("", "no labels at all"),
    ],
)
def test_yolo_bad_labels(yolo_set: Make, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_dataset(yolo_set({"train": {"a": text}}))


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [a, b]", "no split 'train'; it has none"),
        ("train: images\nnames: {0: a, 2: b}", "0 to 1, each once; got 0, 2"),
        ("train: images\nnames: {0: a, x: b}", "got 0, x"),
        ("train: images\nnames: [a, a]", "two classes have one name"),
        ("train: images\nnc: 3\nnames: [a, b]", "nc is 3, but there are 2 names"),
        ("train: images", "names must list"),
        ("train: images\nnames: []", "names must list"),
        ("train: 5\nnames: [a]", "train must be a path"),
        ("train: ../elsewhere\nnames: [a]", "leaves the data set"),
        ("path: ../..\ntrain: images\nnames: [a]", "leaves the data set"),
        ("train: https://example.com/a.zip\nnames: [a]", "URL; nothing is downloaded"),
        ("train: nothing\nnames: [a]", "does not exist"),
        ("train: empty\nnames: [a]", "holds no images"),
        ("train: data.yaml\nnames: [a]", "expected a folder of images or a list"),
        ("train: images/train\nval: images\nnames: [a, b]", "lies inside the other"),
        ("- 1", "expected a mapping"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['touch hacked']", "not valid YAML"),
    ],
)
def test_yolo_bad_yaml(yolo_set: Make, yaml: str, message: str) -> None:
    file = yolo_set({"train": {"a": BOX}})
    (file.parent / "empty").mkdir()
    file.write_text(yaml)
    with pytest.raises(DatasetError, match=message):
        load_dataset(file)
    assert not (Path.cwd() / "hacked").exists()


def test_download_key_is_ignored_with_a_note(yolo_set: Make, tmp_path: Path) -> None:
    file = yolo_set({"train": {"a": BOX}}, extra=f"download: touch {tmp_path}/hacked")
    assert "download key was ignored" in load_dataset(file).report.notes[0]
    assert not (tmp_path / "hacked").exists()


def test_lists_of_files(yolo_set: Make) -> None:
    file = yolo_set({"train": {"a": BOX, "b": BOX}, "val": {"c": BOX}})
    root = file.parent
    lines = (
        f"./images/train/a.jpg\n\nimages/train/b.jpg\n{root}/images/val/c.jpg\nimages/train/a.jpg"
    )
    (root / "list.txt").write_text(lines)
    file.write_text("train: [list.txt]\nnames: {1: dog, 0: cat}")
    dataset = load_dataset(file)
    assert [p.name for p in dataset.images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert dataset.names == ("cat", "dog")
    assert "more than once" in dataset.report.notes[0]
    assert len(load_dataset(root / "list.txt")) == 3
    (root / "list.txt").write_text("images/../../secret.jpg")
    with pytest.raises(DatasetError, match="leaves the data set"):
        load_dataset(file)


def test_plain_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no images; looked in images/train"):
        load_dataset(tmp_path)
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((80, 100, 3), np.uint8))
    (tmp_path / "a.txt").write_text("4 0.5 0.5 0.5 0.5")
    dataset = load_dataset(tmp_path)
    assert dataset.names == ("class0", "class1", "class2", "class3", "class4")
    (tmp_path / "classes.txt").write_text("one\ntwo\n")
    with pytest.raises(DatasetError, match="class id 4 is past"):
        load_dataset(tmp_path)


def test_missing_and_corrupt_images_are_counted(yolo_set: Make) -> None:
    file = yolo_set({"train": {"a": BOX, "b": BOX, "c": BOX}})
    images = file.parent / "images" / "train"
    (images / "b.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    (file.parent / "list.txt").write_text(
        "images/train/a.jpg\nimages/train/b.jpg\nimages/train/gone.jpg"
    )
    report = load_dataset(file.parent / "list.txt").report
    assert (report.images, report.missing_images, report.corrupt_images) == (1, 1, 1)
    assert report.files["missing_images"] == [str(images / "gone.jpg")]
    (images / "a.jpg").unlink()
    with pytest.raises(DatasetError, match="3 listed, 2 missing, 1 corrupt"):
        load_dataset(file.parent / "list.txt")


def test_coco(coco_set: Make) -> None:
    file = coco_set([(90, 10, 10, 20, 20, 0), (3, 50, 40, -10, 20, 0), (3, 0, 0, 50, 50, 1)])
    dataset = load_dataset(file, "val")
    assert dataset.names == ("car", "brush")  # contiguous, in the order of the ids
    xyxy, ids = dataset.boxes_xyxy(0)
    assert ids.tolist() == [1, 0]
    np.testing.assert_allclose(xyxy, [[10, 10, 30, 30], [40, 40, 50, 60]], atol=1e-4)
    assert dataset.report.inverted == dataset.report.ignored == len(dataset.ignored[0]) == 1
    assert load_dataset(file.parent.parent, "val").names == dataset.names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 5}, "expected the lists"),
        ({"images": []}, "lists no images"),
        ({"images": [{"id": 1, "file_name": "gone.jpg"}]}, "were not found; looked in"),
        ({"images": [{"id": 7}]}, "breaks the COCO format"),
        ({"categories": [{"id": 1, "name": "a"}]}, "category 3, which is not among"),
        ({"categories": [{"id": 3, "name": "a"}, {"id": 4, "name": "a"}]}, "one name"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2]}]}, "breaks the COCO"),
        ({"annotations": [{"image_id": 8, "category_id": 3, "bbox": [1, 2, 3, 4]}]}, "no labels"),
        ({"annotations": []}, "no labels at all"),
    ],
)
def test_coco_bad_files(coco_set: Make, change: dict[str, object], message: str) -> None:
    file = coco_set([(3, 10, 10, 20, 20, 0)])
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(DatasetError, match=message):
        load_dataset(file, "val")


def test_coco_paths_stay_inside(coco_set: Make) -> None:
    file = coco_set([(3, 10, 10, 20, 20, 0)])
    text = file.read_text()
    file.write_text(text.replace("1.jpg", "../annotations/../val2017/../../x.jpg"))
    with pytest.raises(DatasetError, match=r"not found|leaves the data set"):
        load_dataset(file, "val")
    file.write_text("{")
    with pytest.raises(DatasetError, match="not valid JSON"):
        load_dataset(file, "val")


def test_voc(voc_set: Make) -> None:
    folder = voc_set(
        {
            "a": [("dog", 30, 60, 10, 20), ("cat", 1, 1, 50, 50), ("cat", 1, 1, 50, 50)],
            "b": [("cat", 5, 5, 6, 40), ("cat", 10, 10, 90, 70, 1)],
        }
    )
    dataset = load_dataset(folder)
    assert dataset.names == ("cat", "dog")
    xyxy, ids = dataset.boxes_xyxy(0)
    assert ids.tolist() == [1, 0]
    np.testing.assert_allclose(xyxy[0], [10, 20, 30, 60], atol=1e-4)
    assert dataset.report.troubles == {
        "inverted": 1,
        "degenerate": 1,
        "duplicates": 1,
        "ignored": 1,
    }
    named = load_dataset(folder, names=["dog", "bird", "cat"])
    assert named.boxes[0][:, 0].tolist() == [0, 2]
    assert named.report.class_counts == {"dog": 1, "bird": 0, "cat": 1}
    with pytest.raises(DatasetError, match="labels cat, which is not among"):
        load_dataset(folder, names=["dog"])
    with pytest.raises(DatasetError, match=r"no split 'val'.*it has train"):
        load_dataset(folder, "val")


def test_voc_bad_files(voc_set: Make) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;">]>'
    folder = voc_set({"a": [("cat", 1, 1, 50, 50)]}, prefix=bomb)
    file = folder / "Annotations" / "a.xml"
    with pytest.raises(DatasetError, match="entities are never expanded"):
        load_dataset(folder)
    for text, message in {
        "<annotation>": "not valid XML",
        "<html></html>": "expected an <annotation>, got <html>",
        "<annotation><object><name>cat</name></object></annotation>": "no <bndbox>",
        "<annotation><object><name>cat</name><bndbox><xmin>a</xmin></bndbox></object>"
        "</annotation>": "object 1 has no proper box",
        "<annotation></annotation>": "no labels at all",
    }.items():
        file.write_text(text)
        with pytest.raises(DatasetError, match=message):
            load_dataset(folder)
    file.unlink()
    with pytest.raises(DatasetError, match="1 label files missing"):
        load_dataset(folder)


def test_unknown_source(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        load_dataset(tmp_path / "none.yaml")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(DatasetError, match=r"expected a data\.yaml"):
        load_dataset(tmp_path / "a.csv")


def test_check_splits(yolo_set: Make) -> None:
    file = yolo_set({"train": {"a": BOX, "b": BOX}, "val": {"c": BOX}})
    train, val = load_dataset(file, "train"), load_dataset(file, "val")
    check_splits(train, val)
    with pytest.raises(DatasetError, match=r"1 of 2 training images .*/a\.jpg"):
        check_splits(train, train.subset([0]))
    with pytest.raises(DatasetError, match="differ"):
        check_splits(train, val.with_names(["cat", "bird"]))


def test_subset_filter_and_hash(yolo_set: Make) -> None:
    file = yolo_set({"train": {"a": f"{BOX}\n1 0.5 0.5 0.5 0.5", "b": BOX}})
    dataset = load_dataset(file)
    assert dataset.subset([1]).report.boxes == 1 and dataset.report.boxes == 3
    dogs = dataset.keep_classes(["dog"])
    assert dogs.boxes[0][:, 0].tolist() == [1] and dogs.report.background == 1
    assert dataset.keep_classes([0, "dog"]).report.boxes == 3
    for wrong in ("bird", 2, -1):
        with pytest.raises(UnknownClassError, match="it has cat, dog"):
            dataset.keep_classes([wrong])
    hashes = {dataset.sha256(), dogs.sha256(), dataset.subset([0]).sha256()}
    assert len(hashes) == 3 and load_dataset(file).sha256() in hashes


@pytest.mark.parametrize(("split", "images", "boxes"), [("test", 72, 945), ("trainval", 292, 3941)])
def test_bccd(shared_dir: Path, split: str, images: int, boxes: int) -> None:
    """The number of boxes after repair that the oracle's README gives for the test split."""
    dataset = load_dataset(shared_dir / "data" / "bccd", split, names=["RBC", "WBC", "Platelets"])
    assert (dataset.report.images, dataset.report.boxes) == (images, boxes)
    assert not dataset.report.missing_images and not dataset.report.corrupt_images


def test_common10(shared_dir: Path) -> None:
    report = load_dataset(shared_dir / "data" / "common10", "val").report
    assert report.images == 1137
    counts = [1060, 398, 298, 187, 185, 148, 115, 138, 133, 50]  # its README
    assert list(report.class_counts.values()) == counts


def test_reading_needs_no_torch() -> None:
    code = "import sys; import yolov4sdk.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}).returncode == 0
