"""`yolov4sdk val` and `yolov4sdk data check` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from yolov4sdk.cli.data import data_app
from yolov4sdk.cli.val import val
from yolov4sdk.errors import DatasetError, YOLOv4Error

app = typer.Typer()
app.command("val")(val)
app.add_typer(data_app, name="data")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A YOLO set of three training and two validation images, two classes."""
    for split, count in (("train", 3), ("val", 2)):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        for i in range(count):
            noise = np.random.default_rng(i).integers(0, 256, (48, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "images" / split / f"{split}{i}.png"), noise)
            text = f"{i % 2} 0.5 0.5 0.5 0.5\n"
            (tmp_path / "labels" / split / f"{split}{i}.txt").write_text(text)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]")
    return tmp_path / "data.yaml"


def test_data_check_prints_and_draws(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "pictures"
    run = CliRunner().invoke(app, ["data", "check", str(data), "-o", str(out), "--decode"])
    assert run.exit_code == 0, run.output
    assert "train: 3 images (0 background), 3 boxes" in run.output
    assert {path.name for path in out.iterdir()} == {
        "train-labels.png",
        "train-samples.jpg",
        "val-labels.png",
        "val-samples.jpg",
    }
    for path in out.iterdir():
        assert cv2.imread(str(path)) is not None


def test_data_check_json_and_exit_code(data: Path) -> None:
    run = CliRunner().invoke(app, ["data", "check", str(data), "--json"])
    report = json.loads(run.output)
    assert run.exit_code == 0
    assert report["train"]["class_counts"] == {"cat": 2, "dog": 1}
    assert len(report["val"]["sha256"]) == 64
    broken = data.parent / "images" / "train" / "train0.png"
    broken.write_bytes(broken.read_bytes()[:100])
    run = CliRunner().invoke(app, ["data", "check", str(data), "--json", "--split", "train"])
    assert run.exit_code == 1
    assert json.loads(run.output)["train"]["corrupt_images"] == 1


def test_decode_finds_what_the_header_hides(data: Path) -> None:
    image = data.parent / "images" / "val" / "val0.png"
    content = bytearray(image.read_bytes())
    content[60:-20] = bytes(len(content) - 80)  # header and end are whole, the pixels are not
    image.write_bytes(content)
    plain = CliRunner().invoke(app, ["data", "check", str(data), "--json"])
    thorough = CliRunner().invoke(app, ["data", "check", str(data), "--json", "--decode"])
    assert (plain.exit_code, thorough.exit_code) == (0, 1)
    assert json.loads(thorough.output)["val"]["corrupt_images"] == 1


def test_data_check_finds_a_leak(data: Path) -> None:
    data.write_text("train: images/train\nval: images/train\nnames: [cat, dog]")
    run = CliRunner().invoke(app, ["data", "check", str(data)])
    assert isinstance(run.exception, DatasetError)
    assert "3 of 3 training images are validation images too" in str(run.exception)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from yolov4sdk.models import build_model
    from yolov4sdk.models.checkpoints import save_checkpoint

    path = tmp_path_factory.mktemp("model") / "n.safetensors"
    save_checkpoint(build_model("yolov4-csp-n", names=["cat", "dog"]), path)
    return path


def test_val(data: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots, found = tmp_path / "plots", tmp_path / "found.json"
    options = ["--size", "64", "--plots", str(plots), "--detections", str(found), "--json", "--tta"]
    run = CliRunner().invoke(app, ["val", str(model), str(data), *options])
    assert run.exit_code == 0, run.output
    result = json.loads(run.stdout)
    assert (result["images"], result["boxes"]) == (2, 2)
    assert [row["name"] for row in result["classes"]] == ["cat", "dog"]
    assert {path.name for path in plots.iterdir()} == {
        "pr.png",
        "f1.png",
        "confusion.png",
        "predictions.jpg",
    }
    rows = json.loads(found.read_text())
    assert rows and rows[0].keys() == {"image_id", "bbox", "score", "category_id"}
    assert {row["image_id"] for row in rows} <= {"val0.png", "val1.png"}
    table = CliRunner().invoke(app, ["val", str(model), str(data), "--size", "64", "--square"])
    assert table.exit_code == 0 and "AP50-95" in table.stdout


def test_val_errors(data: Path, model: Path) -> None:
    data.write_text(data.read_text().replace("dog", "bird"))
    run = CliRunner().invoke(app, ["val", str(model), str(data)])
    assert isinstance(run.exception, YOLOv4Error) and "bird" in str(run.exception)
