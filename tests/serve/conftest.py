"""Real services: the command as a user starts it, in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..conftest import REPOSITORY

for needed in ("fastapi", "uvicorn", "pydantic_settings", "prometheus_client", "limits", "httpx"):
    pytest.importorskip(needed, reason="the extras `serve` and `client` are not installed")

API_KEY = "a key of the tests"


@contextmanager
def serving(log: Path, **settings: str) -> Iterator[str]:
    """The address of a service with these settings, ready; it is ended by SIGTERM."""
    import httpx

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {f"YOLOV4SDK_{name.upper()}": value for name, value in settings.items()}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("YOLOV4SDK_")}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "serve.app:app", "--port", str(port)],
            cwd=REPOSITORY, env={**inherited, "YOLOV4SDK_DRAIN_DELAY": "0", **given},
            stdout=output, stderr=output,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        ends = time.monotonic() + 90
        while True:
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert process.poll() is None and time.monotonic() < ends, log.read_text()
            time.sleep(0.1)
        yield url
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def live(
    tiny_artefacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A service of the models `tiny` (the default, three classes) and `common` (the embedded)."""
    embedded = REPOSITORY / "yolov4sdk" / "assets" / "default.onnx"
    models = f"tiny={tiny_artefacts['onnxruntime']},common={embedded}"
    with serving(tmp_path_factory.mktemp("live") / "log", models=models) as url:
        yield url


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service of the embedded model that asks for `API_KEY`."""
    keys = [{"name": "tests", "sha256": hashlib.sha256(API_KEY.encode()).hexdigest()}]
    with serving(tmp_path_factory.mktemp("guarded") / "log", api_keys=json.dumps(keys)) as url:
        yield url
