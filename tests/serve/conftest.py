"""Services for the tests, each a server in a process of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.service import Service

from ..conftest import REPOSITORY
from .micro import write_micro

ADMIN, USER, SLOW = "admin-key", "user-key", "slow-key"


def api_keys() -> str:
    def entry(name: str, key: str, **more: object) -> dict[str, object]:
        return {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), **more}

    return json.dumps(
        [entry("admin", ADMIN, admin=True), entry("user", USER), entry("slow", SLOW, rate="2/hour")]
    )


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that takes a millisecond."""
    return write_micro(tmp_path_factory.mktemp("micro") / "micro.onnx")


@pytest.fixture(scope="session")
def service(micro: Path) -> Iterator[Service]:
    """Open to everybody, with limits that tests reach."""
    limits = {"max_body": 1_000_000, "max_files": 4, "max_streams": 2, "header_limit": 2}
    # long where a busy machine must not trip them
    times = {"body_limit": 5, "decode_limit": 30, "deadline": 60}
    with Service(f"micro={micro}", **limits, **times) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=30) as made:
        yield made


@pytest.fixture(scope="session")
def models_dir(micro: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the guarded service loads models from."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(micro, folder / name)
    data = micro.read_bytes()
    (folder / "corrupt.onnx").write_bytes(data[: len(data) // 2])
    return folder


@pytest.fixture(scope="session")
def guarded(micro: Path, models_dir: Path) -> Iterator[Service]:
    """With API keys, a folder of models and a page of another origin."""
    with Service(
        f"m={micro}", api_keys=api_keys(), models_dir=models_dir, cors="https://example.org"
    ) as running:
        yield running


@pytest.fixture
def guest(guarded: Service) -> Iterator[httpx.Client]:
    """A client of the guarded service, without a key."""
    with httpx.Client(base_url=f"http://127.0.0.1:{guarded.port}", timeout=30) as made:
        yield made


@pytest.fixture(scope="session")
def live(tiny_artefacts: dict[str, Path]) -> Iterator[str]:
    """The address of a service of `tiny` (the default, three classes) and the embedded model."""
    embedded = REPOSITORY / "yolov4sdk" / "assets" / "default.onnx"
    with Service(f"tiny={tiny_artefacts['onnxruntime']}", f"common={embedded}") as running:
        yield f"http://127.0.0.1:{running.port}"
