"""`yolov4sdk verify`: the table, the JSON, the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from yolov4sdk.cli import app
from yolov4sdk.errors import DatasetError, ImageNotFoundError, SettingError


def verify(*arguments: str | Path) -> Result:
    options = [str(a) for a in arguments]
    return CliRunner().invoke(app, ["verify", *options], catch_exceptions=False)


def test_artefacts_of_one_model(micro_artefacts: dict[str, Path]) -> None:
    done = verify(*micro_artefacts.values())
    assert done.exit_code == 0, done.output
    assert "model.onnx" in done.output and "reference" in done.output and "yes" in done.output
    report = json.loads(verify(*micro_artefacts.values(), "--json", "--size", "32", "64").output)
    assert report["size"] == [32, 64] and report["images"] == 4
    reference, *others = report["artefacts"]
    assert "matched" not in reference and len(others) == 2
    assert all(0 < row["boxes_max"] < 1e-3 and row["complaints"] == [] for row in others)


@pytest.mark.parametrize("option", ["--max-box-error", "--max-score-error"])
def test_past_the_tolerance(
    micro_artefacts: dict[str, Path], photos_dir: Path, option: str
) -> None:
    files = micro_artefacts["torch"], micro_artefacts["onnxruntime"]
    done = verify(*files, "--images", photos_dir, option, "0")
    assert done.exit_code == 1
    assert "allowed 0" in done.output


def test_accuracy_is_compared(micro_artefacts: dict[str, Path], tmp_path: Path) -> None:
    import cv2
    import numpy as np

    for kind in ("images", "labels"):
        (tmp_path / kind / "val").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/val/a.png"), np.full((64, 64, 3), 90, np.uint8))
    (tmp_path / "labels/val/a.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (tmp_path / "data.yaml").write_text("path: .\nval: images/val\nnames: [ant]\n")
    files = micro_artefacts["torch"], micro_artefacts["openvino"]
    done = verify(*files, "--data", tmp_path / "data.yaml", "--json")
    rows = json.loads(done.output)["artefacts"]
    assert [row["ap"] is not None for row in rows] == [True, True]
    assert rows[0]["ap"] == pytest.approx(rows[1]["ap"], abs=1e-6)
    worse = verify(*files, "--data", tmp_path / "data.yaml", "--max-drop", "-1")
    assert worse.exit_code == 1 and "lower, allowed -1" in worse.output.replace("\n", " ")


def test_refused(micro_artefacts: dict[str, Path], tmp_path: Path) -> None:
    file = micro_artefacts["onnxruntime"]
    with pytest.raises(SettingError, match="at least two"):
        verify(file)
    with pytest.raises(SettingError, match="between 0 and 1"):
        verify(file, file, "--min-matched", "99")
    with pytest.raises(ImageNotFoundError, match="no images in"):
        verify(file, file, "--images", tmp_path)
    with pytest.raises(DatasetError, match="does not exist"):
        verify(file, file, "--data", tmp_path / "data.yaml")
