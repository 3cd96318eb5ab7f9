"""Detections in videos and live sources, frame by frame, in constant memory.

    reader threads -> short queues -> batches -> workers running the Detector -> the caller

While the caller draws or encodes a batch, the next are in the network, the one after them is being
letterboxed and the readers decode the following. A live source has no queue but the newest frame,
and its batch is made when the caller asks: nobody gets an old picture.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from ..backends.base import ContextManager
from ..detections import Detections
from ..imaging.images import Pixels
from ..system.ahead import ahead
from .video import Picture, Reader

STOP_SECONDS: Final = 1.0  # longest wait for threads that hang in silent connections

logger: logging.Logger = logging.getLogger("yolov4sdk.streaming")


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame and what was found in it.

    Attributes:
        number: position in its source, from 0; skipped and dropped frames count.
        time: seconds since the source's first frame, from the source's time stamps; None for
            folders of images.
        image: uint8 BGR [H, W, 3], upright.
        detections: boxes in pixels of `image`.
        source: name of the source.
        source_index: its position among the sources.
    """

    number: int
    time: float | None
    image: Pixels
    detections: Detections
    source: str
    source_index: int


class Stream(ContextManager):
    """Iterator over the frames of one source or several; made by `Detector.stream`.

    The sources are opened and the threads started by the first `next`. `close`, the end of a
    `with` block, the end of the last reference and any error end the threads and close the files.

    Attributes:
        sources: the readers, with `name`, `live`, `rate`, `length` and `counts` (frames, broken,
            dropped, reconnects).
    """

    def __init__(
        self, detect: Callable[[list[Pixels]], list[Detections]], sources: Sequence[Reader],
        batch: int, replicas: int,
    ) -> None:  # fmt: skip
        self.sources: tuple[Reader, ...] = tuple(sources)
        # A function, not a method: threads that held the Stream would keep it alive for ever.
        self._frames = _frames(detect, self.sources, batch, replicas)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Frame:
        return next(self._frames)

    def close(self) -> None:
        """End the threads and close the sources."""
        self._frames.close()


def _frames(
    detect: Callable[[list[Pixels]], list[Detections]],
    readers: Sequence[Reader],
    batch: int,
    replicas: int,
) -> Generator[Frame]:
    """The whole pipeline. A failed source's error is raised when the other sources have ended."""

    def run(pictures: list[tuple[int, Picture]]) -> list[Frame]:
        found = detect([picture.image for _, picture in pictures])
        return [
            Frame(*picture, detections, readers[index].name, index)
            for (index, picture), detections in zip(pictures, found, strict=True)
        ]

    changed = threading.Condition()
    feeds = [_Feed(i, reader, batch, changed) for i, reader in enumerate(readers)]
    # One worker more than the network takes at a time, for letterbox and NMS, and a batch for each
    # keep it busy while the caller works; a live source's batches would grow old.
    workers = replicas + 1
    number = 0 if any(reader.live for reader in readers) else workers
    results = ahead(run, _batches(feeds, batch, changed), number, workers)
    try:
        yield from chain.from_iterable(results)
        for feed in feeds:
            if feed.error is not None:
                raise feed.error
    finally:
        results.close()
        deadline = time.monotonic() + STOP_SECONDS
        for feed in feeds:
            feed.stop()
        for feed in feeds:
            feed.join(deadline - time.monotonic())


def _batches(
    feeds: list[_Feed], size: int, changed: threading.Condition
) -> Iterator[list[tuple[int, Picture]]]:
    """Pictures from each source in turn, until all have ended.

    Files are waited for, so that batches are full; live sources give what they have.
    """
    turn = deque(feeds)
    while turn := deque(feed for feed in turn if not feed.ended):
        batch: list[tuple[int, Picture]] = []
        empty_handed = 0
        while len(batch) < size and empty_handed < len(turn):
            picture = turn[0].take()
            if picture is None:
                empty_handed += 1
            else:
                batch.append((turn[0].index, picture))
                empty_handed = 0
            turn.rotate(-1)
        if batch:
            yield batch
        else:
            with changed:
                changed.wait_for(lambda: any(feed.ready or feed.ended for feed in turn))


class _Feed:
    """A thread that reads one source into a short queue, or into one place for the newest frame."""

    def __init__(self, index: int, reader: Reader, room: int, changed: threading.Condition) -> None:
        self.index, self.reader = index, reader
        self.error: BaseException | None = None
        self._room, self._changed = 1 if reader.live else room, changed
        self._queue: deque[Picture] = deque()
        self._finished = self._closed = False
        self._thread = threading.Thread(
            target=self._fill, name=f"yolov4sdk-read-{index}", daemon=True
        )
        self._thread.start()

    @property
    def ready(self) -> bool:
        return bool(self._queue)

    @property
    def ended(self) -> bool:
        return self._finished and not self._queue

    def take(self) -> Picture | None:
        """The next picture; None at the end, and where a live source has no new one."""
        with self._changed:
            if not self.reader.live:
                self._changed.wait_for(lambda: self._queue or self._finished)
            if not self._queue:
                return None
            self._changed.notify_all()
            return self._queue.popleft()

    def stop(self) -> None:
        self.reader.stop()
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        self._thread.join(max(seconds, 0))

    def _fill(self) -> None:
        pictures = iter(self.reader)
        try:
            for picture in pictures:
                if not self._put(picture):
                    break
                del picture  # only the queue holds it
        except BaseException as error:  # raised again in the caller's thread
            logger.info("%s failed: %s", self.reader.name, error)
            self.error = error
        finally:
            pictures.close()
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _put(self, picture: Picture) -> bool:
        """Whether more is wanted. Waits for room; a live source's old frame makes room."""
        with self._changed:
            if self.reader.live and self._queue:
                self._queue.clear()
                self.reader.counts.dropped += 1
            self._changed.wait_for(lambda: len(self._queue) < self._room or self._closed)
            if not self._closed:
                self._queue.append(picture)
            self._changed.notify_all()
            return not self._closed
