"""Sound with a cover picture, addresses of images, and errors that are said once."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.test_cli import run
from yolov4sdk import Detector
from yolov4sdk.errors import ImageDecodeError, VideoDecodeError
from yolov4sdk.streams.video import VideoFile, open_container, video_stream

from .pictures import jpeg, numbered, read_number

av = pytest.importorskip("av")

SMALL = ("--size", 64, "--conf", 0.001)


def song(path: Path) -> Path:
    """MP3 with a picture in its ID3 block."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        for number in range(20):
            noise = np.random.default_rng(number).normal(0, 3000, (1, 1152)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(noise, format="s16p", layout="mono")
            frame.rate, frame.pts = 44100, number * 1152
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    if data[:3] == b"ID3":
        data = data[10 + sum(b << 7 * (3 - k) for k, b in enumerate(data[6:10])) :]
    body = b"\0image/jpeg\0\3\0" + jpeg(7)
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame) >> 7 * k & 127 for k in (3, 2, 1, 0))
    path.write_bytes(b"ID3\3\0\0" + size + frame + data)
    return path


def test_a_cover_is_no_video(capsys, tmp_path: Path) -> None:
    path = song(tmp_path / "song.mp3")
    with pytest.raises(VideoDecodeError, match="only sound or a cover picture"):
        list(VideoFile(f"file:{path}", "song.mp3"))
    code, _, err = run(capsys, "detect", path, "-o", tmp_path / "o", *SMALL)
    assert code == 2 and err.count("song.mp3") == 1, err


def test_the_video_beside_a_cover_is_read(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        still = np.zeros((48, 64, 3), np.uint8)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(still, format="bgr24")))
        container.mux(cover.encode())
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
    with open_container(f"file:{path}", "v") as container:
        assert sorted(s.width for s in container.streams.video) == [64, 128]
        assert video_stream(container).width == 128
    pictures = list(VideoFile(f"file:{path}", "v"))
    assert [read_number(picture.image) for picture in pictures] == [0, 1, 2]


def test_a_broken_video_is_named_once(capsys, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    code, out, err = run(capsys, "detect", path, "-o", tmp_path / "o", *SMALL)
    assert code == 2 and (out + err).count("broken.mp4") == 1, err


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "dog.jpg").write_bytes(jpeg(3))
    (folder / "dog").write_bytes(jpeg(3))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    handler.func.log_message = lambda *_: None  # type: ignore[method-assign]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_address_of_an_image(capsys, web: str, tmp_path: Path) -> None:
    url = f"http://me:secret@{web}/dog.jpg?token=secret"
    missing = f"http://{web}/none.png"
    code, out, err = run(
        capsys, "detect", url, missing, "-o", tmp_path / "o", "--format", "image,json", *SMALL
    )
    assert code == 1 and "secret" not in out + err and f"no image at {missing}" in err
    (record,) = json.loads((tmp_path / "o" / "detections.json").read_text())
    assert record["file"] == f"http://{web}/dog.jpg"
    assert record["image"] == {"height": 96, "width": 128}
    assert read_number(cv2.imread(str(tmp_path / "o" / record["results"]["image"]))) == 3


def test_an_address_without_frames(capsys, web: str, tmp_path: Path) -> None:
    code, _, err = run(
        capsys, "detect", f"http://{web}/dog", "-o", tmp_path / "o", "--timeout", 5, *SMALL
    )
    assert code == 2 and f"http://{web}/dog" in err, err


def test_a_folder_of_broken_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").write_bytes(b"no image")
    with (
        Detector(size=64) as detector,
        detector.stream(tmp_path) as stream,
        pytest.raises(ImageDecodeError, match=r"2\.jpg"),
    ):
        next(stream)
    assert "1.jpg" in caplog.text
