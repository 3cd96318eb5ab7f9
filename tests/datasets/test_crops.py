"""Boxes cut out, one folder a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from yolov4sdk.cli import app
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.datasets.crops import write_crops
from yolov4sdk.errors import DatasetError, ImageError, SettingError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two images of 100 x 200: a red box 40 x 50 and a green one 20 x 20 in each."""
    folder = tmp_path / "source"
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    for name in ("a", "b"):
        image = np.zeros((100, 200, 3), np.uint8)
        image[30:80, 100:140] = (0, 0, 255)
        image[0:20, 0:20] = (0, 255, 0)
        cv2.imwrite(str(folder / "images/train" / f"{name}.png"), image)
        (folder / "labels/train" / f"{name}.txt").write_text(
            "0 0.6 0.55 0.2 0.5\n1 0.05 0.1 0.1 0.2\n"
        )
    (folder / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [red, green]")
    return folder


@pytest.fixture
def dataset(source: Path) -> DetectionDataset:
    return load_dataset(source / "data.yaml", "train")


def test_what_is_cut(dataset: DetectionDataset, tmp_path: Path) -> None:
    counts = write_crops([dataset], tmp_path / "crops", margin=0.5, min_side=10)
    assert counts == {"train": {"red": 2, "green": 2}}
    red = cv2.imread(str(tmp_path / "crops/train/red/a-0.jpg"))
    assert red.shape == (95, 80, 3)  # the margin below is cut by the image
    assert red[50, 40, 2] > 200 and red[5, 5].max() < 50
    assert cv2.imread(str(tmp_path / "crops/train/green/b-1.jpg")).shape == (30, 30, 3)
    few = write_crops([dataset], tmp_path / "few", margin=0, min_side=30, per_class=1)
    assert few == {"train": {"red": 1}} and len(list((tmp_path / "few").rglob("*.jpg"))) == 1


def test_wrong_input_leaves_nothing(dataset: DetectionDataset, tmp_path: Path) -> None:
    target = tmp_path / "crops"
    with pytest.raises(DatasetError, match="500 pixels"):
        write_crops([dataset], target, min_side=500)
    with pytest.raises(SettingError, match="margin"):
        write_crops([dataset], target, margin=-1)
    with pytest.raises(DatasetError, match="name a folder"):
        write_crops([replace(dataset, names=("../x", "green"))], target)
    dataset.images[1].write_bytes(b"no image")
    with pytest.raises(ImageError):
        write_crops([dataset], target, min_side=10)
    assert not target.exists()


def test_command(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "crops"
    call = ["data", "crops", str(source / "data.yaml"), str(target), "--min-side", "10"]
    ran = CliRunner().invoke(app, call)
    assert ran.exit_code == 0, ran.output
    assert "green" in ran.output and len(list(target.rglob("*.jpg"))) == 8
    assert CliRunner().invoke(app, call).exit_code != 0  # there is something now
