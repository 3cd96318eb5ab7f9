"""The command: files written, exit codes, JSON for machines."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import pytest
import torch

from yolov4sdk.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `yolov4sdk ARGUMENTS`."""
    capsys.readouterr()
    argv = sys.argv
    sys.argv = ["yolov4sdk", *map(str, arguments)]
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = argv
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def model(micro_artefacts: dict[str, Path]) -> Path:
    return micro_artefacts["onnxruntime"]


@pytest.fixture
def folder(photos_dir: Path, tmp_path: Path) -> Path:
    """Photographs, one in a subfolder, two that share a stem, and two that are broken."""
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for name in ("dog.jpg", "chelsea.png"):
        shutil.copy(photos_dir / name, root)
    shutil.copy(photos_dir / "horses.jpg", root / "more")
    cv2.imwrite(str(root / "dog.png"), cv2.imread(str(photos_dir / "dog.jpg"))[:50, :60])
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no photograph")
    (root / "empty.png").write_bytes(b"")
    (root / "notes.txt").write_text("not an image")
    return root


def test_a_folder_with_broken_images(capsys, model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text, err = run(
        capsys, "detect", folder, "-m", model, "-o", out, "--conf", 0.001,
        "--format", "image,json,yolo,csv",
    )  # fmt: skip
    assert code == 1
    assert "broken.jpg" in err and "empty.png" in err and "notes.txt" not in err
    for name in ("dog", "dog_png", "chelsea", "more/horses"):
        assert (out / f"{name}.jpg").is_file() and (out / "labels" / f"{name}.txt").is_file()
    records = json.loads((out / "detections.json").read_text())
    assert len(records) == 4 and all(r["detections"] for r in records)
    rows = list(csv.DictReader((out / "detections.csv").open(newline="")))
    assert len(rows) == sum(len(r["detections"]) for r in records)
    assert float(rows[0]["x1"]) == records[0]["detections"][0]["box"]["x1"]
    assert cv2.imread(str(out / "more" / "horses.jpg")).shape == (512, 773, 3)
    assert sum(line.startswith(str(folder)) for line in text.splitlines()) == 4


def test_json_on_standard_output(capsys, model: Path, folder: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        capsys, "detect", folder / "*.jpg", "-m", model, "-o", tmp_path / "o", "--json",
        "--format", "json",
    )  # fmt: skip
    data = json.loads(out)
    assert code == 1 and [Path(e["file"]).name for e in data["failed"]] == ["broken.jpg"]
    assert [Path(e["file"]).name for e in data["images"]] == ["dog.jpg"]


def test_good_images_exit_with_zero(capsys, model: Path, folder: Path, tmp_path: Path) -> None:
    code, out, _ = run(capsys, "detect", folder / "dog.jpg", "-m", model, "-o", tmp_path / "o")
    assert code == 0 and "dog.jpg:" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "none.jpg"], "no image, folder or match"),
        (["detect", "{folder}/more", "--classes", "unicorn"], "no class 'unicorn'"),
        (["detect", "{folder}/more", "--conf", "7"], "conf must be between 0 and 1"),
        (["detect", "{folder}/more", "--format", "gif"], "no format gif"),
        (["detect", "{folder}/more", "--size", "100"], "multiples of 32"),
        (["detect", "{folder}/notes.txt", "--backend", "x"], "no backend 'x'"),
        (["info", "none.onnx"], "no model file at"),
        (["info", "{folder}/dog.jpg"], "is not an artefact"),
        (["import", "none.pt"], "no model file at"),
        (["import", "{folder}/notes.txt"], "not a checkpoint of torch.save"),
    ],
)
def test_errors_are_one_message_and_exit_code_2(
    capsys, arguments: list[str], message: str, model: Path, folder: Path
) -> None:
    arguments = [a.replace("{folder}", str(folder)) for a in arguments]
    if arguments[0] == "detect":
        arguments += ["-m", str(model)]
    code, out, err = run(capsys, *arguments)
    assert code == 2 and message in err and "Traceback" not in err and out == ""


def test_wrong_usage_exits_with_2(capsys) -> None:
    code, _, err = run(capsys, "detect")
    assert code == 2 and "--help" in err


@pytest.mark.parametrize("backend", ["torch", "onnxruntime", "openvino"])
def test_info(capsys, backend: str, micro_artefacts: dict[str, Path]) -> None:
    code, out, _ = run(capsys, "info", micro_artefacts[backend], "--json")
    spec = json.loads(out)
    assert code == 0 and spec["names"] == ["ant"] and spec["strides"] == [8, 16, 32]
    code, out, _ = run(capsys, "info", micro_artefacts[backend])
    assert code == 0 and "ant" in out


def test_models_lists_the_family(capsys) -> None:
    code, out, _ = run(capsys, "models", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and rows["yolov4-p7"]["parameters"] == 287_575_580
    assert len(rows) == 7


def test_import_export_detect(capsys, photos_dir: Path, tmp_path: Path) -> None:
    """The way of a published checkpoint, with fresh weights in its place."""
    from yolov4sdk.models import build_model

    weights = tmp_path / "weights.pt"
    torch.save(build_model("yolov4-csp-n", names=["a", "b"]).state_dict(), weights)
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    code, out, _ = run(capsys, "import", weights, "--names", tmp_path / "names.txt", "--size", 96)
    assert code == 0 and "yolov4-csp-n" in out and "2 classes" in out
    native = tmp_path / "weights.safetensors"
    code, out, _ = run(capsys, "info", native, "--json")
    assert json.loads(out)["names"] == ["cat", "dog"] and json.loads(out)["input_size"] == [96, 96]
    code, out, err = run(
        capsys, "detect", photos_dir / "dog.jpg", "-m", native, "-o", tmp_path / "o"
    )
    assert code == 0, err


def test_version(capsys) -> None:
    import yolov4sdk

    code, out, _ = run(capsys, "--version")
    assert code == 0 and out.strip() == yolov4sdk.__version__


def test_a_disk_without_room(capsys, model: Path, folder: Path, small_disk: Path) -> None:
    code, _, err = run(capsys, "detect", folder / "dog.jpg", "-m", model, "-o", small_disk)
    assert code == 2 and err.strip().endswith(
        f"dog.jpg cannot be written: {os.strerror(errno.ENOSPC)}"
    )
    assert not list(small_disk.iterdir())


def test_an_output_folder_that_cannot_be_one(capsys, model: Path, folder: Path) -> None:
    code, _, err = run(capsys, "detect", folder / "dog.jpg", "-m", model, "-o", folder / "dog.png")
    assert code == 2 and "cannot be written: " in err and "Traceback" not in err
