"""Errors of the service: one exception that becomes RFC 9457 `application/problem+json`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")  # as Python writes objects: clients need none


class Problem(Exception):
    """What a client did wrong, or why the service cannot answer now.

    Raise it anywhere under a route: the answer is problem+json with the request's id. `detail` is
    shown to clients: no paths, no secrets, no tracebacks.

    Args:
        status: HTTP status code.
        title: what kind of problem, in a few words; None is the status's own phrase.
        detail: what was wrong here, what was expected and how to fix it.
        headers: of the answer (`Retry-After`, `WWW-Authenticate`).
    """

    def __init__(
        self,
        status: int,
        title: str | None = None,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.title = title or HTTPStatus(status).phrase
        self.detail = _ADDRESS.sub("", detail)
        self.headers = dict(headers or {})
        super().__init__(f"{status} {self.title}: {detail}")

    def body(self, request_id: str | None = None) -> dict[str, Any]:
        """The members of the problem+json document."""
        members: dict[str, Any] = {
            "type": "about:blank", "title": self.title, "status": self.status,
        }  # fmt: skip
        if self.detail:
            members["detail"] = self.detail
        if request_id:
            members["request_id"] = request_id
        return members


def overloaded(detail: str, retry_after: float = 1) -> Problem:
    """503 with Retry-After in whole seconds, at least 1."""
    seconds = max(1, math.ceil(retry_after))
    return Problem(503, "Service overloaded", detail, {"Retry-After": str(seconds)})
