"""Under overload, requests are refused before their body is read.

Most requests of an overloaded service are refused, and what that costs is taken from those that
are accepted. Ahead of the routes a refusal costs a fraction of one behind them.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Final

from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from .engine import Engine
from .problems import Problem

_DETECT: Final = ("/v1/detect", "/v1/detect/batch")
_INFER: Final = re.compile(r"/v2/models/([^/]+)(/versions/[^/]+)?/infer")


class Shedding:
    """Asks the engine for room for one image; whoever brings more is asked again later."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app, self._engine = app, engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"]
            try:
                if path in _DETECT:
                    self._engine.refuse(QueryParams(scope["query_string"]).get("model"))
                elif match := _INFER.fullmatch(path):
                    path = f"/v2/models/{{name}}{'/versions/{version}' * bool(match[2])}/infer"
                    self._engine.refuse(match[1])
            except Problem:
                scope["route"] = SimpleNamespace(path=path)  # for the metrics
                raise
        await self._app(scope, receive, send)
