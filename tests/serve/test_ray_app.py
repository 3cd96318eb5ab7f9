"""The Ray Serve deployment, served and asked over HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.tritonserver import free_port
from yolov4sdk import Detector
from yolov4sdk.errors import ImageError, SettingError

pytest.importorskip("ray.serve", reason='no Ray Serve here: pip install "yolov4sdk[ray-serve]"')
import ray
from ray import serve as ray_serve

CONF = 0.001


@pytest.fixture(scope="module")
def url(micro_artefacts):
    from serve.ray_app import build

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so; 15 would starve
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local", num_cpus=2, object_store_memory=80_000_000, include_dashboard=False,
        logging_level="error", log_to_driver=False,
    )  # fmt: skip
    port = free_port()
    ray_serve.start(http_options={"host": "127.0.0.1", "port": port})
    arguments = {"model": str(micro_artefacts["onnxruntime"]), "conf": str(CONF)}
    ray_serve.run(build({**arguments, "max_ongoing": "2", "max_queued": "2"}))
    yield f"http://127.0.0.1:{port}/v1/detect"
    ray_serve.shutdown()
    ray.shutdown()


def post(url: str, body: bytes) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else {}


def test_answers_are_those_of_the_detector(url, micro_artefacts, photos_dir: Path) -> None:
    with Detector(micro_artefacts["onnxruntime"], conf=CONF) as detector:
        for name in ("dog.jpg", "chelsea.png"):
            data = (photos_dir / name).read_bytes()
            assert post(url, data) == (200, detector(data).to_dict())


def test_bad_requests_are_said(url) -> None:
    status, problem = post(url, b"\xff\xd8\xff no photograph")
    assert status == 422 and "not an image" in problem["detail"]
    assert post(url, b"x" * 20_000_001)[0] == 413
    assert post(url.replace("/v1/detect", "/other"), b"x")[0] == 404


def test_a_full_queue_refuses(url, photos_dir: Path) -> None:
    data = (photos_dir / "dog.jpg").read_bytes()
    with ThreadPoolExecutor(40) as pool:
        codes = [code for code, _ in pool.map(lambda _: post(url, data), range(80))]
    assert set(codes) == {200, 503}
    assert post(url, data)[0] == 200  # and goes on


def test_wrong_options_are_said() -> None:
    from serve.ray_app import build

    with pytest.raises(SettingError, match="replicas"):
        build({"replicas": "many"})


async def ask(service, path: str, root: str = "", key: str = "", body: bytes = b"") -> int:
    from starlette.requests import Request

    async def receive():
        return {"type": "http.request", "body": body}

    scope = {
        "type": "http", "method": "POST", "path": root + path, "root_path": root,
        "query_string": b"", "headers": [(b"x-api-key", key.encode())] * bool(key),
    }  # fmt: skip
    return (await service(Request(scope, receive))).status_code


@pytest.mark.anyio
@pytest.mark.parametrize("root", ["", "/prefix"])
async def test_keys_hold_behind_a_prefix(
    micro_artefacts, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serve.ray_app import DetectorService
    from serve.settings import ApiKey

    async def no_image(self, body: bytes) -> ImageError:
        return ImageError("no image")

    monkeypatch.setattr(DetectorService, "_detect", no_image)  # its queue works in a replica only
    digest = hashlib.sha256(b"secret").hexdigest()
    keys = (ApiKey(name="user", sha256=digest, rate="2/hour"),)
    service = DetectorService(str(micro_artefacts["onnxruntime"]), {"threads": 1}, keys)
    for path in ("/v1/detect", "/v1/detect/", "/other"):
        assert await ask(service, path, root) == await ask(service, path, root, "wrong") == 401
    found = [await ask(service, path, root, "secret") for path in ("/other", "/v1/detect", "/")]
    assert found == [404, 422, 429]


def test_keys_of_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    from serve.ray_app import build

    for wrong in ('[{"name": "a"}]', "x", "[1]"):
        with pytest.raises(SettingError, match="YOLOV4SDK_API_KEYS"):
            build({"api_keys": wrong})
    digest = hashlib.sha256(b"secret").hexdigest()
    monkeypatch.setenv("YOLOV4SDK_API_KEYS", json.dumps([{"name": "a", "sha256": digest}]))
    *_, keys = build({})._bound_deployment.init_args
    assert [key.name for key in keys] == ["a"]
