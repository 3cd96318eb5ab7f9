"""Live sources: the newest frame, reconnection, time limits. Only the loopback is used."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from yolov4sdk import Detector
from yolov4sdk.errors import StreamTimeoutError, VideoNotFoundError
from yolov4sdk.streams.live import LiveSource, connect_camera
from yolov4sdk.streams.stream_sources import open_source
from yolov4sdk.streams.streaming import Stream

from .pictures import MjpegServer, make_video, read_number

pytest.importorskip("av")


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    with Detector(size=64, threads=1, allow_urls=True) as detector:
        yield detector


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer() as server:
        yield server


def start(stream: Stream, servers: list[MjpegServer]) -> int:
    """Bring the stream to its first frame; gives its number.

    libav looks at some frames before it says what they are, so several are sent.
    """
    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(read_number(next(stream).image)))
    thread.start()
    for server in servers:
        server.wait_for_client()
        server.send(range(5))
    thread.join(20)
    assert first
    return first[0]


def wait_until_read(stream: Stream, frames: int, index: int = 0) -> None:
    deadline = time.monotonic() + 20
    while stream.sources[index].counts.frames < frames:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_slow_caller_gets_the_newest_frame(detector: Detector, server: MjpegServer) -> None:
    with detector.stream(server.url, timeout=20) as stream:
        number = start(stream, [server])
        while number < 4:  # all that was sent
            number = read_number(next(stream).image)
        counts = stream.sources[0].counts
        for last in (30, 60, 61, 90):
            before = counts.frames
            server.send(range(last - 10, last + 1))
            wait_until_read(stream, before + 11)
            number = read_number(next(stream).image)
            if number == last - 1:  # the last one was decoded, but not yet handed over
                number = read_number(next(stream).image)
            assert number == last
        assert counts.dropped >= 30


def test_stride_of_a_live_source(detector: Detector, server: MjpegServer) -> None:
    with detector.stream(server.url, timeout=20, stride=3) as stream:
        start(stream, [server])
        server.send(range(20, 29))
        wait_until_read(stream, stream.sources[0].counts.frames + 5)
        assert next(stream).number % 3 == 0


def test_a_stopped_server_comes_back(
    detector: Detector, server: MjpegServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "yolov4sdk.live")
    with detector.stream(server.url, timeout=20) as stream:
        start(stream, [server])
        server.stop()
        with MjpegServer(server.port) as again:
            again.wait_for_client()
            again.send(range(100, 110))
            old = next(stream)  # the last one before the loss
            new = next(frame for frame in stream if read_number(frame.image) >= 100)
            assert new.number > old.number and new.time is not None and old.time is not None
            assert new.time > old.time
            assert stream.sources[0].counts.reconnects == 1
    text = caplog.text
    assert "started after" in text and "is lost" in text and "is back after" in text


def test_a_lost_source_has_a_time_limit(detector: Detector, server: MjpegServer) -> None:
    with detector.stream(server.url, timeout=20, reconnect=0.5) as stream:
        start(stream, [server])
        server.stop()
        with pytest.raises(StreamTimeoutError, match=r"lost and did not come back in 0\.5 s"):
            for _ in stream:
                pass


def test_streams_that_never_start(detector: Detector, server: MjpegServer) -> None:
    server.silent = True
    refused = f"http://127.0.0.1:{unused_port()}/x"
    for url in (server.url, refused, refused.replace("http", "rtsp")):
        with pytest.raises(StreamTimeoutError, match="did not start in 1 s"):
            next(detector.stream(url, timeout=1))


def unused_port() -> int:
    server = MjpegServer()
    server.stop()
    return server.port


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_is_told_at_once(detector: Detector, server: MjpegServer, status: int) -> None:
    server.status = status
    with pytest.raises(VideoNotFoundError, match="cannot be opened"):
        next(detector.stream(server.url, timeout=20))


def test_passwords_are_not_told(detector: Detector) -> None:
    url = f"http://me:secret@127.0.0.1:{unused_port()}/x?token=secret"
    with pytest.raises(StreamTimeoutError) as caught:
        next(detector.stream(url, timeout=0.5))
    assert "secret" not in str(caught.value) and "127.0.0.1" in str(caught.value)


def test_several_live_sources(detector: Detector, server: MjpegServer) -> None:
    """One that is silent for a time holds no other up."""
    with MjpegServer() as other, detector.stream([server.url, other.url], timeout=20) as stream:
        start(stream, [server, other])
        for index, sender in ((0, server), (1, other)):
            for number in (50, 51, 52):
                sender.send([number])
                for frame in stream:
                    if frame.source_index == index and read_number(frame.image) == number:
                        break


def test_http_files_are_read_whole(detector: Detector, tmp_path: Path) -> None:
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    make_video(tmp_path / "v.mp4", 30)
    (tmp_path / "download").write_bytes((tmp_path / "v.mp4").read_bytes())
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.func.log_message = lambda *_: None  # type: ignore
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
        root = f"http://127.0.0.1:{web.server_port}"
        frames = list(detector.stream(f"{root}/v.mp4"))
        assert [read_number(frame.image) for frame in frames] == list(range(30))
        # without a suffix it counts as live; its end is still its end
        assert 1 <= len(list(detector.stream(f"{root}/download"))) <= 30
        assert len(list(detector.stream(f"{root}/download", live=False))) == 30
        with pytest.raises(VideoNotFoundError):
            next(detector.stream(f"{root}/missing.mp4"))
        web.shutdown()


def test_threads_end_while_a_source_is_silent(detector: Detector, server: MjpegServer) -> None:
    """`close` does not wait for the silent connection; its thread ends by the time limit."""
    with detector.stream(server.url, timeout=2) as stream:
        start(stream, [server])
    deadline = time.monotonic() + 20
    while [t for t in threading.enumerate() if t.name.startswith("yolov4sdk")]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_camera(detector: Detector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """OpenCV's capture reads a file as it reads a camera: it ends, and is opened again."""
    video = str(make_video(tmp_path / "v.avi", 5, codec="mjpeg"))
    source = LiveSource("camera 0", connect_camera(video))
    numbers = []
    for picture in source:
        numbers.append((picture.number, read_number(picture.image)))
        if len(numbers) == 8:
            source.stop()
    assert numbers == [(i, i % 5) for i in range(8)]
    assert source.counts.reconnects == 1 and source.rate == 25
    assert "camera 0 is lost" in caplog.text and "camera 0 is back" in caplog.text


def test_no_such_camera(detector: Detector) -> None:
    assert open_source("63").name == open_source(63).name == "camera 63"
    with pytest.raises(VideoNotFoundError, match="camera 63 cannot be opened"):
        next(detector.stream(63))
