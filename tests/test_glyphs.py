"""Labels in scripts that OpenCV does not draw right: order, shapes, fonts, what is missing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from yolov4sdk.detections import Detections
from yolov4sdk.imaging import glyphs
from yolov4sdk.imaging.draw import Style, draw

CACHES = (glyphs.picture, glyphs._font_for, glyphs._say)


@pytest.fixture
def dejavu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The system has one font, with Latin, Arabic and Hebrew."""
    pytest.importorskip("uharfbuzz")
    pytest.importorskip("bidi")
    matplotlib = pytest.importorskip("matplotlib")
    shutil.copy(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", tmp_path)
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(glyphs, "_FOLDERS", {sys.platform: (str(tmp_path),)})
    yield from fresh(monkeypatch)


def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(glyphs, "_read", [])
    monkeypatch.setattr(glyphs, "_waiting", None)
    for cached in CACHES:
        cached.cache_clear()
    yield
    for cached in CACHES:
        cached.cache_clear()


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("cat 0.93", True), ("قطة", False), ("बिल्ली", False), ("แมว", False), ("כלב", False),
        ("\N{CAT FACE} cat", False), ("猫", glyphs._OPENCV_5), ("Größe", glyphs._OPENCV_5),
    ],
)  # fmt: skip
def test_what_opencv_draws(text: str, right: bool) -> None:
    assert glyphs.drawn_by_opencv(text) == right


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("قطة 0.93", "0.93| |قطة"),  # numbers keep their own order, left of the word
        ("قط cat", "cat| |قط"),
        ("cat قط dog", "cat |قط| |dog"),
        ("a \u05db\u05dc\u05d1 b", "a |\u05db\u05dc\u05d1| |b"),
    ],
)
def test_right_to_left(dejavu: None, text: str, seen: str) -> None:
    runs = [(run, right_to_left) for run, _, right_to_left in glyphs._runs(text)]
    order = "".join(run for run, _ in runs).replace(" ", "")
    assert order == seen.replace("|", "").replace(" ", "")
    for run, right_to_left in runs:
        if run.strip():
            assert right_to_left == any("\u0590" < c < "\u0700" for c in run)


def test_arabic_is_joined(dejavu: None) -> None:
    """Letters take their joined forms: the word is not the row of its letters."""
    word, letters = "قطة", [glyphs.picture(c, 20) for c in "قطة"]
    joined = glyphs.picture(word, 20)
    assert joined is not None and all(letters)
    row = np.concatenate([one.mask for one in reversed(letters)], 1)  # type: ignore[union-attr]
    assert joined.mask.shape[1] < 0.95 * row.shape[1]
    columns = joined.mask.max(0) > 0.3
    assert columns[columns.argmax() : len(columns) - columns[::-1].argmax()].all()  # no gap
    assert joined.mask.min() == 0 and joined.mask.max() > 0.95


def test_letters_have_the_height_that_is_asked_for(dejavu: None) -> None:
    for height in (10, 20, 40):
        shown = glyphs.picture("H\u05d0", height)
        assert shown is not None
        left = shown.mask[:, : height // 2]
        assert (left.max(1) > 0.5).sum() == pytest.approx(height, abs=1.5)
        assert (left.max(1) > 0.5).nonzero()[0][-1] == pytest.approx(shown.baseline - 1, abs=1)


def test_a_drawing_in_arabic(dejavu: None) -> None:
    image = np.full((90, 120, 3), 90, np.uint8)
    boxes = np.array([[10, 40, 60, 80], [100, -5, 130, 30], [-20, 70, 30, 120]], np.float32)
    found = Detections(
        boxes, np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, int), ("قطة",), (90, 120)
    )
    plain = draw(image, found, Style(label=()))
    changed = (draw(image, found) != plain).any(2)
    assert changed.sum() > 500


def test_fonts_of_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devanagari, Thai and emoji, where the system has fonts for them."""
    pytest.importorskip("uharfbuzz")
    pytest.importorskip("bidi")
    for _ in fresh(monkeypatch):
        tried = 0
        for text in ("हिन्दी", "ที่นี่", "\N{CAT FACE}"):
            fonts = {font for _, font, _ in glyphs._runs(text)}
            if not all(ord(c) in set(next(iter(fonts)).face.unicodes) for c in text):
                continue
            tried += 1
            shown = glyphs.picture(text, 24)
            assert shown is not None and max(shown.mask.max(), shown.colored.max()) > 0.9
            if text == "\N{CAT FACE}" and shown.colored.any():
                assert len(np.unique(shown.colors.reshape(-1, 3), axis=0)) > 50
            if text == "ที่นี่":  # marks stand above their letters: as wide as the two consonants
                bare = glyphs.picture("ทน", 24)
                assert bare is not None and shown.mask.shape[1] <= bare.mask.shape[1] + 1
        if not tried:
            pytest.skip("no font of these scripts here")


def test_missing_parts_are_named(
    dejavu: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert glyphs.picture("แมว", 20) is not None
    assert "no font of this system has 'แ'" in caplog.text and "apt install" in caplog.text
    caplog.clear()
    glyphs.picture.cache_clear()
    monkeypatch.setitem(sys.modules, "uharfbuzz", None)
    found = Detections(
        np.array([[5, 30, 60, 60]], np.float32), np.ones(1, np.float32), np.zeros(1, int),
        ("قطة",), (80, 80),
    )  # fmt: skip
    image = np.zeros((80, 80, 3), np.uint8)
    assert (draw(image, found) != draw(image, found, Style(label=()))).any()
    assert 'pip install "yolov4sdk[text]"' in caplog.text
