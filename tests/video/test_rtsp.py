"""A real RTSP server is killed and started again."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from yolov4sdk import Detector
from yolov4sdk.errors import VideoNotFoundError

pytest.importorskip("av")

SERVER = Path(__file__).with_name("rtsp_server.py")
# Debian's Python: GStreamer's bindings come as packages of the system
PYTHON = "/usr/bin/python3"


def start_server(port: int) -> subprocess.Popen[str]:
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} with GStreamer's bindings here")
    process = subprocess.Popen(
        [PYTHON, str(SERVER), str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout and process.stderr
    if process.stdout.readline() != "ready\n":
        reason = (process.stderr.read().strip().splitlines() or ["?"])[-1]
        process.wait()
        pytest.skip(f"no RTSP server of GStreamer here: {reason}")
    return process


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(port: int) -> Iterator[list[subprocess.Popen[str]]]:
    """The running server, in a list in which a test may put another."""
    running = [start_server(port)]
    yield running
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    with Detector(size=64, threads=1, allow_urls=True) as detector:
        yield detector


def test_a_killed_server_comes_back(
    detector: Detector,
    server: list[subprocess.Popen[str]],
    port: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Within 5 s of its new start there are frames again, and the log says so."""
    with detector.stream(f"rtsp://127.0.0.1:{port}/camera", timeout=30) as stream:
        counts = stream.sources[0].counts
        before = [next(stream) for _ in range(10)][-1]
        assert before.image.shape == (240, 320, 3) and stream.sources[0].rate == 25
        server[0].kill()
        for _ in range(100):  # the frames that are still under way
            if counts.reconnects:
                break
            time.sleep(0.1)
        assert counts.reconnects == 1 and "is lost" in caplog.text
        server.append(start_server(port))
        new = before
        started = time.time()
        while "is back" not in caplog.text:
            new = next(stream)
        assert caplog.records[-1].created - started < 5
        assert new.time is not None and before.time is not None and new.time > before.time
        numbers = [next(stream).number for _ in range(10)]
        assert numbers == sorted(set(numbers)) and numbers[0] > before.number


def test_a_slow_caller_does_not_lag(
    detector: Detector, server: list[subprocess.Popen[str]], port: int
) -> None:
    """3 s of the camera in ten frames: each is the newest, and the clock of the camera goes on."""
    with detector.stream(f"rtsp://127.0.0.1:{port}/camera", timeout=30) as stream:
        counts, first = stream.sources[0].counts, next(stream)
        for _ in range(10):
            time.sleep(0.3)
            newest = counts.frames - 1
            frame = next(stream)
            assert frame.number >= newest - 1
        assert first.time is not None and frame.time is not None
        assert frame.time - first.time > 1.5  # ten frames in a row would be 0.4 s
        assert counts.dropped > 30


def test_a_wrong_path_is_told_at_once(
    detector: Detector, server: list[subprocess.Popen[str]], port: int
) -> None:
    with pytest.raises(VideoNotFoundError, match="404"):
        next(detector.stream(f"rtsp://127.0.0.1:{port}/other", timeout=30))
