"""With keys a route is closed unless it declares otherwise, however a request reaches it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from serve.access import rule
from serve.app import create_app
from serve.keys import Keys
from serve.settings import ApiKey, Settings
from tests.support.images import seeds

from .conftest import ADMIN, SLOW, USER

IMAGE = seeds()["JPEG"]
OPEN = {
    "/", "/static/{name}", "/static/palette.json", "/docs", "/docs/{name}", "/openapi.json",
    "/livez", "/readyz", "/metrics",
    "/v2", "/v2/health/live", "/v2/health/ready",
}  # fmt: skip
"""All that answers without a key where keys are configured."""


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEYS = (
    ApiKey(name="admin", sha256=digest(ADMIN), admin=True),
    ApiKey(name="user", sha256=digest(USER)),
    ApiKey(name="slow", sha256=digest(SLOW), rate="2/hour"),
)


def mounted(app: FastAPI, path: str) -> Starlette:
    """An application with another inside; it starts and ends with it."""

    @asynccontextmanager
    async def lifespan(_: Any) -> Any:
        async with app.router.lifespan_context(app):
            yield

    return Starlette(routes=[Mount(path, app)], lifespan=lifespan)


@pytest.fixture(scope="module", params=["plain", "root path", "mounted", "mounted twice"])
def prefixed(request: pytest.FixtureRequest, micro: Path) -> Iterator[tuple[TestClient, str]]:
    """A service with keys behind every kind of prefix, and the prefix."""
    app = create_app(Settings(api_keys=KEYS, models=(f"m={micro}",), decoders=1))
    outer: Any = app
    prefix, root = "", ""
    match request.param:
        case "root path":  # as uvicorn gives it: in the path and in the root path
            prefix = root = "/detector"
        case "mounted":
            outer, prefix = mounted(app, "/v1"), "/v1"
        case "mounted twice":
            outer, prefix = mounted(app, "/b"), "/a/b"
            outer = Starlette(routes=[Mount("/a", outer)], lifespan=outer.router.lifespan_context)
    with TestClient(outer, root_path=root) as client:
        yield client, prefix


def test_every_route_needs_a_key_but_those_declared_open(prefixed: tuple[TestClient, str]) -> None:
    client, prefix = prefixed
    inner = create_app(Settings())
    for route in inner.router.routes:
        path = prefix + route.path.replace("{name}", "m").replace("{version}", "1")
        for method in getattr(route, "methods", None) or ():
            answer = client.request(method, path)
            closed = route.path not in OPEN
            assert (answer.status_code == 401) == closed, (method, path, answer.status_code)


def test_known_keys_rates_and_admin(prefixed: tuple[TestClient, str]) -> None:
    client, prefix = prefixed

    def ask(key: str, method: str = "GET", path: str = "/v1/models", **more: Any) -> int:
        return client.request(method, prefix + path, headers={"X-API-Key": key}, **more).status_code

    assert ask(USER) == 200 and ask("wrong") == 401
    assert [ask(SLOW) for _ in range(3)] == [200, 200, 429]
    assert ask(USER, "POST", "/v1/detect", content=IMAGE) == 200
    assert ask(USER, "DELETE", "/v1/models/x") == 403
    assert ask(ADMIN, "DELETE", "/v1/models/x") == 404


def test_streams(prefixed: tuple[TestClient, str]) -> None:
    client, prefix = prefixed
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(prefix + "/v1/stream"):
        pass
    path = prefix + "/v1/stream"
    answer = None
    with (
        suppress(CancelledError),  # how the test client ends a stream
        client.websocket_connect(path, headers={"X-API-Key": USER}) as socket,
    ):
        socket.send_bytes(IMAGE)
        answer = socket.receive_json()
    assert answer is not None and "detections" in answer


def test_what_is_added_is_closed() -> None:
    """A route, a router, a mount and an application of one's own, each until it says otherwise."""
    app = create_app(Settings(api_keys=KEYS))
    inner = FastAPI()

    @app.get("/closed")
    @inner.get("/in")
    async def closed() -> str:
        return "secret"

    @app.get("/open")
    @rule("everybody")
    async def opened() -> str:
        return "open"

    app.mount("/mounted", inner)
    app.include_router(inner.router, prefix="/included")
    client = TestClient(app)
    for path in ("/closed", "/mounted/in", "/included/in"):
        assert client.get(path).status_code == 401, path
        assert client.get(path, headers={"X-API-Key": USER}).status_code == 200, path
    assert client.get("/open").status_code == 200
    assert client.get("/nothing").status_code == 404


def test_methods_of_a_path_are_all_named(guest: httpx.Client) -> None:
    answer = guest.post("/v1/models/m", headers={"X-API-Key": USER})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, PUT"
    assert guest.post("/v1/models/m").status_code == 401


def test_pages_of_allowed_origins_read_refusals(guest: httpx.Client) -> None:
    origin = {"Origin": "https://example.org"}
    for headers, status in (({}, 401), ({"X-API-Key": USER}, 405)):
        answer = guest.post("/v1/models", headers={**origin, **headers})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "https://example.org"


def test_without_keys_all_but_admin_routes_are_open() -> None:
    assert Keys(()).identify({}) is None
    client = TestClient(create_app(Settings()))
    assert client.get("/v1/models").status_code == 200
    assert client.delete("/v1/models/default").status_code == 403
