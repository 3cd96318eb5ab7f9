"""`yolov4sdk label`: its data sets are read by `data check`, and say what was found."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from yolov4sdk import Detections, Detector
from yolov4sdk.cli import app
from yolov4sdk.datasets import find_splits, load_dataset
from yolov4sdk.datasets.labelling import as_datasets
from yolov4sdk.errors import DatasetError, SettingError, YOLOv4Error

CONF = 0.6


@pytest.fixture(scope="module")
def images(photos_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for path in photos_dir.glob("*.*g"):
        shutil.copy(path, folder)
    return folder


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, YOLOv4Error):
        return 2, str(result.exception)
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("form", ["yolo", "coco", "voc"])
def test_labels_are_the_detections(
    form: str, images: Path, tiny_artefacts: dict[str, Path], tmp_path: Path
) -> None:
    model, out = tiny_artefacts["onnxruntime"], tmp_path / "out"
    code, words = run(
        "label", images, "-m", model, "-o", out, "--format", form, "--conf", CONF, "--val", 0.4
    )
    assert code == 0, words
    assert find_splits(out) == ["train", "val"]
    code, words = run("data", "check", out)
    assert code == 0, words
    with Detector(model, conf=CONF) as detector:
        found = {path.stem: detector(path) for path in images.iterdir()}
    total = 0
    for split in ("train", "val"):
        dataset = load_dataset(out, split)
        assert dataset.names == ("ant", "bee", "cow")
        total += len(dataset)
        for i, path in enumerate(dataset.images):
            xyxy, ids = dataset.boxes_xyxy(i)
            expected = found[path.stem]
            large = (expected.xywh[:, 2:] >= 2).all(axis=1)
            assert ids.tolist() == expected.class_ids[large].tolist()
            np.testing.assert_allclose(xyxy, expected.xyxy[large], atol=2e-3)
    assert total == len(found)


def test_chosen_classes_are_numbered_from_zero(
    images: Path, tiny_artefacts: dict[str, Path], tmp_path: Path
) -> None:
    code, words = run(
        "label", images, "-m", tiny_artefacts["onnxruntime"], "-o", tmp_path / "out",
        "--classes", "cow,ant", "--conf", "0.9,cow=0.5,ant=0.5", "--val", 0, "--images", "symlink",
    )  # fmt: skip
    assert code == 0, words
    dataset = load_dataset(tmp_path / "out", "train")
    assert dataset.names == ("cow", "ant") and dataset.report.boxes > 0
    assert all(path.is_symlink() for path in dataset.images)


def test_soft_labels_hold_scores_and_what_is_not_to_be_judged(
    images: Path, tiny_artefacts: dict[str, Path], tmp_path: Path
) -> None:
    model, out = tiny_artefacts["onnxruntime"], tmp_path / "out"
    code, words = run("label", images, "-m", model, "-o", out, "--soft", "--conf", CONF, "--val", 0)
    assert code == 0, words
    with Detector(model, conf=CONF / 2) as detector:
        found = {path.stem: detector(path) for path in images.iterdir()}
    dataset = load_dataset(out, "train")
    unsure = 0
    for i, path in enumerate(dataset.images):
        expected = found[path.stem]
        expected = expected[(expected.xywh[:, 2:] >= 2).all(axis=1)]
        sure = expected.scores >= CONF
        np.testing.assert_allclose(dataset.boxes_xyxy(i)[0], expected.xyxy[sure], atol=2e-3)
        np.testing.assert_allclose(dataset.scores[i], expected.scores[sure], rtol=1e-5)
        np.testing.assert_allclose(dataset.ignored_xyxy(i)[0], expected.xyxy[~sure], atol=2e-3)
        unsure += int((~sure).sum())
    assert unsure > 0 and dataset.report.ignored == unsure
    kept = dataset.keep_classes(["ant"])
    assert [len(s) for s in kept.scores] == [len(b) for b in kept.boxes]
    assert dataset.sha256() != replace(dataset, scores=[]).sha256()
    assert (
        "cannot hold" in run("label", images, "-o", tmp_path / "x", "--soft", "--format", "voc")[1]
    )


def test_a_score_outside_0_to_1_is_refused(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "images" / "train")
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    for image in (tmp_path / "images" / "train").iterdir():
        (labels / image.name).with_suffix(".txt").write_text("0 0.5 0.5 0.4 0.4 1.5\n")
    with pytest.raises(DatasetError, match=r"line 1: the sixth number .* 0 to 1, got 1\.5"):
        load_dataset(tmp_path, "train")


def test_bad_input(images: Path, tiny_artefacts: dict[str, Path], tmp_path: Path) -> None:
    model = tiny_artefacts["onnxruntime"]
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    assert "holds something" in run("label", images, "-m", model, "-o", full)[1]
    out = tmp_path / "out"
    assert "no object was found" in run("label", images, "-m", model, "-o", out, "--conf", 1)[1]
    assert (
        "has no class 'cat'" in run("label", images, "-o", out, "-m", model, "--conf", "cat=1")[1]
    )
    assert "takes a number" in run("label", images, "-o", out, "-m", model, "--conf", "high")[1]
    assert not out.exists()


def test_a_broken_image_is_left_out_and_told(
    images: Path, tiny_artefacts: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    code, words = run(
        "label", images, broken, "-o", tmp_path / "out", "-m", tiny_artefacts["onnxruntime"]
    )
    assert code == 1 and "broken.jpg" in words
    assert sum(len(load_dataset(tmp_path / "out", s)) for s in ("train", "val")) == 5


@pytest.mark.parametrize(("labelled", "splits"), [(1, ["train"]), (2, ["train", "val"])])
def test_every_split_has_objects(labelled: int, splits: list[str], photos_dir: Path) -> None:
    paths = sorted(photos_dir.glob("*.*g"))
    box = np.array([[10, 10, 90, 90]], np.float32)
    found = [
        (path, Detections(b := box[: i < labelled], b[:, 0] / 100, b[:, 0].astype(np.int64) * 0,
                          ("cow",), (500, 500)))
        for i, path in enumerate(paths)
    ]  # fmt: skip
    made = as_datasets(found, ("cow",), val=0.5)
    assert [d.split for d in made] == splits and all(d.report.boxes for d in made)
    assert sum(map(len, made)) == len(paths)
    with pytest.raises(SettingError):
        as_datasets(found, ("cow",), val=1)
    with pytest.raises(DatasetError):
        as_datasets(found[2:], ("cow",))


@pytest.mark.parametrize("form", ["yolo", "coco", "voc"])
def test_names_of_any_bytes(
    form: str, images: Path, tiny_artefacts: dict[str, Path], tmp_path: Path
) -> None:
    """Names that no list can hold are written with "_"; long ones and links are kept."""
    source, first = tmp_path / "in", sorted(images.iterdir())[0]
    source.mkdir()
    names = [b"caf\xe9.png", b"caf\xe8.png", b"x" * 246 + b".png"]
    for name in names:
        shutil.copy(first, os.fsencode(source) + b"/" + name)
    (source / "link.png").symlink_to("x" * 246 + ".png")
    out = tmp_path / "out"
    code, words = run(
        "label", source, "-m", tiny_artefacts["onnxruntime"], "-o", out, "--format", form,
        "--conf", CONF, "--val", 0,
    )  # fmt: skip
    assert code == 0, words
    dataset = load_dataset(out, "train")
    stems = {path.stem for path in dataset.images}
    assert len(dataset) == len(stems) == 4 and {"caf_", "link", "x" * 246} < stems
    counts = {len(rows) for rows in dataset.boxes}
    assert len(counts) == 1 and counts != {0}
