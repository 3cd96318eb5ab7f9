"""Changed files of every kind: an error of ours or a right result, cheap, and no code is run.

python -m pytest -m slow tests/fuzz
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from yolov4sdk import errors

from ..conftest import REPOSITORY

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")

SECONDS = 2.0
"""Of processor time, which other work on the machine does not change."""
MEGABYTES = 300.0


def fuzz(folder: Path, seed: int, count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.worker", str(folder), str(seed), str(count)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, f"after {lines[-1:]}: {done.stderr[-2000:]}"
    results = [line for line in lines if "raised" in line]
    assert len(results) == count
    bad = [line for line in results if not _right(line)]
    assert not bad, f"{len(bad)} of {count}, such as {json.dumps(bad[0], indent=1)}"
    assert {line["raised"] for line in results} > {"", "ForeignFileError", "ModelConfigError"}


def _right(line: dict[str, Any]) -> bool:
    known = line["raised"] == "" or hasattr(errors, line["raised"])
    cheap = line["seconds"] <= SECONDS and line["megabytes"] <= MEGABYTES
    return known and cheap and not line["trace"] and not line["ran"]


def test_three_hundred_changed_files(tmp_path: Path) -> None:
    fuzz(tmp_path, seed=0, count=300)


@pytest.mark.slow
def test_five_thousand_changed_files(tmp_path: Path) -> None:
    fuzz(tmp_path, seed=1000, count=5000)
