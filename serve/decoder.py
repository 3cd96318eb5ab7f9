"""The decoder process: encoded images to letterboxed canvases in shared memory.

`python -m serve.decoder SOCKET MEMORY SIZE MAX_PIXELS`, started by the service. It may hang or
die on a hostile file: the service ends it then, and nothing else is lost.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from yolov4sdk import Detections
from yolov4sdk.contract.contract import Resize
from yolov4sdk.errors import ImageError
from yolov4sdk.imaging.draw import draw
from yolov4sdk.imaging.images import decode, read_image
from yolov4sdk.imaging.jpeg import decode_scaled
from yolov4sdk.imaging.preprocess import Size, letterbox, letterbox_plan

from .arena import Arena
from .channel import Message, Parent
from .headers import FORMATS, check_pixels
from .problems import Problem

Image.MAX_IMAGE_PIXELS = None  # the pixels are counted here, exactly


def main(arguments: list[str]) -> None:
    """Answer messages until the service closes the socket."""
    descriptor, memory, size, max_pixels = (int(argument) for argument in arguments)
    parent, arena = Parent(descriptor), Arena(size, memory)
    cv2.setNumThreads(1)
    _warm_up()
    parent.send({"id": 0})
    while True:
        message, data = parent.receive()
        answer: Message = {"id": message["id"]}
        payload = b""
        try:
            if message["do"] == "draw":
                image, _ = decode_image(data, message["format"], max_pixels)
                payload = _draw(image, message)
            else:
                canvas = message["size"] if message["scaled"] else None
                image, source = decode_image(data, message["format"], max_pixels, canvas)
                answer |= _letterbox(image, source, message, arena)
        except Problem as problem:
            answer["problem"] = [problem.status, problem.title, problem.detail]
        parent.send(answer, payload)


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
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
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


def _letterbox(image: NDArray[np.uint8], source: Size, message: Message, arena: Arena) -> Message:
    size = (message["size"][0], message["size"][1])
    resize = Resize(**message["resize"])
    plan = letterbox_plan(
        source, size, rectangular=message["rectangular"], stride=message["stride"], resize=resize
    )
    canvas = arena.array(message["offset"], (*plan.canvas, 3), np.uint8)
    letterbox(image, plan, canvas, resize=resize)
    return {
        "source": plan.source, "resized": plan.resized, "pad": plan.pad, "canvas": plan.canvas,
    }  # fmt: skip


def _draw(image: NDArray[np.uint8], message: Message) -> bytes:
    count = len(message["scores"])
    found = Detections(
        np.array(message["xyxy"], np.float32).reshape(count, 4),
        np.array(message["scores"], np.float32),
        np.array(message["class_ids"], np.int64),
        tuple(message["names"]),
        (image.shape[0], image.shape[1]),
    )
    data: Any = cv2.imencode(".jpg", draw(image, found), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
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
