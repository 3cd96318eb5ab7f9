"""What a user names as a source of frames, to the reader of it."""

from __future__ import annotations

import threading
from copy import copy
from glob import has_magic
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from numpy.typing import NDArray

from ..backends import Backend, Outputs
from ..backends.base import ContextManager, replicas
from ..errors import SettingError, VideoDecodeError, VideoNotFoundError
from ..imaging.images import SUFFIXES, is_image_url, public_url
from ..system.arguments import whole_number
from .live import LiveSource, connect_camera, connect_url
from .streaming import Stream
from .video import ImageSequence, Reader, VideoFile, import_av

VIDEO_SUFFIXES: Final = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts",
    ".wmv", ".flv", ".3gp", ".ogv", ".mjpeg", ".mjpg", ".gif", ".h264", ".h265", ".hevc",
}  # fmt: skip
SCHEMES: Final = {"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "srt", "tcp"}


def is_stream(source: str) -> bool:
    """Whether a command's argument is a video, URL, camera or "-" and not images."""
    path = Path(source)
    if path.exists():
        return path.is_file() and path.suffix.lower() not in SUFFIXES
    return (
        source == "-"
        or source.isdecimal()
        or ("://" in source and not is_image_url(source))
        or (path.suffix.lower() in VIDEO_SUFFIXES and not has_magic(source))
    )


def open_source(
    source: Any,
    *,
    stride: int = 1,
    live: bool | None = None,
    timeout: float = 10.0,
    reconnect: float | None = None,
    allow_urls: bool = False,
) -> Reader:
    """The reader for what a user names as a source; see `Detector.stream` for the arguments.

    Raises:
        VideoNotFoundError, VideoDecodeError, ImageNotFoundError: no such file, or an empty one.
        SettingError: a URL that is not allowed, or of an unknown scheme.
    """
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal()):
        index = int(source)
        return LiveSource(f"camera {index}", connect_camera(index), stride, timeout, reconnect)
    if hasattr(source, "read"):
        return VideoFile(source, str(getattr(source, "name", "the file object")), stride)
    if not isinstance(source, str | Path):
        raise SettingError(
            f"cannot stream from {type(source).__name__}; expected a path, a URL, a camera's "
            'number, "-" or a binary file'
        )
    text = str(source)
    if text == "-":
        # Unbuffered: a buffered read would wait until 32 KB are there.
        return VideoFile(open(0, "rb", buffering=0, closefd=False), "stdin", stride)
    if "://" in text:
        return _open_url(text, stride, live, timeout, reconnect, allow_urls)
    path = Path(source)
    if path.suffix.lower() in VIDEO_SUFFIXES and not path.exists() and not has_magic(text):
        raise VideoNotFoundError(f"no video at {path}")
    if not path.is_file() or path.suffix.lower() in SUFFIXES:
        return ImageSequence(source, stride)
    if not path.stat().st_size:
        raise VideoDecodeError(f"{path} is empty (0 bytes)")
    return VideoFile(f"file:{path}", text, stride)


def _open_url(
    url: str,
    stride: int,
    live: bool | None,
    timeout: float,
    reconnect: float | None,
    allow_urls: bool,
) -> Reader:
    parts = urlsplit(url)
    if parts.scheme.lower() not in SCHEMES:
        raise SettingError(f"{parts.scheme}:// is not read; there are {', '.join(sorted(SCHEMES))}")
    name = public_url(url)
    if not allow_urls:
        raise SettingError(f"{name} is a URL and these are off; pass allow_urls=True to Detector")
    import_av()
    if live is None:
        live = Path(parts.path).suffix.lower() not in VIDEO_SUFFIXES
    if not live:
        return VideoFile(url, name, stride, timeout)
    return LiveSource(name, connect_url(url), stride, timeout, reconnect)


class BatchDetector(Protocol):
    """What a stream needs of a Detector: detections of a batch of images by its backend."""

    backend: Backend

    # Any: its own options are typed more narrowly
    def __call__(self, *images: Any, **overrides: Any) -> Any:
        """Detections of each image of a list, in their order."""
        ...


def open_stream(
    detector: BatchDetector,
    source: Any,
    overrides: dict[str, Any],
    *,
    batch: int | None,
    largest: int,
    stride: int,
    **options: Any,
) -> Stream:
    """What `Detector.stream` does: check the numbers, open each source, start nothing yet."""
    sources = list(source) if isinstance(source, list | tuple) else [source]
    if not sources:
        raise SettingError("no source to stream from: the list is empty")
    stride = whole_number("stride", stride)
    batch = None if batch is None else whole_number("batch", batch)
    if stride < 1:
        raise SettingError(f"stride must be at least 1, got {stride}")
    if batch is None:
        batch = min(len(sources), largest)
    if not 1 <= batch <= largest:
        raise SettingError(
            f"batch must be from 1 to the detector's own {largest}, got {batch}; raise it by "
            "Detector(batch=...)"
        )
    readers = [open_source(s, stride=stride, **options) for s in sources]
    # A live picture is wanted soon: all threads for it, and none waits for another's.
    live = any(reader.live for reader in readers)
    backend, count = (detector.backend, 1) if live else replicas(detector.backend)
    in_turn = copy(detector)
    in_turn.backend = _InTurn(backend, count)
    return Stream(lambda images: in_turn(images, **overrides), readers, batch, count)


class _InTurn(ContextManager):
    """A backend that runs `count` batches at a time.

    The stream's workers, one more than that, are to overlap the network with letterbox and NMS.
    More networks at a time would hold more activations, and memory would grow when they coincide.
    """

    def __init__(self, backend: Backend, count: int) -> None:
        self._backend, self._turn = backend, threading.Semaphore(count)
        self.spec, self.name = backend.spec, backend.name
        self.device, self.precision = backend.device, backend.precision

    def infer(self, batch: NDArray[Any]) -> Outputs:
        with self._turn:
            return self._backend.infer(batch)

    def infer_images(self, *images: Any, **options: Any) -> Outputs:
        """As `TensorRtBackend.infer_images`, of a detector that letterboxes on the device."""
        backend: Any = self._backend
        with self._turn:
            outputs: Outputs = backend.infer_images(*images, **options)
            return outputs

    def close(self) -> None:
        """The detector's own to close."""
