"""The four full-size models, built, exported at their own sizes and run once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ..conftest import REPOSITORY

SIZES = {"yolov4-csp": 640, "yolov4-p5": 896, "yolov4-p6": 1280, "yolov4-p7": 1536}
PARAMETERS = {
    "yolov4-csp": 52_924_765,
    "yolov4-p5": 70_834_012,
    "yolov4-p6": 127_590_576,
    "yolov4-p7": 287_575_580,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_exports_and_runs(name: str) -> None:
    """In a process of its own: its peak is that of this model, and its memory comes back."""
    command = [sys.executable, "-m", "benchmarks.export_memory", "--one", name]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["input_size"] == [SIZES[name]] * 2
    (check,) = report["checks"]
    assert check["images"] == 2 and check["boxes_max"] < 1e-3 and check["scores_max"] < 1e-3
    (file,) = report["files"]
    assert 0.98 < file["bytes"] / (4 * PARAMETERS[name]) < 1.02  # folding removes a few
    assert report["peak_memory"]["export"] < 9 * file["bytes"] + 1e9
