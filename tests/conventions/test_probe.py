"""`probe`: the right declaration of a trained foreign file, and no winner where none shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from yolov4sdk.cli import app
from yolov4sdk.contract.contract import GraphContract
from yolov4sdk.conventions.coco import NAMES
from yolov4sdk.conventions.declaration import foreign, read_declaration
from yolov4sdk.datasets import load_dataset
from yolov4sdk.errors import SettingError
from yolov4sdk.measure.metrics import Prediction
from yolov4sdk.measure.probe import Ranked, decide, probe
from yolov4sdk.measure.probe_runs import VIEWS, consistency
from yolov4sdk.measure.probe_variants import Candidate

from ..conftest import REPOSITORY
from .cases import CASES, write

SHARED = REPOSITORY.parent / "shared"
YOLOX = SHARED / "foreign" / "yolox_nano.onnx"
COMMON = SHARED / "data" / "common10"
trained = pytest.mark.skipif(
    not (YOLOX.is_file() and COMMON.is_dir()), reason="needs ../shared/foreign and common10"
)


def candidate(name: str, changes: str = "", color: str = "BGR") -> Candidate:
    row = foreign()[name]
    assert row.input is not None
    taken = replace(row.input, color=color)  # type: ignore[arg-type]
    return Candidate(row, GraphContract(taken, row.output), changes)


@pytest.mark.parametrize(
    ("scores", "winner"),
    [
        ([("yolox-raw", "", 0.35), ("yolox", "", 0.0)], "yolox-raw"),
        ([("yolox-raw", "", 0.35), ("yolox", "", 0.34)], None),
        ([("yolox-raw", "", 0.03), ("yolox", "", 0.0)], None),
        # other values within the margin: the declaration stays as it is
        ([("yolox-raw", "RGB", 0.35), ("yolox-raw", "", 0.34)], "yolox-raw"),
        ([("yolox-raw", "RGB", 0.35), ("yolox-raw", "", 0.2)], "yolox-raw (RGB)"),
        # the same reading of the outputs, another input
        ([("yolox", "", 0.35), ("yolov5", "", 0.34)], None),
        ([("yolox", "", 0.35), ("yolov5", "", 0.2)], "yolox"),
    ],
)
def test_decide(scores: list[tuple[str, str, float]], winner: str | None) -> None:
    ranked = [
        Ranked(candidate(name, changes, "RGB" if changes or name == "yolov5" else "BGR"), score)
        for name, changes, score in scores
    ]
    found, reason = decide(ranked, margin=0.03, least=0.05)
    assert (found and found.title) == winner
    assert winner is not None or reason.startswith("undecided")


def test_views_lead_back() -> None:
    """A bright rectangle is where the view's way back says."""
    image = np.zeros((240, 320, 3), np.uint8)
    image[60:120, 40:140] = 255
    for view in VIEWS:
        bright = (view.change(image) == 255).all(axis=2)
        y, x = np.nonzero(bright)
        box = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float32)
        assert np.abs(view.back(box, 240, 320) - [40, 60, 140, 120]).max() <= 2, view.name


def test_consistency() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    one = Prediction(box, np.float32([0.8]), np.array([1]))
    other_class = one._replace(class_ids=np.array([2]))
    elsewhere = one._replace(xyxy=box + 20)
    # a = 0.8 in one pair of two: share 0.8 / 1.6, weight 0.4 / 1.4
    assert consistency([{"plain": one, "a": one, "b": elsewhere}]) == pytest.approx(0.5 * 0.4 / 1.4)
    assert consistency([{"plain": one, "a": one}]) == pytest.approx(0.8 / 1.8)
    assert consistency([{"plain": one, "a": other_class}]) == 0


def test_what_shows_nothing_is_undecided(tmp_path: Path) -> None:
    """A graph that sees the same in any picture; RF-DETR's forms fit it alike."""
    path = write(CASES["rfdetr"](), tmp_path / "m.onnx")
    pictures = []
    for i in range(2):
        pictures.append(tmp_path / f"{i}.png")
        noise = np.random.default_rng(i).integers(0, 255, (90, 120, 3), np.uint8)
        cv2.imwrite(str(pictures[-1]), noise)
    ranking = probe(path, pictures)
    assert ranking.winner is None and ranking.reason.startswith("undecided")
    names = {one.candidate.row.name for one in (*ranking.ranked, *ranking.others)}
    assert {"rfdetr", "rfdetr-background-first"} <= names
    output = tmp_path / "found.json"
    result = CliRunner().invoke(
        app, ["probe", str(path), "--images", str(tmp_path), "-o", str(output)]
    )
    assert result.exit_code == 1 and "undecided" in result.output and not output.exists()


def test_labels_need_names_and_there_must_be_pictures(tmp_path: Path) -> None:
    path = write(CASES["yolox"](), tmp_path / "m.onnx")
    with pytest.raises(SettingError, match="there are no pictures"):
        probe(path, [])
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "0.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(SettingError, match="does not name its classes"):
        probe(path, dataset=load_dataset(tmp_path))


@trained
@pytest.mark.slow
def test_forty_labelled_pictures_name_yolox_raw(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    result = CliRunner().invoke(
        app,
        ["probe", str(YOLOX), "--labels", str(COMMON / "data.yaml"), "--names", "coco",
         "--map", "potted plant=pottedplant", "-o", str(output)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    row = read_declaration(output)
    assert row.name == "yolox-raw" and row.input is not None
    assert (row.input.color, row.input.scale, row.output.box) == ("BGR", 1.0, "grid-exp")


@trained
@pytest.mark.slow
def test_without_labels_no_wrong_winner() -> None:
    pictures = sorted((COMMON / "images" / "val").glob("*.jpg"))
    ranking = probe(YOLOX, pictures, names=NAMES, count=8)
    assert ranking.winner is None or ranking.winner.row.name == "yolox-raw"
    assert ranking.ranked[0].candidate.row.name == "yolox-raw"
