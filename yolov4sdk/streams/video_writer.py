"""Pictures to an H.264 file, each at its own time."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError, VideoError
from ..system.files import atomic_write
from ..system.outputs import Writing
from .video import import_av

if TYPE_CHECKING:
    from types import TracebackType

CLOCK: Final = 90_000  # ticks a second: whole numbers for 24, 25, 30, 29.97 and 59.94 frames
ENCODERS: Final = ("libx264", "libopenh264", "mpeg4")  # the first that this PyAV has


class VideoWriter:
    """A context manager that writes one video file, whole or not at all.

    The file appears when the block ends: also after Ctrl-C or a failed source (`VideoError`),
    with the frames up to then. Any other error leaves nothing. Sound is not written.

    Args:
        path: .mp4, .mkv, .mov or another suffix of libav.
        rate: nominal frames a second; what a player shows follows the frames' own times.
        writing: what puts the file in its place.

    Raises:
        MissingExtraError: PyAV is not installed.
        SettingError: a suffix that cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        rate: Fraction | float | None = None,
        writing: Writing = atomic_write,
    ) -> None:
        self.path: Path = Path(path)
        self.frames: int = 0
        self._writing = writing
        self._rate = Fraction(rate or 25).limit_denominator(1001)
        self._av = import_av()
        self._files = ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._last = -1

    def write(self, image: NDArray[np.uint8], time: float | None = None) -> None:
        """Append a picture.

        Args:
            image: uint8 BGR [H, W, 3]; others than the first are scaled to the first's size.
            time: seconds, rising; None is one frame's duration after the last.
        """
        if self._container is None:
            self._open(image.shape[1], image.shape[0])
        size = (self._stream.width, self._stream.height)
        if image.shape[1::-1] != size:
            image = _fit(image, size)
        frame = self._av.VideoFrame.from_ndarray(image, format="bgr24")
        step = round(CLOCK / self._rate)
        pts = self._last + step if time is None else round(time * CLOCK)
        if self._last < 0 and time is None:
            pts = 0
        frame.pts = self._last = max(pts, self._last + 1)
        frame.time_base = Fraction(1, CLOCK)
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt | VideoError):
            self.close()
        elif self._container is not None:
            self._container.close()
            self._files.__exit__(kind, error, trace)

    def close(self) -> None:
        """Write what the encoder holds back and give the file its name."""
        if self._container is None:
            return
        with self._files:  # after an error in here: no file
            try:
                self._container.mux(self._stream.encode())
            finally:
                self._container.close()
                self._container = None

    def _open(self, width: int, height: int) -> None:
        av = self._av
        temporary = self._files.enter_context(self._writing(self.path))
        try:
            self._container = av.open(f"file:{temporary}", "w")
        except (av.error.FFmpegError, ValueError) as error:
            self._files.__exit__(type(error), error, None)  # an error: no file
            raise SettingError(
                f"cannot write {self.path.name}: {self.path.suffix!r} is not written; use .mp4 or "
                ".mkv"
            ) from error
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        # Fast: the network is to have the processor. 23 is x264's usual quality.
        options = {"preset": "veryfast", "crf": "23"} if encoder == "libx264" else {}
        self._stream = self._container.add_stream(encoder, rate=self._rate, options=options)
        # 4:2:0 color needs even sides.
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, CLOCK)


def _fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring a picture to (width, height): repeat a last odd row or column, or scale."""
    right, below = size[0] - image.shape[1], size[1] - image.shape[0]
    if 0 <= right <= 1 and 0 <= below <= 1:
        return np.asarray(
            cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8
        )
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
