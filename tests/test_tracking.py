"""Ids stay with their objects; trails show where they were."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov4sdk import Detections
from yolov4sdk.errors import MissingExtraError, SettingError
from yolov4sdk.results.tracking import UNTRACKED, Tracker, Trails, track


def boxes(centres: np.ndarray, scores: float | np.ndarray = 0.9) -> Detections:
    """Boxes of 20 x 20 pixels around points [N, 2], best first."""
    centres = np.asarray(centres, np.float32).reshape(-1, 2)
    n = len(centres)
    scores = np.broadcast_to(np.float32(scores), n).copy()
    order = np.argsort(-scores, kind="stable")
    xyxy = np.concatenate((centres - 10, centres + 10), axis=1)
    return Detections(xyxy[order], scores[order], np.arange(n)[order], tuple("abcdef"), (200, 300))


@pytest.fixture(autouse=True)
def _library(request: pytest.FixtureRequest) -> None:
    if "blocked" not in request.node.name:
        pytest.importorskip("trackers", reason="the trackers package is not installed")


@given(seed=st.integers(0, 1000), count=st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_objects_keep_their_ids_whatever_the_order(seed: int, count: int) -> None:
    """Objects in lanes of their own, at changing scores: each class has one id for ever."""
    rng = np.random.default_rng(seed)
    starts = np.stack((rng.uniform(20, 60, count), 20 + 35 * np.arange(count)), axis=1)
    speeds = np.stack((rng.uniform(-1, 4, count), np.zeros(count)), axis=1)
    frames = (
        (t, boxes(starts + speeds * t, rng.uniform(0.6, 0.99, count).astype(np.float32)))
        for t in range(20)
    )
    ids: dict[int, set[int]] = {}
    for t, tracked in track(frames):
        assert tracked.track_ids is not None
        assert len(tracked) == (count if t else 0)  # an id from the second frame on
        assert (np.diff(tracked.scores) <= 0).all()
        for class_id, track_id in zip(tracked.class_ids, tracked.track_ids, strict=True):
            ids.setdefault(int(class_id), set()).add(int(track_id))
    assert all(len(found) == 1 for found in ids.values())
    assert len(set.union(*ids.values())) == count


def test_a_weak_box_continues_a_track_and_starts_none() -> None:
    tracker = Tracker(confirm=1)
    point = np.array([[50, 50]])
    for score in (0.9, 0.9, 0.2):
        found = tracker.update(boxes(point, score))
    assert found.track_ids is not None and len(found) == 1 and found.scores[0] == np.float32(0.2)
    other = Tracker(confirm=1)
    assert all(len(other.update(boxes(point, 0.2))) == 0 for _ in range(5))


@pytest.mark.parametrize(("gap", "same"), [(10, True), (60, False)])
def test_an_object_that_is_hidden_keeps_its_id_for_a_second(gap: int, same: bool) -> None:
    tracker = Tracker(rate=30, lost=1.0)
    here, nothing = boxes([[50, 50]]), boxes(np.zeros((0, 2)))
    first = [tracker.update(here) for _ in range(3)][-1]
    for _ in range(gap):
        assert len(tracker.update(nothing)) == 0
    last = [tracker.update(here) for _ in range(3)][-1]
    assert (first.track_ids == last.track_ids).all() == same


def test_time_stamps_count_instead_of_frames() -> None:
    tracker = Tracker(rate=30, lost=1.0)
    here, nothing = boxes([[50, 50]]), boxes(np.zeros((0, 2)))
    first = [tracker.update(here, time=i / 30) for i in range(3)][-1]
    tracker.update(nothing, time=0.1)
    last = [tracker.update(here, time=5 + i / 30) for i in range(3)][-1]
    assert (first.track_ids != last.track_ids).all()


def test_untracked_boxes_are_kept_on_demand_and_reset_forgets() -> None:
    tracker = Tracker(keep_untracked=True)
    here = boxes([[50, 50], [150, 100]], np.array([0.9, 0.8], np.float32))
    assert tracker.update(here) == replace(here, track_ids=np.array([UNTRACKED] * 2))
    ids = tracker.update(here).track_ids
    tracker.reset()
    assert (tracker.update(here).track_ids == UNTRACKED).all()
    assert (tracker.update(here).track_ids == ids).all()  # counted anew


def test_trails_follow_the_boxes_and_are_forgotten() -> None:
    trails = Trails(length=10)
    black = np.zeros((200, 300, 3), np.uint8)
    for t in range(8):
        moved = replace(boxes([[50 + 10 * t, 50]]), track_ids=np.array([3]))
        picture = trails.draw(black.copy(), moved)
    ys, xs = np.nonzero(picture.any(axis=2))
    assert xs.min() in (49, 50) and xs.max() in (120, 121) and abs(ys - 60).max() <= 1
    nothing = replace(boxes(np.zeros((0, 2))), track_ids=np.zeros(0, np.int64))
    for _ in range(10):
        picture = trails.draw(black.copy(), nothing)
    assert not picture.any() and not trails._points


@pytest.mark.parametrize(
    "wrong", [{"rate": 0}, {"high": 1.1}, {"iou": -0.1}, {"lost": -1}, {"confirm": 0}], ids=str
)
def test_wrong_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Tracker(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="at least 2"):
        Trails(1)


def test_blocked_library_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "yolov4sdk\[track\]"'):
        Tracker()
