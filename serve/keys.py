"""API keys: who calls, and how often they may."""

from __future__ import annotations

import hashlib
import hmac
import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers

from .problems import Problem
from .settings import ApiKey


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
