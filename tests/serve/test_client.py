"""`Detector("http://...")`: the same answers as from the file, and words where there are none."""

from __future__ import annotations

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from tests.support.service import Service
from yolov4sdk import Detections, Detector
from yolov4sdk.errors import BackendError, SettingError

from .conftest import USER


def same(there: Detections, here: Detections) -> None:
    """Equal up to the rounding of sums, which depends on how many images run together."""
    assert there.names == here.names and there.image_size == here.image_size
    assert len(there) == len(here) > 0
    np.testing.assert_array_equal(there.class_ids, here.class_ids)
    np.testing.assert_allclose(there.xyxy, here.xyxy, atol=0.05)
    np.testing.assert_allclose(there.scores, here.scores, atol=1e-5)


def test_same_answers(live: str, tiny_artefacts: dict[str, Path], photos_dir: Path) -> None:
    photos = sorted(photos_dir.glob("*.jpg"))
    with Detector(live) as remote, Detector(tiny_artefacts["onnxruntime"]) as local:
        assert remote.spec == local.spec and remote.size == local.size
        assert remote.backend.name == "http" and "cpu" in remote.backend.device
        same(remote(photos[0]), local(photos[0]))
        for there, here in zip(remote(photos), local(photos), strict=True):
            same(there, here)
        options: dict[str, Any] = dict(conf=0.4, iou=0.3, classes=["bee"], agnostic=True)
        same(remote(photos[0], **options), local(photos[0], **options))
        same(remote(photos[0], multi_label=True), local(photos[0], multi_label=True))
    with pytest.raises(BackendError, match="closed"):
        remote(photos[0])


def test_other_sizes(live: str, tiny_artefacts: dict[str, Path], photos_dir: Path) -> None:
    photo = photos_dir / "dog.jpg"
    options: dict[str, Any] = dict(size=(96, 160), shape="square", conf=0.3)
    with (
        Detector(live, **options) as there,
        Detector(tiny_artefacts["onnxruntime"], **options) as here,
    ):
        same(there(photo), here(photo))


def test_model_of_the_path(live: str) -> None:
    for address in (f"{live}/models/common", f"{live}/v1/models/common/"):
        with Detector(address) as detector:
            assert "person" in detector.names
    with Detector(live + "/") as detector:
        assert len(detector.names) == 3


def test_api_key(guarded: Service, monkeypatch: pytest.MonkeyPatch, photos_dir: Path) -> None:
    address = f"http://127.0.0.1:{guarded.port}"
    monkeypatch.delenv("YOLOV4SDK_API_KEY", raising=False)
    with pytest.raises(BackendError, match="set the environment variable YOLOV4SDK_API_KEY"):
        Detector(address)
    monkeypatch.setenv("YOLOV4SDK_API_KEY", "wrong")
    with pytest.raises(BackendError, match="missing or wrong") as told:
        Detector(address)
    assert "wrong;" in str(told.value) and USER not in str(told.value)
    monkeypatch.setenv("YOLOV4SDK_API_KEY", USER)
    with Detector(address) as detector:
        assert detector.names == ("ant",) and detector(photos_dir / "dog.jpg", conf=0)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://", "expected http://host:8000"),
        ("http://user:secret@host", "environment variable YOLOV4SDK_API_KEY"),
        ("http://host/?model=x", "expected http://host:8000"),
        ("ftp://host", "an address with http, https"),
    ],
)
def test_wrong_addresses(address: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Detector(address)


def test_the_service_decides(live: str) -> None:
    with pytest.raises(SettingError, match="service's own settings"):
        Detector(live, device="cpu")
    with pytest.raises(SettingError, match="chooses its backend itself"):
        Detector(live, backend="torch")
    with pytest.raises(BackendError, match="no model 'nope'; it has tiny, common"):
        Detector(f"{live}/models/nope")


def test_nobody_there() -> None:
    with pytest.raises(BackendError, match=r"nobody answers at http://127\.0\.0\.1:1 .*serve"):
        Detector("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (200, {}, b"<html>", "did not answer as yolov4sdk's service does"),
        (200, {}, b'{"models": [7]}', "did not answer as yolov4sdk's service does"),
        (502, {}, b"<html>", "502 Bad Gateway"),
        (
            503, {"Retry-After": "3"}, b'{"title": "Overloaded", "detail": "the queue is full"}',
            "503 Overloaded: the queue is full; try again in 3 s",
        ),
    ],
)  # fmt: skip
def test_other_servers(status: int, headers: dict[str, str], body: bytes, said: str) -> None:
    """What a proxy, a wrong port or a busy service answers."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(BackendError, match=said):
            Detector(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


def test_without_httpx() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from yolov4sdk import Detector, errors\n"
        "try: Detector('http://127.0.0.1:1')\n"
        "except errors.MissingExtraError as error: print(error)"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert 'pip install "yolov4sdk[client]"' in out
