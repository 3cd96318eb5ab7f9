"""From a fresh clone to a served model of one's own, by the clock."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from .conftest import REPOSITORY


@pytest.mark.slow
def test_ten_minutes_from_nothing() -> None:
    """Each step is done and timed, and the model finds the dog. The time is for a free machine."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "ten_minutes.py")],
        capture_output=True, text=True,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = re.findall(r"^ *(\d+\.\d) s  (\w+)", done.stdout, re.MULTILINE)
    assert [name for _, name in steps] == [
        "clone", "environment", "init", "fifty", "label", "data", "train", "export", "serve", "in"
    ]  # fmt: skip
    assert "answer: dog" in done.stdout
