"""Training on classes that the validation split does not have."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from train.job import read_data
from train.settings import TrainSettings
from yolov4sdk.errors import DatasetError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Cats and dogs to train on, only cats to validate on."""
    for split, lines in (("train", "0 .5 .5 .4 .4\n1 .3 .3 .2 .2\n"), ("val", "0 .5 .5 .4 .4\n")):
        for part in ("images", "labels"):
            (tmp_path / part / split).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f"images/{split}/{split}.png"), np.zeros((64, 64, 3), np.uint8))
        (tmp_path / f"labels/{split}/{split}.txt").write_text(lines)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]")
    return tmp_path / "data.yaml"


def test_a_class_that_val_lacks_is_refused(data: Path) -> None:
    with pytest.raises(DatasetError, match=r"split 'val' has no box of dog.*--val-split \"\""):
        read_data(TrainSettings(data=str(data), classes=["dog"]), lambda _: None)


def test_other_classes_of_val_go_on_with_a_warning(data: Path) -> None:
    said: list[str] = []
    _, val = read_data(TrainSettings(data=str(data)), said.append)
    assert val is not None and any("val has no box of dog" in line for line in said)
    said.clear()
    read_data(TrainSettings(data=str(data), classes=["cat"]), said.append)
    assert not any("has no box" in line for line in said)


def test_without_validation_any_class_trains(data: Path) -> None:
    settings = TrainSettings(data=str(data), classes=["dog"], val_split="")
    assert read_data(settings, lambda _: None)[1] is None
