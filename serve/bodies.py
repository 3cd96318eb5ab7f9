"""Limits on request bodies: bytes of one and of all at once, and how slowly one may come."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .access import DEFAULT
from .problems import Problem, overloaded
from .settings import Settings

SMALL: Final = 65_536
"""Bytes of a body at most where the route's rule takes no large ones."""
STEP: Final = 16_384
"""Bytes by which progress is told."""
JSON_WEIGHT: Final = 3
"""A JSON body is held as bytes, as text and as what it holds."""
SHARE: Final = 0.75
"""Of the memory for uploads, at most, for one client (its key, or its address)."""


class Upload:
    """One body that is being sent, or is held.

    Attributes:
        held: bytes of memory it is counted with.
        progress: when it last came further by STEP.
        done: it has come whole.
    """

    def __init__(self, client: str, now: float) -> None:
        self.client, self.started, self.progress = client, now, now
        self.received = self.held = 0
        self.done = self.evicted = False
        self._step = STEP
        self.waiting: asyncio.Timeout | None = None

    def came(self, size: int, weight: int, now: float) -> None:
        """Count bytes."""
        self.received += size
        self.held += size * weight
        if self.received >= self._step:
            self._step, self.progress = self.received + STEP, now

    def evict(self, now: float) -> None:
        """End the wait for the rest of it."""
        self.evicted = True
        if self.waiting is not None:
            self.waiting.reschedule(now)


class Uploads:
    """All bodies at once. Where the memory ends, the slowest makes room for the next."""

    def __init__(self, most: int) -> None:
        self._most, self._uploads = most, set[Upload]()

    def add(self, upload: Upload) -> None:
        """Count it from now on."""
        self._uploads.add(upload)

    def remove(self, upload: Upload) -> None:
        """Its memory is given back."""
        self._uploads.discard(upload)

    def make_room(self, asking: Upload, now: float) -> bool:
        """Evict slow uploads until all others fit; whether `asking` may go on."""
        mine = {upload for upload in self._uploads if upload.client == asking.client}
        fits = self._evict(mine, SHARE * self._most, asking, now)
        return fits and self._evict(self._uploads, self._most, asking, now)

    def _evict(self, among: set[Upload], most: float, asking: Upload, now: float) -> bool:
        held = sum(upload.held for upload in among if not upload.evicted)
        while held > most:
            slow = [u for u in among if not u.done and not u.evicted and u.progress < now - 0.5]
            victim = min(slow, key=lambda upload: upload.progress, default=None)
            if victim is None or victim is asking:
                return held - asking.held <= 0  # one alone always fits
            victim.evict(now)
            held -= victim.held
        return True


class Bodies:
    """The layer that reads bodies for the routes."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._uploads = Uploads(settings.upload_memory)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, settings = Headers(scope=scope), self._settings
        most = settings.max_body if scope.get("rule", DEFAULT).large else SMALL
        _check_headers(headers, most)
        weight = JSON_WEIGHT if "json" in headers.get("content-type", "json") else 1
        loop = asyncio.get_running_loop()
        key, address = scope.get("api_key"), (scope.get("client") or ("",))[0]
        upload = Upload(key.name if key else address, loop.time())
        self._uploads.add(upload)

        async def limited() -> MutableMapping[str, Any]:
            if upload.done:
                return await receive()
            ends = upload.started + settings.body_limit
            slowest = upload.progress + STEP / settings.least_rate
            try:
                async with asyncio.timeout_at(min(ends, slowest)) as upload.waiting:
                    message = await receive()
            except TimeoutError:
                raise _too_slow(upload, settings) from None
            if message["type"] == "http.request":
                upload.came(len(message.get("body", b"")), weight, loop.time())
                upload.done = not message.get("more_body", False)
                if upload.received > most:
                    raise _too_large(most)
                if not self._uploads.make_room(upload, loop.time()):
                    raise overloaded("too many uploads at once")
            return message

        try:
            await self._app(scope, limited, send)
        finally:
            self._uploads.remove(upload)


def _check_headers(headers: Headers, most: int) -> None:
    length = headers.get("content-length", "0")
    if len(length) > 20 or (length.isdigit() and int(length) > most):
        raise _too_large(most)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise Problem(
            415, "Compressed body",
            f"compressed bodies are not read (Content-Encoding {encoding[:20]}); send it as it is",
            {"Accept-Encoding": "identity", "Connection": "close"},
        )  # fmt: skip


def _too_slow(upload: Upload, settings: Settings) -> Problem:
    close = {"Connection": "close"}
    if upload.evicted:
        text = "the body came slowly, and its memory was needed for others"
        return Problem(503, "Service overloaded", text, {"Retry-After": "1", **close})
    text = (
        f"the body was not sent within {settings.body_limit:g} s, or slower than "
        f"{settings.least_rate:,} bytes a second"
    )
    return Problem(408, detail=text, headers=close)


def _too_large(most: int) -> Problem:
    # What is left of the body is not read: the connection cannot be used again.
    return Problem(413, detail=f"at most {most:,} bytes are taken", headers={"Connection": "close"})
