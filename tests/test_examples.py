"""The examples run, each as its own words say."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from .conftest import REPOSITORY
from .docs.sandbox import write_video

EXAMPLES = REPOSITORY / "examples"


def run(folder: Path, script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_detect(tmp_path: Path) -> None:
    assert "cat" in run(tmp_path, "detect.py")
    assert (tmp_path / "out" / "chelsea.jpg").is_file()


def test_batch_folder(tmp_path: Path, photos_dir: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("chelsea.png", "horses.jpg"):
        (folder / name).symlink_to(photos_dir / name)
    (folder / "broken.jpg").write_bytes(b"no picture")
    run(tmp_path, "batch_folder.py", folder)
    rows = list(csv.DictReader((tmp_path / "out" / "boxes.csv").open()))
    assert {row["file"] for row in rows} == {"chelsea.png", "horses.jpg", "broken.jpg"}
    for row in rows:
        if row["file"] == "broken.jpg":
            assert "not an image" in row["error"]
        else:
            assert float(row["x2"]) > float(row["x1"]) and not row["error"]


def test_track_video(tmp_path: Path, photos_dir: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("trackers")
    write_video(tmp_path / "cat.mp4", photos_dir / "chelsea.png")
    out = run(tmp_path, "track_video.py", "cat.mp4", "tracked.mp4")
    assert "5 frames" in out and (tmp_path / "tracked.mp4").stat().st_size > 1000


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    out = run(tmp_path, "demo.py", "pictures")
    assert "and OpenVINO agree" in out and "try next" in out
    assert len(list((tmp_path / "pictures").iterdir())) == len(
        list((EXAMPLES / "images").glob("*.[jp]*g"))
    )


def test_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code cells run in order, without a kernel: all they need of IPython is `Image`."""
    pytest.importorskip("openvino")
    pictures: list[bytes] = []
    display = ModuleType("IPython.display")
    display.Image = lambda data: pictures.append(data) or SimpleNamespace(data=data)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.chdir(EXAMPLES)
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    namespace: dict[str, Any] = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None, "clear the outputs"
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
    assert namespace["found"].labels == ["cat"] and pictures[0].startswith(b"\xff\xd8")
