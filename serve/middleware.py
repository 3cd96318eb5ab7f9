"""Around every request: id, log line, metrics, security headers, limits on bodies, problems.

Pure ASGI: a wrapper that reads the request itself would hide that the client has gone.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .engine import Engine
from .problems import Problem
from .settings import Settings

log = logging.getLogger("yolov4sdk.serve")
access = logging.getLogger("yolov4sdk.serve.access")

REQUEST_ID: Final = "X-Request-ID"
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being answered."""

_GOOD_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Set unless the route sets its own."""


async def send_problem(problem: Problem, send: Send) -> None:
    """Answer with problem+json."""
    body = orjson.dumps(problem.body(request_id.get()))
    headers = {
        "content-type": "application/problem+json",
        "content-length": str(len(body)),
        **problem.headers,
    }
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


class Edge:
    """The outermost layer."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app, self._engine = app, engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            request_id.set(uuid.uuid4().hex)
            await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A start that fails says why in one sentence, not in a traceback."""

        async def sentence(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and self._engine.failure:
                message = {**message, "message": self._engine.failure}
            await send(message)

        await self._app(scope, receive, sentence)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 0
        given = Headers(scope=scope).get(REQUEST_ID, "")
        number = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        request_id.set(number)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = number
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
                if self._engine.draining:
                    headers["Connection"] = "close"  # the client's next request goes elsewhere
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"
        metrics = self._engine.metrics
        shown = str(status or 499)  # 499: the client went before an answer
        metrics.requests.labels(route, _method(scope), shown).inc()
        metrics.seconds.labels(route).observe(seconds)
        access.info(
            "%s %s %s", scope["method"], route, shown,
            extra={"fields": {
                "method": scope["method"], "route": route, "status": status or 499,
                "ms": round(seconds * 1000, 2), "key": getattr(scope.get("api_key"), "name", None),
                "client": (scope.get("client") or ("",))[0],
            }},
        )  # fmt: skip


def _method(scope: Scope) -> str:
    """A method as a label: clients may send any word."""
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    return scope["method"] if scope["method"] in known else "other"


class Problems:
    """Answers what is raised outside the routes. Inside CORS: a page may read these answers too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Problem as problem:
            if not started:
                await send_problem(problem, send)
        except Exception:
            log.exception("a request failed")
            if not started:
                await send_problem(
                    Problem(500, detail="see the service's log for this request id"), send
                )


class Bodies:
    """Limits on request bodies: bytes of one and of all at once, and the time to send one."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings, self._held = app, settings, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        settings, received, finished = self._settings, 0, False
        most = settings.max_body
        ends = asyncio.get_running_loop().time() + settings.body_limit
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)

        async def limited() -> MutableMapping[str, Any]:
            nonlocal received, finished
            if finished:
                return await receive()
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    408, detail=f"the body was not sent within {settings.body_limit:g} s",
                    headers={"Connection": "close"},
                ) from None  # fmt: skip
            if message["type"] == "http.request":
                size = len(message.get("body", b""))
                received += size
                self._held += size
                finished = not message.get("more_body", False)
                if received > most:
                    raise _too_large(most)
                if self._held > max(settings.upload_memory, most):
                    raise Problem(
                        503, "Service overloaded", "too many uploads at once", {"Retry-After": "1"}
                    )
            return message

        try:
            await self._app(scope, limited, send)
        finally:
            self._held -= received


def _too_large(most: int) -> Problem:
    # What is left of the body is not read: the connection cannot be used again.
    return Problem(413, detail=f"at most {most:,} bytes are taken", headers={"Connection": "close"})
