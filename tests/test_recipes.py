"""The recipes of docs/recipes.md run as they stand."""

from __future__ import annotations

import re
import shlex
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from yolov4sdk.cli import app

from .conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")


@pytest.mark.skipif(
    not (files("yolov4sdk") / "assets" / "default.onnx").is_file(), reason="no embedded model"
)
def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackers", reason="the trackers package is not installed")
    pytest.importorskip("supervision", reason="supervision is not installed")
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    python = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    shell = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    assert len(python) > 6 and len(shell) > 1
    exec(compile("\n".join(python), "recipes.md", "exec"), {})
    assert (tmp_path / "out" / "hidden.jpg").is_file()
    for line in "".join(shell).splitlines():
        words = shlex.split(line)
        assert words[0] == "yolov4sdk"
        run = CliRunner().invoke(app, words[1:])
        assert run.exit_code == 0, (line, run.output, run.exception)
