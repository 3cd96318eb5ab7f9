"""Videos and folders of images as sequences of pictures: every frame, in order, upright.

PyAV rather than OpenCV: both decode to the same pixels at the same speed, but only PyAV gives each
frame's own time stamp, tells broken frames from good ones, takes a time limit for every protocol
and writes variable frame rates (docs/video.md has the comparison).
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import (
    ImageError,
    MissingExtraError,
    VideoDecodeError,
    VideoError,
    VideoNotFoundError,
)
from ..imaging.images import read_image
from ..imaging.sources import expand

logger: logging.Logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from av.container import InputContainer

# The display matrix says by how many degrees, counter-clockwise, a player turns the picture.
TURNS: Final = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}
# Formats without a clock: libav makes up 25 frames a second for them.
WITHOUT_CLOCK: Final = {"mjpeg", "mpjpeg", "jpeg_pipe", "png_pipe"}


class Picture(NamedTuple):
    """One decoded frame.

    Attributes:
        number: position in the source, from 0; frames that were skipped or dropped count.
        time: seconds since the source's first frame, from its time stamps; None in a folder.
        image: uint8 BGR [H, W, 3], upright.
    """

    number: int
    time: float | None
    image: NDArray[np.uint8]


@dataclass
class Counts:
    """What became of a source's frames."""

    frames: int = 0  # that the source had, up to now
    broken: int = 0  # not decodable, skipped
    dropped: int = 0  # of a live source, because a newer one came
    reconnects: int = 0


class Reader(Protocol):
    """A source of pictures. It is opened when iteration starts, and closed when that ends.

    Attributes:
        name: how the source is called in results and messages; never holds a password.
        live: whether old frames are worthless.
        rate: nominal frames a second; None where it is not known (yet).
        length: frames in it; None where it is not known (yet).
        counts: see `Counts`.
    """

    name: str
    live: bool
    rate: Fraction | None
    length: int | None
    counts: Counts

    def __iter__(self) -> Generator[Picture]:
        """Pictures, in order."""
        ...

    def stop(self) -> None:
        """End the iteration that another thread is in, as soon as it can."""
        ...


class VideoFile:
    """A video file, an HTTP file or a pipe, read frame by frame. See `Reader`.

    Args:
        source: what `open_container` takes.
        name: how it is called in results and messages.
        stride: every n-th frame is given.
        timeout: seconds without data after which a network source has failed; None waits.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoNotFoundError, VideoDecodeError: when iterated.
    """

    live = False

    def __init__(
        self,
        source: str | BinaryIO,
        name: str,
        stride: int = 1,
        timeout: float | None = None,
    ) -> None:
        import_av()
        self.name: str
        self.counts: Counts
        self.name, self.counts = name, Counts()
        self.rate: Fraction | None = None
        self.length: int | None = None
        self._source, self._stride, self._timeout = source, stride, timeout
        self._stopped = False

    def __iter__(self) -> Generator[Picture]:
        """Every `stride`-th picture."""
        with open_container(self._source, self.name, self._timeout) as container:
            stream = video_stream(container)
            stream.thread_type = "AUTO"
            self.rate, self.length = stream.average_rate, stream.frames or None
            for frame in decode(container, self.name, self.counts):
                if self._stopped:
                    return
                number = self.counts.frames - 1
                if number % self._stride == 0:
                    yield Picture(number, frame_time(frame, stream, number), to_bgr(frame))
        if self.counts.frames == self.counts.broken:
            raise VideoDecodeError(
                f"{self.name}: no frame in it can be decoded ({self.counts.broken} broken ones); "
                "it is empty or was cut off when it was written"
            )

    def stop(self) -> None:
        """See `Reader.stop`."""
        self._stopped = True


class ImageSequence:
    """The images of a folder or a glob, in the order of their names. See `Reader`."""

    live = False

    def __init__(self, source: str | Path, stride: int = 1) -> None:
        self.name: str
        self.counts: Counts
        self.name, self.counts = str(source), Counts()
        self.rate: Fraction | None = None
        self._paths = expand([source])
        self.length: int | None = len(self._paths)
        self._stride, self._stopped = stride, False

    def __iter__(self) -> Generator[Picture]:
        """Every `stride`-th picture; files that are not images are skipped, counted and logged.

        Raises:
            ImageError: none of them is an image; the last one's error.
        """
        failure: ImageError | None = None
        for number, path in enumerate(self._paths):
            if self._stopped:
                return
            self.counts.frames += 1
            if number % self._stride:
                continue
            try:
                image = read_image(path)
            except ImageError as error:
                self.counts.broken += 1
                logger.warning("skipped: %s", error)
                failure = error
                continue
            yield Picture(number, None, image)
        if failure is not None and self.counts.broken == -(-self.counts.frames // self._stride):
            raise failure

    def stop(self) -> None:
        """See `Reader.stop`."""
        self._stopped = True


def import_av() -> Any:
    """PyAV.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("Reading and writing video", "video", "av") from error
    return av


def open_container(
    source: str | BinaryIO,
    name: str,
    timeout: float | None = None,
    options: dict[str, str] | None = None,
) -> InputContainer:
    """Open what libav reads and make sure that there is video in it.

    Args:
        source: a URL, a path with the prefix "file:", or a binary file, which need not be
            seekable.
        name: for the messages.
        timeout: seconds for opening and, later, without data; None waits for ever.
        options: of libav.

    Raises:
        VideoNotFoundError: nothing there, or no access.
        VideoDecodeError: no video in it.
        VideoError: the connection failed; the message says why.
    """
    av = import_av()
    if not isinstance(source, str):
        # A playlist in a pipe could name any file or address.
        options = {**(options or {}), "protocol_whitelist": "pipe"}
    try:
        container: InputContainer = av.open(
            source, timeout=timeout, options=options or {}, metadata_errors="replace"
        )
    except (FileNotFoundError, PermissionError, av.error.HTTPClientError) as error:
        raise VideoNotFoundError(f"{name} cannot be opened: {error.strerror}") from error
    except (av.error.InvalidDataError, EOFError) as error:
        raise VideoDecodeError(
            f"{name}: no video, an empty file, or one whose index is missing because it was cut "
            "off; MP4, MKV, AVI, WebM, MPEG-TS, MJPEG and what else libav reads can be given"
        ) from error
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"{name} cannot be opened: {error.strerror or error}") from error
    if video_stream(container) is None:
        container.close()
        raise VideoDecodeError(f"{name}: no video stream in it, only sound or a cover picture")
    return container


def video_stream(container: InputContainer) -> Any:
    """The first video of a file; a cover picture, which libav lists as one, is not."""
    cover = import_av().stream.Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & cover), None)


def decode(container: InputContainer, name: str, counts: Counts) -> Iterator[Any]:
    """Good frames (`av.VideoFrame`) of the first video stream; `counts` is kept up to date.

    Raises:
        VideoError: the source stopped giving data.
    """
    av = import_av()
    try:
        for packet in container.demux(video_stream(container)):
            try:
                frames = packet.decode()
            except EOFError:  # the decoder was already flushed
                return
            except av.error.FFmpegError:
                counts.frames += 1
                counts.broken += 1
                continue
            for frame in frames:
                counts.frames += 1
                if frame.is_corrupt:  # libav paints over what it cannot decode
                    counts.broken += 1
                else:
                    yield frame
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"{name}: no more data after {counts.frames} frames: {error.strerror or error}"
        ) from error


def frame_time(frame: Any, stream: Any, number: int) -> float:
    """Seconds since the stream's start, from the frame's time stamp where it has one."""
    if frame.pts is None:
        return float(number / (stream.average_rate or 25))
    return float((frame.pts - (stream.start_time or 0)) * stream.time_base)


def to_bgr(frame: Any) -> NDArray[np.uint8]:
    """The frame's pixels as uint8 BGR [H, W, 3], turned upright."""
    image: NDArray[np.uint8] = frame.to_ndarray(format="bgr24")
    turn = TURNS.get(round(frame.rotation) % 360)
    return image if turn is None else np.asarray(cv2.rotate(image, turn), np.uint8)
