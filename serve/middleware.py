"""Around every request: id, log line, metrics, security headers, limits on bodies, problems.

Pure ASGI: a wrapper that reads the request itself would hide that the client has gone.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextvars import ContextVar
from typing import Final

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Problem
from .service import Service

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


def problem_response(problem: Problem, scope: Scope) -> Response:
    """problem+json; for routes of KServe with the member `error` too, where its clients look."""
    body = problem.body(request_id.get())
    if getattr(scope.get("route"), "path", "").startswith("/v2"):
        body["error"] = f"{problem.title}: {problem.detail}" if problem.detail else problem.title
    return Response(
        orjson.dumps(body), problem.status, problem.headers, media_type="application/problem+json"
    )


class Edge:
    """The outermost layer."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

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
            if message["type"] == "lifespan.startup.failed" and self._service.failure:
                message = {**message, "message": self._service.failure}
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
                if self._service.draining:
                    headers["Connection"] = "close"  # the client's next request goes elsewhere
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"
        metrics = self._service.metrics
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
                await problem_response(problem, scope)(scope, receive, send)
        except Exception:
            log.exception("a request failed")
            if not started:
                fault = Problem(500, detail="see the service's log for this request id")
                await problem_response(fault, scope)(scope, receive, send)
