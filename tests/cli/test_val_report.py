"""`val --report`: one file with every mistake in it; and no output replaces what was there."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("matplotlib")

from yolov4sdk.cli import app
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.measure.evaluation import EvaluationResult, evaluate
from yolov4sdk.measure.metrics import Prediction, confusion_matrix
from yolov4sdk.measure.mistakes import confusions, find_mistakes, worst, worst_images
from yolov4sdk.measure.report import write_report

from .test_val_ids import MODEL

NAMES = ("cat", "dog & <b>cow</b>")


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    """Two images: a cat and a dog; two cats."""
    rows = {
        "a": "0 .25 .5 .2 .4\n1 .75 .5 .2 .4\n",
        "b": "0 .25 .25 .1 .1\n0 .6 .6 .6 .6\n",
    }
    folder = tmp_path / "data"
    folder.mkdir()
    for name, text in rows.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.full((100, 100, 3), 90, np.uint8))
        (folder / f"{name}.txt").write_text(text)
    (folder / "classes.txt").write_text("\n".join(NAMES))
    return load_dataset(folder)


FOUND = [
    # The cat is right, the dog is a cat, and there is one where nothing is.
    Prediction(
        np.array([[15, 30, 35, 70], [65, 30, 85, 70], [40, 0, 50, 10]], np.float32),
        np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 0, 1]),
    ),
    # Both are missed: one detection is too unsure.
    Prediction(
        np.array([[20, 20, 30, 30]], np.float32), np.array([0.2], np.float32), np.array([0])
    ),
]  # fmt: skip


def test_mistakes_are_those_of_the_matrix(dataset: DetectionDataset) -> None:
    mistakes = find_mistakes(dataset, FOUND)
    kinds = [(m.kind, m.image, m.label, m.found) for m in mistakes]
    assert sorted(kinds, key=str) == sorted(
        [
            ("confused", 0, 1, 0),
            ("false", 0, None, 1),
            ("missed", 1, 0, None),
            ("missed", 1, 0, None),
        ],
        key=str,
    )
    matrix = confusion_matrix(dataset, FOUND)
    assert matrix.tolist() == [[1, 0, 2], [1, 0, 0], [0, 1, 0]]
    assert matrix.sum() - np.trace(matrix) == len(mistakes)
    first, second = worst(mistakes, "missed", 5)
    assert first.share == pytest.approx(0.36, abs=1e-5) and second.share < first.share
    assert [pair for pair, _ in confusions(mistakes)] == [(1, 0)]
    assert [len(members) for _, members in worst_images(mistakes, 5)] == [2, 2]


class Page(HTMLParser):
    """What a page loads, its headings, cells and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.pictures: list[tuple[str, bytes]] = []
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        for key in ("src", "href"):
            if value := given.get(key):
                if found := re.fullmatch(r"data:image/(?:png|jpeg);base64,(.*)", value):
                    data = base64.b64decode(found[1])
                    self.pictures.append((given.get("alt") or "", data))
                else:
                    self.loaded.append(value)
        self.cells += [""] if tag == "td" else []

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "td":
            self.cells[-1] += data


def evaluated(dataset: DetectionDataset) -> EvaluationResult:
    """FOUND as the result of an evaluation."""
    given = {0: FOUND[0], 1: FOUND[1]}

    def infer(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes = np.zeros((len(images), 3, 4), np.float32)
        scores = np.zeros((len(images), 3, 2), np.float32)
        for b in range(len(images)):
            xyxy, confidence, ids = given[b]
            pad = (images.shape[2] - 96) / 2
            boxes[b, : len(xyxy)] = xyxy * 0.96 + pad
            scores[b, np.arange(len(ids)), ids] = confidence
        return boxes, scores

    return evaluate(infer, dataset, size=96)


def test_the_page(dataset: DetectionDataset, tmp_path: Path) -> None:
    result = evaluated(dataset)
    write_report(result, tmp_path / "r.html", "a <model> on data")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.loaded and not {"script", "link", "iframe", "b>"} & set(page.tags)
    assert "<title>a &lt;model&gt; on data</title>" in text
    assert "<b>cow</b>" not in text and "dog &amp; &lt;b&gt;cow&lt;/b&gt;" in text
    titles = [alt for alt, _ in page.pictures]
    for alt, data in page.pictures:
        assert cv2.imdecode(np.frombuffer(data, np.uint8), 1) is not None, alt
    for wanted in (
        "Precision over recall", "Confusion matrix", f"{NAMES[1]} as cat 0.80 (a.png)",
        "cat (b.png)", f"{NAMES[1]} 0.70 (a.png)", "1 confused, 1 false (a.png)",
        "2 missed (b.png)",
    ):  # fmt: skip
        assert wanted in titles
    rows = result.per_class()
    assert page.cells[:2] == ["cat", "3"]
    assert page.cells[2] == f"{rows[0]['ap']:.3f}" and page.cells[7] == "-"  # no large ones


def test_nothing_to_report(dataset: DetectionDataset, tmp_path: Path) -> None:
    def nothing(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(images), 1, 4), np.float32), np.zeros((len(images), 1, 2), np.float32)

    write_report(evaluate(nothing, dataset, size=96), tmp_path / "r.html", "nothing")
    assert (tmp_path / "r.html").read_text().count("<p>None.</p>") == 2


def test_class_sizes(dataset: DetectionDataset) -> None:
    coco = evaluated(dataset).coco
    assert coco.class_sizes.shape == (2, 3) and np.isnan(coco.class_sizes[:, 2]).all()
    known = coco.class_sizes[:, 0][~np.isnan(coco.class_sizes[:, 0])]
    assert known.mean() == pytest.approx(coco.ap_small)


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output + str(result.exception or "")


def test_the_command_replaces_nothing(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data = tmp_path / "data"
    data.mkdir()
    cv2.imwrite(str(data / "a.png"), np.full((64, 64, 3), 90, np.uint8))
    (data / "a.txt").write_text("0 .5 .5 .5 .5\n")
    (data / "classes.txt").write_text("dog\n")
    out = tmp_path / "out"
    words = ["val", MODEL, data, "--size", 64, "--report", out / "r.html", "--plots", out / "plots"]
    code, text = run(*words)
    assert code == 0, text
    assert "9 of the model's 10 classes are not in the data set" in " ".join(text.split())
    files = {path.name for path in out.rglob("*")}
    assert files == {"r.html", "plots", "pr.png", "f1.png", "confusion.png", "predictions.jpg"}
    before = (out / "r.html").stat().st_mtime_ns
    code, text = run(*words)
    assert code and "r.html is there already and is not replaced" in " ".join(text.split())
    assert (out / "r.html").stat().st_mtime_ns == before
    truth = (data / "classes.txt").read_bytes()
    for option in ("--detections", "--report"):
        code, text = run("val", MODEL, data, option, data / "classes.txt")
        assert code and (data / "classes.txt").read_bytes() == truth
    assert "--report writes an .html file" in " ".join(text.split())


def test_data_check_replaces_nothing(dataset: DetectionDataset, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    out.mkdir()
    (out / "train-labels.png").write_bytes(b"mine")
    code, text = run("data", "check", dataset.source, "--split", "train", "-o", out)
    assert code and "is there already" in " ".join(text.split())
    assert (out / "train-labels.png").read_bytes() == b"mine"


def test_json_holds_sizes_by_class(dataset: DetectionDataset) -> None:
    row = json.loads(json.dumps(evaluated(dataset).to_dict()))["classes"][0]
    assert {"ap_small", "ap_medium", "ap_large"} <= row.keys() and row["ap_large"] is None
