"""Detections: a checked value, its conversions and its table."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest

from yolov4sdk import Detections, errors
from yolov4sdk.system.classes import resolve_conf

NAMES = ("cat", "dog", "polar bear")


def some(tracks: bool = False) -> Detections:
    return Detections(
        xyxy=np.array([[10, 20, 30, 60], [0, 0, 100, 50], [5, 5, 6, 6]], np.float32),
        scores=np.array([0.9, 0.5, 0.25], np.float32),
        class_ids=np.array([1, 0, 2]),
        names=NAMES,
        image_size=(50, 100),
        track_ids=np.array([7, 8, 9]) if tracks else None,
    )


def test_boxes_in_other_forms() -> None:
    found = some()
    assert found.xywh[0].tolist() == [10, 20, 20, 40]
    assert found.cxcywh[0].tolist() == [20, 40, 20, 40]
    np.testing.assert_allclose(found.xyxy_normalised[1], [0, 0, 1, 1])
    np.testing.assert_allclose(found.cxcywh_normalised[0], [0.2, 0.8, 0.2, 0.8])
    assert found.labels == ["dog", "cat", "polar bear"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [0.9]),
        (-1, [0.25]),
        (np.int64(1), [0.5]),
        (slice(1, None), [0.5, 0.25]),
        ([2, 0], [0.25, 0.9]),
        (np.array([True, False, True]), [0.9, 0.25]),
        ([], []),
    ],
)
def test_selection(index, expected) -> None:
    found = some(tracks=True)[index]
    np.testing.assert_allclose(found.scores, expected)
    assert len(found.track_ids) == len(found.xyxy) == len(expected)


def test_filter_iterate_compare() -> None:
    found = some()
    assert found.filter(classes=["dog", 2]).labels == ["dog", "polar bear"]
    assert found.filter(min_score=0.5).labels == ["dog", "cat"]
    assert [one.labels for one in found] == [["dog"], ["cat"], ["polar bear"]]
    assert found == some() != found[:2] and found != some(tracks=True) and found != 3
    with pytest.raises(errors.UnknownClassError, match="did you mean 'polar bear'"):
        found.filter(classes=["polarbear"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.scores = found.scores  # type: ignore[misc]


def test_json_and_coco() -> None:
    data = json.loads(some(tracks=True).to_json())
    assert data["image"] == {"height": 50, "width": 100}
    assert data["detections"][0] == {
        "name": "dog",
        "class_id": 1,
        "score": 0.9,
        "box": {"x1": 10.0, "y1": 20.0, "x2": 30.0, "y2": 60.0},
        "track_id": 7,
    }
    entries = some().to_coco(image_id=5, category_ids={0: 17, 1: 18, 2: 23})
    assert entries[0] == {
        "image_id": 5,
        "category_id": 18,
        "bbox": [10.0, 20.0, 20.0, 40.0],
        "score": 0.9,
    }
    assert [entry["category_id"] for entry in some().to_coco()] == [1, 0, 2]


def test_yolo_lines() -> None:
    assert some().to_yolo().splitlines()[0] == "1 0.200000 0.800000 0.200000 0.800000 0.900000"
    assert some().to_yolo(scores=False).splitlines()[0].count(" ") == 4


def test_supervision() -> None:
    pytest.importorskip("supervision")
    converted = some(tracks=True).to_supervision()
    assert np.array_equal(converted.xyxy, some().xyxy)
    assert converted.data["class_name"].tolist() == some().labels
    assert converted.tracker_id.tolist() == [7, 8, 9]


def test_table() -> None:
    lines = str(some()).splitlines()
    assert lines[0].split() == ["class", "score", "x1", "y1", "x2", "y2"]
    assert lines[3].split() == ["polar", "bear", "0.250", "5.0", "5.0", "6.0", "6.0"]
    assert str(some()[[]]) == "no detections in an image of 100 x 50"


def test_crop_draw_save(photos_dir: Path, tmp_path: Path) -> None:
    image = cv2.imread(str(photos_dir / "dog.jpg"))
    height, width = image.shape[:2]
    found = Detections(
        np.array([[10.2, 20, 60.5, 90], [width - 3, 0, width, 4], [50, 50, 50, 50]], np.float32),
        np.array([0.9, 0.8, 0.7], np.float32),
        np.array([0, 1, 2]),
        NAMES,
        (height, width),
    )
    crops = found.crop(image)
    assert [crop.shape for crop in crops] == [(70, 51, 3), (4, 3, 3), (1, 1, 3)]
    assert np.array_equal(crops[0], image[20:90, 10:61])
    before = image.copy()
    drawn = found.draw(photos_dir / "dog.jpg")
    assert np.array_equal(image, before)
    changed = (drawn != image).any(axis=2)
    assert changed[20, 10:60].all() and not changed[200:, 200:].any()
    path = found.save(tmp_path / "new" / "dog.png", image)
    assert np.array_equal(cv2.imread(str(path)), drawn)
    with pytest.raises(errors.SettingError, match=r"'\.xyz' is not written"):
        found.save(tmp_path / "dog.xyz", image)
    assert not (tmp_path / "dog.xyz").exists()
    with pytest.raises(errors.TensorError, match="belong to"):
        found.draw(image[:50])


def test_shapes_are_checked() -> None:
    with pytest.raises(errors.TensorError, match=r"\(2, 4\), \(1,\)"):
        Detections(
            np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros(2, int), NAMES, (5, 5)
        )


def test_thresholds_by_name_or_id() -> None:
    names = ("ant", "bee", "cow")
    assert resolve_conf(0.3, names) == 0.3
    by_class = resolve_conf({"bee": 0.5, 2: 0.75}, names)
    np.testing.assert_array_equal(by_class, np.array([0.25, 0.5, 0.75], np.float32))
    others = resolve_conf({"bee": 0.5, "default": 0.125}, names)
    np.testing.assert_array_equal(others, np.array([0.125, 0.5, 0.125], np.float32))
    own = resolve_conf({"default": 0.5}, (*names, "default"))  # a class of that name
    np.testing.assert_array_equal(own, np.array([0.25, 0.25, 0.25, 0.5], np.float32))
    with pytest.raises(errors.UnknownClassError, match="did you mean 'bee'"):
        resolve_conf({"be": 0.5}, names)
    with pytest.raises(errors.SettingError, match="numbers"):
        resolve_conf({"bee": "high"}, names)  # type: ignore[dict-item]


def test_rows_are_named_values() -> None:
    rows = [(one.name, round(one.score, 2), one.class_id, one.track_id) for one in some(True)]
    assert rows == [("dog", 0.9, 1, 7), ("cat", 0.5, 0, 8), ("polar bear", 0.25, 2, 9)]
    x1, y1, x2, y2 = some()[0].box
    assert (x1, y1, x2, y2) == (10, 20, 30, 60) and some()[0].track_id is None
    assert some()[1] == some()[1:2]  # still detections


def test_csv_and_pandas(tmp_path: Path) -> None:
    text = some(tracks=True).to_csv(tmp_path / "new" / "boxes.csv")
    assert (tmp_path / "new" / "boxes.csv").read_bytes().decode() == text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[2]["name"] == "polar bear" and rows[2]["track_id"] == "9"
    assert [float(rows[0][key]) for key in ("score", "x1", "y1", "x2", "y2")] == [
        0.9, 10, 20, 30, 60
    ]  # fmt: skip
    assert "track_id" not in some().to_csv()
    pandas = pytest.importorskip("pandas")
    table = some(tracks=True).to_pandas()
    assert list(table.columns) == [*rows[0]] and table["score"].dtype == np.float32
    assert table.loc[2, "name"] == "polar bear" and table["track_id"].tolist() == [7, 8, 9]
    assert isinstance(some()[[]].to_pandas(), pandas.DataFrame) and not len(some()[[]].to_pandas())


def test_pandas_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(errors.MissingExtraError, match=r'pip install "yolov4sdk\[pandas\]"'):
        some().to_pandas()


def test_from_supervision() -> None:
    supervision = pytest.importorskip("supervision")
    for found in (some(), some(tracks=True), some()[[]]):
        shuffled = found.to_supervision()[np.random.default_rng(0).permutation(len(found))]
        assert Detections.from_supervision(shuffled, (50, 100), NAMES) == found
    named = Detections.from_supervision(some()[:1].to_supervision(), (50, 100))
    assert named.names == ("0", "dog") and named.labels == ["dog"]
    bare = supervision.Detections(xyxy=np.zeros((1, 4)))
    with pytest.raises(errors.TensorError, match="class_id"):
        Detections.from_supervision(bare, (50, 100))
    with pytest.raises(errors.TensorError, match="2 names"):
        Detections.from_supervision(some().to_supervision(), (50, 100), NAMES[:2])


def test_from_coco() -> None:
    categories = {0: 17, 1: 18, 2: 23}
    entries = some().to_coco(image_id=5, category_ids=categories)
    assert Detections.from_coco(entries[::-1], (50, 100), NAMES, categories) == some()
    labels = [{k: v for k, v in entry.items() if k != "score"} for entry in some().to_coco()]
    truth = Detections.from_coco(labels, (50, 100), NAMES)
    assert truth.scores.tolist() == [1, 1, 1] and np.array_equal(truth.xyxy, some().xyxy)
    assert len(Detections.from_coco([], (50, 100), NAMES)) == 0
    for wrong, message in (
        ([{**entries[0], "category_id": 9}], "9 has no name"),
        ([{**entries[0], "bbox": [1, 2]}], r"got \[1, 2\]"),
        ([entries[0], {**entries[1], "image_id": 6}], "2 images"),
    ):
        with pytest.raises(errors.TensorError, match=message):
            Detections.from_coco(wrong, (50, 100), NAMES, categories)


def test_the_source_is_remembered(photos_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "dog.jpg"
    shutil.copy(photos_dir / "dog.jpg", path)
    image = cv2.imread(str(path))
    found = dataclasses.replace(some(), image_size=image.shape[:2], source=path)
    assert np.array_equal(found.draw(), found.draw(image)) and found[0].source is path
    assert found == dataclasses.replace(found, source=None)
    assert len(found[:1].crop()) == 1 and found.save(tmp_path / "drawn.png").is_file()
    with pytest.raises(errors.SettingError, match="another name"):
        found.save(path)
    kept = dataclasses.replace(found, source=image)
    assert np.array_equal(kept.draw(), found.draw())
    unknown = dataclasses.replace(found, source=None)
    with pytest.raises(errors.SettingError, match="keep_images=True"):
        unknown.save(tmp_path / "x.png")
    path.unlink()
    with pytest.raises(errors.ImageNotFoundError):
        found.draw()
    assert "<img" not in found._repr_html_() and found._repr_png_() is None


def test_a_notebook_shows_a_picture_and_a_table() -> None:
    image = np.full((600, 1200, 3), 80, np.uint8)
    found = dataclasses.replace(
        some(tracks=True), names=("cat", "<b>dog</b>", "polar bear"), image_size=(600, 1200),
        source=image,
    )  # fmt: skip
    page = found._repr_html_()
    data = base64.b64decode(re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)[0])
    assert cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape == (400, 800, 3)
    assert "<b>" not in page and "&lt;b&gt;dog" in page and page.count("<tr>") == 4
    shown = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), 1)
    assert shown.shape == (400, 800, 3) and (shown != 80).any()
    assert "nothing in an image of 1200 x 600" in found[[]]._repr_html_()


def test_plot_and_show(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib").use("agg")
    image = np.zeros((50, 100, 3), np.uint8)
    found = dataclasses.replace(some(), source=image)
    axes = found.plot()
    assert np.array_equal(axes.images[0].get_array(), found.draw()[..., ::-1])
    assert found.plot(axes=axes) is axes and len(axes.images) == 2
    displayed: list[bytes] = []
    shell = ModuleType("IPython")
    shell.get_ipython = lambda: SimpleNamespace(kernel=True)  # type: ignore[attr-defined]
    display = ModuleType("IPython.display")
    display.Image, display.display = lambda data: data, displayed.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    found.show()
    assert displayed == [found._repr_png_()]
