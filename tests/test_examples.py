"""The examples run, each as its own words say."""

from __future__ import annotations

import ast
import base64
import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
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
    """Its outputs are those of its code: each cell runs in order and says what it says there."""
    pytest.importorskip("openvino")
    pytest.importorskip("pandas")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    namespace: dict[str, Any] = {}
    pictures = 0
    for number, cell in enumerate(cells):
        printed, value = run_cell("".join(cell["source"]), number, namespace)
        kept = {output["output_type"]: output for output in cell["outputs"]}
        assert alike(printed, "".join(kept.get("stream", {}).get("text", ""))), number
        said = kept.get("execute_result", {}).get("data", {})
        assert alike("" if value is None else repr(value), "".join(said.get("text/plain", "")))
        assert ("text/html" in said) == hasattr(value, "_repr_html_")
        if "image/png" in said:
            assert picture_difference(said["image/png"], value._repr_png_()) < 2
            pictures += 1
        if data := kept.get("display_data", {}).get("data"):  # a figure
            assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
            pictures += 1
    assert pictures == 2


def run_cell(code: str, number: int, namespace: dict[str, Any]) -> tuple[str, Any]:
    """What a cell prints, and the value of its last line where that is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, f"cell {number}", "exec"), namespace)
        expression = last and compile(ast.Expression(last.value), f"cell {number}", "eval")
        value = eval(expression, namespace) if expression else None
    return printed.getvalue(), value


def alike(got: str, kept: str) -> bool:
    """The same words, and numbers that differ by what another processor's rounding does."""
    pattern = r"-?\d+(?:\.\d+)?"
    numbers = [[float(n) for n in re.findall(pattern, text)] for text in (got, kept)]
    words = [re.sub(pattern, "#", text).split() for text in (got, kept)]
    return words[0] == words[1] and numbers[0] == pytest.approx(numbers[1], abs=1.01)


def picture_difference(kept: str, got: bytes) -> float:
    """Mean difference of two PNG files."""
    a, b = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        for data in (base64.b64decode(kept), got)
    )
    assert a.shape == b.shape
    return float(cv2.absdiff(a, b).mean())
