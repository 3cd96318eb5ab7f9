"""Tracking: the same object keeps its id from frame to frame (ByteTrack)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..detections import Detections
from ..errors import MissingExtraError, SettingError
from ..imaging.draw import PALETTE

Frame = TypeVar("Frame")

UNTRACKED: Final = -1
"""The id of a box that belongs to no track (yet)."""


class Tracker:
    """ByteTrack of the `trackers` package over the frames of one video, in order.

    Boxes that score `high` or more start and continue tracks, lesser ones only continue them: let
    the detector report weak boxes (`conf=0.1`), so that hidden objects keep their ids. One tracker
    follows one video, and is used by one thread.

    Args:
        rate: frames per second of the video.
        high: score from which a box may start a track, 0..1.
        iou: overlap of a box with a track's expected box that makes them one, 0..1.
        lost: seconds for which an object that is not seen keeps its id.
        confirm: frames in a row that an object must be seen in before it gets an id.
        keep_untracked: report boxes without a track too, with the id -1.

    Raises:
        MissingExtraError: the `trackers` package is not installed.
        SettingError: a value outside its range.
    """

    def __init__(
        self,
        rate: float = 30.0,
        *,
        high: float = 0.5,
        iou: float = 0.1,
        lost: float = 1.0,
        confirm: int = 2,
        keep_untracked: bool = False,
    ) -> None:
        for name, value, low, top in (
            ("rate", rate, 1e-3, 1e4), ("high", high, 0, 1), ("iou", iou, 0, 1),
            ("lost", lost, 0, 3600), ("confirm", confirm, 1, 1000),
        ):  # fmt: skip
            if not low <= value <= top:
                raise SettingError(f"{name} must be {low} to {top}, got {value!r}")
        try:
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise MissingExtraError("Tracking", "track", "trackers") from error
        self._keep_untracked = keep_untracked
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(lost * 30),  # counted in frames of a video of 30 a second
            frame_rate=rate,
            track_activation_threshold=high,
            high_conf_det_threshold=high,
            minimum_iou_threshold=iou,
            minimum_consecutive_frames=confirm,
        )

    def update(self, detections: Detections, time: float | None = None) -> Detections:
        """The boxes of the next frame with `track_ids`, best first.

        Args:
            detections: of the frame; empty ones too, since time passes with every frame.
            time: of the frame in seconds, where frames are skipped or the rate varies.
        """
        marked = detections.to_supervision()
        marked.data = {"row": np.arange(len(detections))}  # the tracker changes the order
        found = self._tracker.update(marked, timestamp=time)
        ids = np.full(len(detections), UNTRACKED, np.int64)
        if len(found):
            ids[found.data["row"]] = found.tracker_id
        tracked = replace(detections, track_ids=ids)
        return tracked if self._keep_untracked else tracked[ids != UNTRACKED]

    def reset(self) -> None:
        """Forget all tracks: the next frame belongs to another video."""
        self._tracker.reset()


def track(
    frames: Iterable[tuple[Frame, Detections]], tracker: Tracker | None = None
) -> Iterator[tuple[Frame, Detections]]:
    """Each frame with its tracked detections; frames may be anything.

    Args:
        frames: in order, with what was found in each.
        tracker: None is one with the defaults.
    """
    tracker = tracker or Tracker()
    for frame, detections in frames:
        yield frame, tracker.update(detections)


class Trails:
    """Where tracked objects were: lines behind them, in constant memory.

    Args:
        length: frames that a trail reaches back.
    """

    def __init__(self, length: int = 30) -> None:
        if length < 2:
            raise SettingError(f"a trail is at least 2 frames long, got {length}")
        self._length = length
        self._frame = 0
        self._points: dict[int, deque[tuple[int, int, int]]] = {}

    def draw(self, image: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
        """Add a frame's positions (the middle of each box's lower side); draw all into `image`.

        Args:
            image: uint8 BGR [H, W, 3], changed in place; returned too.
            detections: tracked ones of this frame.
        """
        self._frame += 1
        if detections.track_ids is not None:
            for box, track_id in zip(detections.xyxy, detections.track_ids.tolist(), strict=True):
                if track_id != UNTRACKED:
                    point = (self._frame, round(float(box[0] + box[2]) / 2), round(float(box[3])))
                    self._points.setdefault(track_id, deque()).append(point)
        thickness = max(1, round(sum(image.shape[:2]) / 900))
        for track_id, points in list(self._points.items()):
            while points and points[0][0] <= self._frame - self._length:
                points.popleft()
            if not points:
                del self._points[track_id]
                continue
            line = np.array([point[1:] for point in points], np.int32).reshape(-1, 1, 2)
            color = PALETTE[track_id % len(PALETTE)]
            cv2.polylines(image, [line], False, color, thickness, cv2.LINE_AA)
        return image
