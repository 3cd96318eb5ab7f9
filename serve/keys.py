"""API keys: who calls, and how often they may."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from typing import Final

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import Problem
from .settings import ApiKey

GUARDED: Final = ("/v1/", "/v2/models", "/v2/repository")
"""Prefixes of what needs a key; the page, its document, health and metrics need none."""


class Keys:
    """The keys that are known, and the rates of those that have one."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self._keys = keys
        self._rates: dict[str, RateLimitItem] = {k.name: parse(k.rate) for k in keys if k.rate}
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def identify(self, headers: Headers) -> ApiKey | None:
        """The key of a request; None where none are configured.

        Raises:
            Problem: 401 no key, or an unknown one.
        """
        if not self._keys:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = hashlib.sha256(given.encode()).hexdigest()
        found = None
        for key in self._keys:  # all are compared: time says nothing of where one matched
            if hmac.compare_digest(key.sha256, digest):
                found = key
        if found is None:
            raise Problem(
                401, detail="expected a known key: Authorization: Bearer KEY, or X-API-Key: KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        return found

    def hit(self, key: ApiKey | None) -> None:
        """Count a request or a frame.

        Raises:
            Problem: 429, with Retry-After.
        """
        rate = self._rates.get(key.name) if key else None
        if key is None or rate is None or self._limiter.hit(rate, key.name):
            return
        reset = self._limiter.get_window_stats(rate, key.name).reset_time
        wait = max(1, math.ceil(reset - time.time()))
        raise Problem(
            429, detail=f"the key {key.name} is allowed {key.rate}",
            headers={"Retry-After": str(wait)},
        )  # fmt: skip


class Guard:
    """Lets requests with a key through; WebSockets are guarded by their route."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "http" and scope["path"].startswith(GUARDED):
            key = self._keys.identify(Headers(scope=scope))
            scope["api_key"] = key.name if key else None
            scope["admin"] = key is not None and key.admin
            self._keys.hit(key)
        await self._app(scope, receive, send)
