"""The runner of `python -m benchmarks`: what it stores and how it is shown."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suite.parts import PARTS
from benchmarks.suite.render import exponent, render
from benchmarks.suite.result import Curve, Options, Result, Table, Target
from benchmarks.suite.store import load, merge, record
from yolov4sdk.measure.ceiling import copy_rate
from yolov4sdk.measure.timing import alternate


def found(value: float) -> Result:
    line = [(x, 3 * x**2) for x in (1.0, 10.0, 100.0)]
    return Result(
        tables=[Table("", {"name": "", "ms": ".1f"}, [["ours", value], ["theirs", None]])],
        curves=[Curve("growth-test", "Growth", "px", "ms", {"time": line})],
        targets=[Target("speed", "a speed, ms", value, 5.0, format=".1f")],
        profiles={"speed": "all of it in one place\n"},
    )  # fmt: skip


def test_a_part_takes_the_place_of_its_older_record(tmp_path: Path) -> None:
    path = tmp_path / "results" / "results.json"
    for name, value in (("nms", 4.0), ("start", 3.0), ("nms", 7.0)):
        merge(name, record(found(value), {"fp32": 2e11, "copy": 5e10}, False, 1.0), path)
    records = load(path)
    assert list(records) == ["start", "nms"]  # the order of the parts
    assert records["nms"].result == found(7.0)
    text = render(records, path.parent).read_text()
    assert "| a speed, ms (start) | ≤ 5.0 | 3.0 | met |" in text
    assert "| a speed, ms (nms) | ≤ 5.0 | 7.0 | **missed** |" in text
    assert "| ours | 7.0 |\n| theirs | - |" in text
    assert "200 GOP/s, fp32" in text and "50 GB/s copied" in text
    assert (tmp_path / "results/profiles/speed.txt").read_text() == "all of it in one place\n"
    assert (tmp_path / "results/growth-test.png").read_bytes().startswith(b"\x89PNG")


def test_exponent_of_a_power() -> None:
    assert exponent([(x, 5 * x**1.5) for x in (1.0, 8.0, 64.0)]) == pytest.approx(1.5)
    assert np.isnan(exponent([(1.0, 2.0)]))


def test_every_part_has_a_module_that_measures() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    pytest.importorskip("supervision")
    for part in PARTS.values():
        assert callable(import_module(f"benchmarks.parts.{part.module}").measure)


def test_a_part_runs(tmp_path: Path) -> None:
    result = PARTS["pipeline-stages"].run(Options(tmp_path, tmp_path, quick=True))
    (table,) = result.tables
    assert all(isinstance(cell, float) and cell >= 0 for row in table.rows for cell in row[3:])


def test_unknown_part_is_named() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "no part speed" in run.stderr


def test_alternate_starts_no_round_that_would_end_too_late() -> None:
    calls: list[int] = []
    times = alternate({"one": lambda: calls.append(1)}, 100, seconds=0)
    assert len(times["one"]) == 1  # the first that counts, always
    assert len(calls) == 2


def test_copy_rate_is_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolov4sdk.measure.ceiling.COPIED", 1 << 20)
    assert copy_rate(1) > 1e6
