"""Live sources: cameras and network streams that come back after they were lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import StreamTimeoutError, VideoDecodeError, VideoError, VideoNotFoundError
from .video import (
    WITHOUT_CLOCK,
    Counts,
    Picture,
    decode,
    frame_time,
    open_container,
    to_bgr,
    video_stream,
)

RETRY_SECONDS: Final = 0.25
# Short probing and no reordering or read-ahead: what counts is the newest frame. RTSP over TCP:
# lost UDP packets would be broken frames.
OPTIONS: Final = {
    "fflags": "nobuffer",
    "flags": "low_delay",
    "analyzeduration": "100000",
    "fpsprobesize": "0",
    "rtsp_transport": "tcp",
}

Stamped = tuple[float | None, NDArray[np.uint8]]
Connect = Callable[["LiveSource", float], Iterator[Stamped]]

logger: logging.Logger = logging.getLogger("yolov4sdk.live")


class LiveSource:
    """A source that is opened again when it fails. See `yolov4sdk.streams.video.Reader`.

    The log (`yolov4sdk.live`) says when it is lost and when it is back;
    `counts.reconnects` too.

    Args:
        name: how it is called in results and messages.
        connect: takes the LiveSource and a time limit in seconds; gives (time stamp in seconds or
            None, uint8 BGR [H, W, 3]) for each frame, and raises VideoError where it fails.
        stride: every n-th frame is given.
        timeout: seconds in which the first frame must come.
        reconnect: seconds for which a lost source is tried again; None is for ever.

    Raises:
        VideoNotFoundError: when iterated: refused at the first try (no such camera, 401, 404).
        StreamTimeoutError: when iterated: one of the two time limits passed.
    """

    live = True

    def __init__(
        self,
        name: str,
        connect: Connect,
        stride: int = 1,
        timeout: float = 10.0,
        reconnect: float | None = None,
    ) -> None:
        self.name: str
        self.counts: Counts
        self.name, self.counts = name, Counts()
        self.rate: Fraction | None = None
        self.length: int | None = None
        self.finite = False  # set by `connect`: its end is the end, not a failure
        self._connect, self._stride = connect, stride
        self._timeout, self._reconnect = timeout, reconnect
        self._stopped = threading.Event()

    def __iter__(self) -> Generator[Picture]:
        """Pictures of one connection after the other."""
        first: float | None = None  # when the first frame came; clock of all connections
        lost = time.monotonic()
        while not self._stopped.is_set():
            failure: Exception = VideoError(f"{self.name} ended")
            offset: float | None = None  # from the connection's time stamps to ours
            try:
                for stamp, image in self._connect(self, self._seconds_left(lost, first)):
                    now = time.monotonic()
                    first = now if first is None else first
                    if offset is None:
                        self._say_back(now - lost)
                        offset = now - first - (stamp or 0.0)
                    lost = now
                    number = self.counts.frames - 1
                    if number % self._stride == 0:
                        seconds = now - first if stamp is None else stamp + offset
                        yield Picture(number, seconds, image)
                    if self._stopped.is_set():
                        return
                if self.finite:
                    break
            except VideoError as error:
                if first is None and isinstance(error, VideoNotFoundError):
                    raise
                failure = error
            if offset is not None:
                self.counts.reconnects += 1
                logger.warning("%s is lost (%s); trying again", self.name, failure)
            if self._seconds_left(lost, first) <= 0:
                raise self._too_late(first, failure) from failure
            self._stopped.wait(RETRY_SECONDS)
        if self.finite and first is None:
            raise VideoDecodeError(f"{self.name}: no frame in it that can be decoded")

    def stop(self) -> None:
        """See `yolov4sdk.streams.video.Reader.stop`."""
        self._stopped.set()

    def _seconds_left(self, lost: float, first: float | None) -> float:
        limit = self._timeout if first is None else self._reconnect
        if limit is None:
            return self._timeout
        return min(limit - (time.monotonic() - lost), self._timeout)

    def _say_back(self, seconds: float) -> None:
        if self.counts.reconnects:
            logger.warning("%s is back after %.1f s", self.name, seconds)
        else:
            logger.info("%s started after %.1f s", self.name, seconds)

    def _too_late(self, first: float | None, failure: Exception) -> StreamTimeoutError:
        if first is None:
            return StreamTimeoutError(
                f"{self.name} did not start in {self._timeout:g} s ({failure}); raise `timeout` "
                "where it needs longer"
            )
        return StreamTimeoutError(
            f"{self.name} was lost and did not come back in {self._reconnect:g} s ({failure})"
        )


def connect_url(url: str) -> Connect:
    """For `LiveSource`: frames of an RTSP, HTTP or other network stream."""

    def connect(source: LiveSource, seconds: float) -> Iterator[Stamped]:
        with open_container(url, source.name, max(seconds, 0.1), OPTIONS) as container:
            stream = video_stream(container)
            stream.thread_type = "SLICE"  # threads by frame hold a frame back for each thread
            clock = not WITHOUT_CLOCK & set(container.format.name.split(","))
            source.rate = stream.guessed_rate if clock else None
            source.finite = container.duration is not None
            for frame in decode(container, source.name, source.counts):
                stamp = frame_time(frame, stream, 0) if clock and frame.pts is not None else None
                yield stamp, to_bgr(frame)

    return connect


def connect_camera(index: int | str) -> Connect:
    """For `LiveSource`: frames of a camera, through OpenCV, which knows every platform's."""

    def connect(source: LiveSource, seconds: float) -> Iterator[Stamped]:
        capture = cv2.VideoCapture(index)
        try:
            if not capture.isOpened():
                raise VideoNotFoundError(
                    f"{source.name} cannot be opened: not there, in use, or no permission"
                )
            rate = capture.get(cv2.CAP_PROP_FPS)
            source.rate = Fraction(rate).limit_denominator(1001) if rate > 0 else None
            while True:
                good, image = capture.read()
                if not good:
                    raise VideoError(f"{source.name} gives no more frames")
                source.counts.frames += 1
                yield None, np.asarray(image, np.uint8)
        finally:
            capture.release()

    return connect
