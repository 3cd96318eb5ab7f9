"""A user's program is type-checked against the package as it is installed: py.typed counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from yolov4sdk import Detections, Detector, ModelSpec, YOLOv4Error


def labels(image: str | Path) -> list[str]:
    try:
        with Detector(conf=0.4, classes=["dog"]) as detector:
            spec: ModelSpec = detector.spec
            one: Detections = detector(image)
            many: list[Detections] = detector([image, image], iou=0.5)
    except YOLOv4Error as error:
        return [str(error)]
    boxes: NDArray[np.float32] = many[0].xyxy
    print(spec.names, boxes.shape)
    return one.labels
"""
BAD = """
from yolov4sdk import Detector

number: int = Detector()("dog.jpg")
Detector(confidence=0.4)
"""


def mypy(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "user.py").write_text(code)
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "user.py"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_user_program(tmp_path: Path) -> None:
    run = mypy(tmp_path, GOOD)
    assert run.returncode == 0, run.stdout + run.stderr
    run = mypy(tmp_path, BAD)
    assert "[assignment]" in run.stdout and "[call-arg]" in run.stdout, run.stdout + run.stderr
