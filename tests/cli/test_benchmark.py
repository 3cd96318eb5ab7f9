"""`yolov4sdk benchmark`: what is measured, what is left out and why. No test asserts a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from yolov4sdk.cli import app
from yolov4sdk.errors import SettingError
from yolov4sdk.measure.benchmark import Case, Measurement, benchmark, operations, plot
from yolov4sdk.measure.ceiling import matrix_rates
from yolov4sdk.models import Model


def run(*arguments: str | Path) -> Result:
    options = [str(a) for a in arguments]
    return CliRunner().invoke(app, ["benchmark", *options], catch_exceptions=False)


def test_every_combination(micro_artefacts: dict[str, Path]) -> None:
    file = micro_artefacts["onnxruntime"]
    done = run(
        file, "--backend", "onnxruntime,openvino", "--batch", "1,2", "--size", "32,32x64",
        "--rounds", "3", "--no-ceiling", "--json",
    )  # fmt: skip
    report = json.loads(done.output)
    rows = report["measurements"]
    assert {(m["backend"], m["batch"], tuple(m["size"])) for m in rows} == {
        (name, batch, size)
        for name in ("onnxruntime", "openvino")
        for batch in (1, 2)
        for size in ((32, 32), (32, 64))
    }
    for m in rows:
        assert 0 < m["network"] <= m["p99"] and m["p95"] <= m["p99"]
        assert m["throughput"] == pytest.approx(1e3 * m["batch"] / m["network"])
        assert m["end_to_end"] < m["throughput"] and m["preprocess"] > 0 < m["postprocess"]
        assert m["share"] is None and m["ap"] is None
    assert report["skipped"] == []


def test_share_of_the_ceiling(micro_artefacts: dict[str, Path]) -> None:
    case = Case(micro_artefacts["onnxruntime"], size=(64, 64))
    rates = {"fp32": 1e12}
    ((found,), _) = benchmark([case], rounds=2, rates=rates)
    assert found.share is not None and 0 < found.share < 1
    assert found.memory is None or found.memory >= 0


def test_what_cannot_be_measured_is_said(
    micro_artefacts: dict[str, Path], tiny_fixed: Path
) -> None:
    fixed = run(
        tiny_fixed, "--batch", "1,2", "--size", "64,96x160", "--rounds", "1", "--no-ceiling"
    )
    assert fixed.exit_code == 0
    text = " ".join(fixed.output.split())
    assert "not measured: fixed.onnx, batch 1" in text and "the graph takes batches of 2" in text
    assert "this graph takes (96, 160) (height, width) only, got (64, 64)" in text
    none = run(
        micro_artefacts["onnxruntime"], "--precision", "bf16", "--rounds", "1", "--no-ceiling"
    )
    assert none.exit_code == 1 and "offers the precisions fp32" in none.output


def test_accuracy_and_its_plot(micro_artefacts: dict[str, Path], tmp_path: Path) -> None:
    import cv2
    import numpy as np

    for kind in ("images", "labels"):
        (tmp_path / kind / "val").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/val/a.png"), np.full((64, 64, 3), 90, np.uint8))
    (tmp_path / "labels/val/a.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (tmp_path / "data.yaml").write_text("path: .\nval: images/val\nnames: [ant]\n")
    picture = tmp_path / "plot.png"
    done = run(
        micro_artefacts["openvino"], "--data", tmp_path / "data.yaml", "--plot", picture,
        "--rounds", "1", "--no-ceiling",
    )  # fmt: skip
    assert done.exit_code == 0 and "AP" in done.output
    image = cv2.imread(str(picture))
    assert image is not None and image.std() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plot", "x.png"], "needs labels"),
        (["--batch", "none"], "positive numbers"),
        (["--size", "1x2x3"], "640 or 384x640"),
        (["--rounds", "0", "--no-ceiling"], "rounds must be at least 1"),
    ],
)
def test_refused(micro_artefacts: dict[str, Path], options: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        run(micro_artefacts["onnxruntime"], *options)


def test_plot_needs_accuracy(tmp_path: Path) -> None:
    values: dict[str, Any] = dict.fromkeys(Measurement.__dataclass_fields__, 1.0) | {"ap": None}
    with pytest.raises(SettingError, match="needs labels"):
        plot([Measurement(**values)], tmp_path / "x.png")


def test_operations_of_a_model(tiny_model: Model) -> None:
    small, large = (operations(tiny_model.spec, (side, side)) for side in (160, 320))
    assert small is not None and large == pytest.approx(4 * small)


def test_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolov4sdk.measure.ceiling.SIDE", 64)
    rates = matrix_rates(rounds=1)
    assert {"fp32", "bf16"} <= set(rates) and all(rate > 0 for rate in rates.values())
