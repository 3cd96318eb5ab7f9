"""What a client of /v1/detect gets, and what it is told when its request is wrong."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.images import animated, lying_jpeg, png_bomb, scan_bomb, seeds
from tests.support.service import PHOTOGRAPH, Service
from yolov4sdk import Detector

PHOTO = PHOTOGRAPH.read_bytes()
DETECT = "/v1/detect"


def problem(answer: httpx.Response, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, str] = answer.json()
    assert body["status"] == status and body["title"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def test_says_what_the_detector_says(client: httpx.Client, micro: Path) -> None:
    with Detector(micro, conf=0.0, max_det=5) as detector:
        expected = {"model": "micro", **detector(PHOTO).to_dict()}
    query = {"conf": 0, "max_det": 5}
    raw = client.post(DETECT, params=query, content=PHOTO, headers={"content-type": "image/jpeg"})
    form = client.post(DETECT, params=query, files={"file": ("x.jpg", PHOTO)})
    text = base64.b64encode(PHOTO).decode()
    encoded = client.post(DETECT, params=query, json={"image": text})
    page = client.post(DETECT, params=query, json={"image": f"data:image/jpeg;base64,{text}"})
    for answer in (raw, form, encoded, page):
        assert answer.status_code == 200
        assert answer.json() == expected
    assert len(expected["detections"]) == 5


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format(client: httpx.Client, kind: str) -> None:
    data = seeds().get(kind) or animated(kind)
    answer = client.post(DETECT, content=data)
    assert answer.json()["image"] == {"height": 120, "width": 160}


def test_orientation(client: httpx.Client) -> None:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(stream, "JPEG", exif=exif)
    answer = client.post(DETECT, content=stream.getvalue())
    assert answer.json()["image"] == {"height": 40, "width": 20}


def test_formats_of_the_answer(client: httpx.Client) -> None:
    coco = client.post(f"{DETECT}?format=coco&conf=0&max_det=2", content=PHOTO).json()
    assert [set(entry) for entry in coco] == [{"image_id", "category_id", "bbox", "score"}] * 2
    drawn = client.post(f"{DETECT}?format=image&conf=0&max_det=3", content=PHOTO)
    assert drawn.headers["content-type"] == "image/jpeg"
    pixels = cv2.imdecode(np.frombuffer(drawn.content, np.uint8), cv2.IMREAD_COLOR)
    plain = cv2.imdecode(np.frombuffer(PHOTO, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == plain.shape and np.abs(pixels.astype(int) - plain).max() > 100


def test_batch_has_a_problem_for_each_bad_file(client: httpx.Client) -> None:
    files = [("files", ("a", PHOTO)), ("files", ("b", b"text")), ("files", ("c", seeds()["PNG"]))]
    answer = client.post(f"{DETECT}/batch", files=files)
    results = answer.json()["results"]
    assert [r["status"] for r in results] == [200, 415, 200]
    assert results[1]["problem"]["request_id"] == answer.headers["x-request-id"]
    assert results[2]["image"] == {"height": 120, "width": 160}
    too_many = client.post(f"{DETECT}/batch", files=files * 2)
    problem(too_many, 422)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("conf=2", "conf"),
        ("conf=nan", "conf"),
        ("max_det=0", "max_det"),
        ("classes=unicorn", "ant"),
        ("classes=7", "7"),
        ("format=xml", "format"),
        ("color=red", "color"),
    ],
)
def test_wrong_options(client: httpx.Client, query: str, said: str) -> None:
    assert said in problem(client.post(f"{DETECT}?{query}", content=PHOTO), 422)["detail"]


def test_unknown_model_names_those_there_are(client: httpx.Client) -> None:
    assert "micro" in problem(client.post(f"{DETECT}?model=x", content=PHOTO), 404)["detail"]


DEEP = b"[" * 100_000
BOUNDARY = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="p%d"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "image/jpeg", 422),
        (b"hello", "image/jpeg", 415),
        (b"%PDF-1.7 ...", "image/png", 415),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml", 415),
        (PHOTO, "text/html", 415),
        (PHOTO, "application/x-www-form-urlencoded", 415),
        (PHOTO[:100], "image/jpeg", 422),
        (PHOTO[:20], "image/jpeg", 422),
        (b"\x89PNG\r\n\x1a\n", "image/png", 422),
        (png_bomb(30_000), "image/png", 422),
        (lying_jpeg(20_000), "image/jpeg", 422),
        (b"BM" + b"\xff" * 60, "image/bmp", 422),
        (b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 40, "image/webp", 422),
        (b"II*\0" + b"\xff" * 40, "image/tiff", 422),
        (b"{", "application/json", 400),
        (DEEP, "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"image": 3}', "application/json", 422),
        (b'{"image": "***"}', "application/json", 422),
        (b'{"image": ""}', "application/json", 422),
        (b'{"image": "AAAA", "url": "x"}', "application/json", 422),
        (b'{"url": "file:///etc/passwd"}', "application/json", 422),
        (b'{"url": "http://169.254.169.254/"}', "application/json", 422),
        (b"x", BOUNDARY, 400),
        (b"--b\r\n\r\n\r\n--b--\r\n", BOUNDARY, 400),
        (b"x", "multipart/form-data", 400),
        (b"".join(PART % i for i in range(10_000)) + b"--b--\r\n", BOUNDARY, 422),
        (b"".join(PART % i for i in range(3)) + b"--b--\r\n", BOUNDARY, 422),
        (b"x" * 1_000_001, "image/jpeg", 413),
    ],
)
def test_bad_bodies(client: httpx.Client, body: bytes, kind: str, status: int) -> None:
    said = problem(client.post(DETECT, content=body, headers={"content-type": kind}), status)
    assert "site-packages" not in str(said) and str(PHOTOGRAPH.parent) not in str(said)
    assert client.post(DETECT, content=PHOTO).status_code == 200


def test_chunked_without_a_length(client: httpx.Client) -> None:
    def chunks(count: int) -> Iterator[bytes]:
        yield PHOTO
        yield from (bytes(100_000) for _ in range(count))

    assert client.post(DETECT, content=chunks(0)).status_code == 200
    problem(client.post(DETECT, content=chunks(15)), 413)


def test_metadata_bombs(client: httpx.Client) -> None:
    """Large or compressed metadata: ICC profile, EXIF block, text chunk."""
    image = Image.new("RGB", (32, 32))
    files = []
    for kind, options in (
        ("JPEG", {"icc_profile": bytes(500_000)}),
        ("PNG", {"icc_profile": bytes(200_000_000)}),
        ("JPEG", {"exif": b"Exif\0\0II*\0\x08\0\0\0" + b"\xff" * 60_000}),
        ("WEBP", {"icc_profile": bytes(500_000)}),
    ):
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        files.append(stream.getvalue())
    for data in files:
        assert client.post(DETECT, content=data).status_code in (200, 422)


def test_decoding_ends_at_its_limit(micro: Path) -> None:
    with Service(f"micro={micro}", decode_limit=3) as own:
        started = time.monotonic()
        answer = httpx.post(f"http://127.0.0.1:{own.port}{DETECT}", content=scan_bomb(), timeout=60)
        assert time.monotonic() - started < 15
        assert "longer than 3 s" in problem(answer, 422)["detail"]
        good = httpx.post(f"http://127.0.0.1:{own.port}{DETECT}", content=PHOTO, timeout=60)
        assert good.status_code == 200
        assert own.metrics("yolov4sdk_restarts_total")['yolov4sdk_restarts_total{kind="decoder"}']


def test_slow_clients_are_cut_off(service: Service) -> None:
    """A byte a second: the head has 2 seconds here, the body 5."""
    head = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
    for start, expected in ((head, b""), (head + b"\r\n", b"HTTP/1.1 408")):
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as slow:
            slow.sendall(start)
            began, answer = time.monotonic(), b""
            slow.settimeout(0.5)
            while time.monotonic() - began < 15:
                try:
                    slow.sendall(b"x")
                    if not (piece := slow.recv(4096)):
                        break
                    answer += piece
                except TimeoutError:
                    continue
                except OSError:
                    break
            assert time.monotonic() - began < 15
            assert answer.startswith(expected)


def test_headers_of_every_answer(client: httpx.Client) -> None:
    for path in ("/livez", "/v1/models", "/nothing"):
        headers = client.get(path, headers={"X-Request-ID": "abc-1"}).headers
        assert headers["x-request-id"] == "abc-1"
        assert headers["x-content-type-options"] == "nosniff"
    forged = client.get("/livez", headers={"X-Request-ID": "a b\tc"}).headers["x-request-id"]
    assert forged != "a b\tc"


def test_wrong_method_and_path(client: httpx.Client) -> None:
    assert problem(client.get(DETECT), 405)
    assert client.get(DETECT).headers["allow"] == "POST"
    problem(client.post("/v1/nothing"), 404)
    problem(client.get("/v1/models/..%2f..%2fetc%2fpasswd"), 404)


def test_metrics_and_log_agree_with_what_was_sent(service: Service, client: httpx.Client) -> None:
    name = 'yolov4sdk_requests_total{method="POST",route="/v1/detect",status="415"}'
    before = service.metrics("yolov4sdk_requests_total").get(name, 0)
    for _ in range(3):
        client.post(DETECT, content=b"no image", headers={"X-Request-ID": "find-me"})
    assert service.metrics("yolov4sdk_requests_total")[name] == before + 3
    lines = [json.loads(line) for line in service.lines().splitlines() if "find-me" in line]
    assert [line["status"] for line in lines] == [415] * 3
    assert lines[0]["route"] == DETECT and lines[0]["ms"] > 0


def test_a_graph_that_suppresses_itself_is_not_suppressed_again(tmp_path: Path) -> None:
    """Two boxes of one class that overlap by 0.6, in the graph's own output, both come back."""
    from tests.support.graphs import suppressed_graph

    image = cv2.imencode(".png", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()
    with (
        Service(f"nms={suppressed_graph(tmp_path / 'nms.onnx')}") as running,
        httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=60) as client,
    ):
        form = {"file": ("grey.png", image)}
        answer = client.post("/v1/detect", files=form)
        assert answer.status_code == 200, answer.text
        boxes = [tuple(found["box"].values()) for found in answer.json()["detections"]]
        assert boxes == [(0, 0, 40, 40), (10, 0, 50, 40)]
        refused = client.post("/v1/detect?iou=0.3", files=form)
        assert refused.status_code == 422
        assert "suppressed overlapping boxes itself" in refused.json()["detail"]
