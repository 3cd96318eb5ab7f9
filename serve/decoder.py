"""The decoder process: encoded images to letterboxed canvases in shared memory.

`python -m serve.decoder SOCKET MEMORY SIZE MAX_PIXELS NICENESS`, started by the service. It may
hang or die on a hostile file: the service ends it then, and nothing else is lost.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any

import cv2
import numpy as np
import orjson
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from yolov4sdk import Detections
from yolov4sdk.backends.kserve import decode as decode_tensors
from yolov4sdk.contract.contract import Resize
from yolov4sdk.errors import ImageError, TensorError
from yolov4sdk.imaging.draw import draw
from yolov4sdk.imaging.images import decode, read_image
from yolov4sdk.imaging.jpeg import decode_scaled
from yolov4sdk.imaging.preprocess import Size, letterbox, letterbox_plan

from . import messages as m
from .arena import Arena
from .channel import Parent
from .headers import FORMATS, check_pixels
from .problems import Problem

Image.MAX_IMAGE_PIXELS = None  # the pixels are counted here, exactly


def main(arguments: list[str]) -> None:
    """Answer messages until the service closes the socket."""
    descriptor, memory, size, max_pixels, niceness = (int(argument) for argument in arguments)
    os.nice(niceness)
    parent, arena = Parent(descriptor), Arena(size, memory)
    cv2.setNumThreads(1)
    if "HEIF" in FORMATS:
        import pillow_heif

        pillow_heif.register_heif_opener()
    _warm_up()
    parent.send(0, m.Started())
    while True:
        number, message, data = parent.receive()
        payload = b""
        # SIGPROF ends the process when its processor time is used up, wherever it is.
        signal.setitimer(signal.ITIMER_PROF, message.seconds)
        try:
            answer: Any
            if isinstance(message, m.Parse):
                answer, payload = parse(data, message.header_length)
            elif isinstance(message, m.Draw):
                image, _ = decode_image(data, message.format, max_pixels)
                answer, payload = m.Drawn(), _draw(image, message)
            else:
                canvas = message.size if message.scaled else None
                image, source = decode_image(data, message.format, max_pixels, canvas)
                placed = _letterbox(image, source, message, arena)
                left, _ = signal.getitimer(signal.ITIMER_PROF)
                answer = m.Decoded(placed, message.seconds - left)
        except Problem as problem:
            answer = m.Refused(problem.status, problem.title, problem.detail)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        parent.send(number, answer, payload)


def decode_image(
    data: bytes, kind: str, max_pixels: int, canvas: Size | None = None
) -> tuple[NDArray[np.uint8], Size]:
    """Pixels of the first frame, uint8 BGR [H, W, 3], upright, and the size of the whole image.

    Args:
        data: the encoded image.
        kind: one of FORMATS, as the header says.
        max_pixels: more are refused before memory is taken for them.
        canvas: that a JPEG may be decoded at a fraction of its size for.

    Raises:
        Problem: 422, undecodable or too many pixels.
    """
    try:
        if kind == "JPEG":
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
            check_pixels(height, width, max_pixels)
            if canvas and (scaled := decode_scaled(data, canvas)):
                return scaled
            pixels = decode(data, "the image")
        else:
            with Image.open(io.BytesIO(data), formats=(kind,)) as image:
                check_pixels(image.height, image.width, max_pixels)
                pixels = read_image(image)
        return pixels, (pixels.shape[0], pixels.shape[1])
    except Problem:
        raise
    except MemoryError:
        raise Problem(422, "Undecodable image", "the image needs too much memory") from None
    except Exception as error:  # Pillow leaks what its plugins raise: struct.error, KeyError, ...
        known = isinstance(error, ImageError | OSError | ValueError)
        reason = str(error) if known else "its data are broken"
        raise Problem(422, "Undecodable image", f"the {kind} file: {reason[:200]}") from None


def parse(data: bytes, header_length: str | None) -> tuple[m.Parsed, bytes]:
    """The tensors of a KServe body, one behind the other.

    Raises:
        Problem: 400, a body that contradicts the protocol or itself.
    """
    try:
        header, tensors = decode_tensors(data, header_length, "inputs")
    except TensorError as error:
        raise Problem(400, "Malformed inference request", str(error)) from error
    arrays, parts, lengths = [], [], list[int]()
    for tensor in tensors.values():
        files = tensor.dtype == object
        arrays.append(m.Array("O" if files else tensor.dtype.str, tensor.shape))
        if files:
            lengths += [len(file) for file in tensor.ravel()]
            parts += list(tensor.ravel())
        else:
            parts.append(tensor.tobytes())
    text = orjson.dumps(header).decode()
    return m.Parsed(text, tuple(tensors), tuple(arrays), tuple(lengths)), b"".join(parts)


def _letterbox(image: NDArray[np.uint8], source: Size, message: m.Decode, arena: Arena) -> m.Placed:
    """Write an image into its canvas."""
    resize = Resize(**message.resize)
    plan = letterbox_plan(
        source, message.size, rectangular=message.rectangular, stride=message.stride, resize=resize
    )
    canvas = arena.array(message.offset, (*plan.canvas, 3), np.uint8)
    letterbox(image, plan, canvas, resize=resize)
    return m.Placed(plan.source, plan.resized, plan.pad, plan.canvas)


def _draw(image: NDArray[np.uint8], message: m.Draw) -> bytes:
    count, found = len(message.found.scores), message.found
    detections = Detections(
        np.array(found.xyxy, np.float32).reshape(count, 4),
        np.array(found.scores, np.float32),
        np.array(found.class_ids, np.int64),
        message.names,
        (image.shape[0], image.shape[1]),
    )
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
    data: Any = cv2.imencode(".jpg", draw(image, detections), quality)[1]
    return bytes(data.tobytes())


def _warm_up() -> None:
    """The first image shall not wait for imports and plugins."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    for suffix, kind in ((".jpg", "JPEG"), (".png", "PNG"), (".webp", "WEBP")):
        decode_image(cv2.imencode(suffix, pixels)[1].tobytes(), kind, 4096)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except EOFError:
        sys.exit(0)
