"""Videos whose frames carry their own number, and a server of motion JPEG that a test steers."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterable, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 8
TICKS = 1000  # time stamps of the test videos are whole milliseconds


def numbered(number: int, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """A picture that says its number: bars, black or white, the lowest bit at the left.

    The lower half is red at the left and blue at the right.
    """
    image = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            image[: height // 2, width * bit // BITS : width * (bit + 1) // BITS] = 255
    image[height // 2 :, : width // 2] = (0, 0, 255)
    image[height // 2 :, width // 2 :] = (255, 0, 0)
    return image


def read_number(image: NDArray[np.uint8]) -> int:
    """The number of a `numbered` picture."""
    width = image.shape[1]
    centres = [width * (2 * bit + 1) // (2 * BITS) for bit in range(BITS)]
    row = image[image.shape[0] // 4, centres].mean(axis=1) > 127
    return int(sum(1 << bit for bit in range(BITS) if row[bit]))


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", numbered(number))[1].tobytes()


def make_video(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]] | int,
    *,
    rate: int | Fraction = 25,
    times: Sequence[int] | None = None,
    rotation: int = 0,
    spoil: Sequence[int] = (),
    codec: str = "libx264",
    keyframes: int = 12,
) -> Path:
    """Write a video with PyAV.

    Args:
        path: the suffix sets the format.
        pictures: BGR [H, W, 3], or how many `numbered` ones.
        rate: frames a second.
        times: of each frame in milliseconds, instead of the rate.
        rotation: of the display matrix, degrees counter-clockwise.
        spoil: frames whose data become rubbish.
        codec: of libav.
        keyframes: a whole picture every so many; 1 keeps a spoilt one from touching others.
    """
    import av

    if isinstance(pictures, int):
        pictures = [numbered(i) for i in range(pictures)]
    pictures = list(pictures)
    with av.open(str(path), "w") as container:
        options = {"g": str(keyframes), "bf": "0"} if codec == "libx264" else {}
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, TICKS)
        packets = []
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, TICKS)
            packets += stream.encode(frame)
        packets += stream.encode()
        for i, packet in enumerate(packets):
            if i in spoil:
                packet = _rubbish(packet)
            container.mux(packet)
    return path


def _rubbish(packet: Any) -> Any:
    """A packet of the same length and time without sense: the length fields of H.264 stay."""
    import av

    data = bytearray(bytes(packet))
    data[5:] = bytes(len(data) - 5)
    spoilt = av.Packet(bytes(data))
    spoilt.pts, spoilt.dts, spoilt.time_base = packet.pts, packet.dts, packet.time_base
    spoilt.stream = packet.stream
    spoilt.is_keyframe = packet.is_keyframe
    return spoilt


class MjpegServer:
    """Motion JPEG over HTTP on the loopback; sends a picture when the test says so.

    Attributes:
        status: of the answers to new requests.
        silent: whether requests are accepted and never answered.
    """

    def __init__(self, port: int = 0) -> None:
        self.status, self.silent = 200, False
        self._clients: list[queue.Queue[bytes | None]] = []
        self._sockets: list[socket.socket] = []
        self._changed = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/camera"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def send(self, numbers: Iterable[int]) -> None:
        """Send these pictures to every client."""
        for number in numbers:
            with self._changed:
                for client in self._clients:
                    client.put(jpeg(number))

    @property
    def clients(self) -> int:
        return len(self._clients)

    def wait_for_client(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._clients, timeout=20)

    def stop(self) -> None:
        """Cut every connection off, as a killed server does."""
        self._server.shutdown()
        self._server.server_close()
        with self._changed:
            for client in self._clients:
                client.put(None)
            self._clients.clear()
            for connection in self._sockets:
                connection.close()

    def __enter__(self) -> MjpegServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.silent:
            threading.Event().wait(30)
            return
        handler.send_response(self.status)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        if self.status != 200:
            return
        mine: queue.Queue[bytes | None] = queue.Queue()
        with self._changed:
            self._clients.append(mine)
            self._sockets.append(handler.connection)
            self._changed.notify_all()
        while (data := mine.get()) is not None:
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                handler.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return
