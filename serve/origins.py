"""Which Host headers and which pages of other sites are answered.

A browser sends forms to any address without asking, also to a service on the user's own machine,
and a name that an attacker owns may point there. Where no key protects the service, both are
refused unless they are allowed.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import Problem
from .settings import Settings

LOCAL: Final = (".localhost", ".local", ".internal", ".cluster.local", ".home.arpa")
"""Names that nobody can own on the internet; names without a dot are of this kind too."""
_SAFE: Final = ("GET", "HEAD", "OPTIONS")


class Origins:
    """The layer that refuses them: 421 for a Host header, 403 for a page."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts, self._cors = settings.hosts, settings.cors
        self._open = not settings.api_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            problem = self._host(headers) or self._page(scope, headers)
            if problem is not None and scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})  # HTTP 403
                return
            if problem is not None:
                raise problem
        await self._app(scope, receive, send)

    def _host(self, headers: Headers) -> Problem | None:
        host = host_name(headers.get("host", ""))
        if self._hosts:
            good = "*" in self._hosts or any(_matches(host, allowed) for allowed in self._hosts)
        else:
            good = not self._open or local(host)
        if good:
            return None
        return Problem(
            421, detail="this Host is not answered; the setting `hosts` says which names are"
        )

    def _page(self, scope: Scope, headers: Headers) -> Problem | None:
        """A form or a WebSocket of another site's page. With keys, only the WebSocket."""
        stream = scope["type"] == "websocket"
        if not stream and (scope["method"] in _SAFE or not self._open):
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin in self._cors or "*" in self._cors:
            return None
        if site in ("same-origin", "none"):
            return None
        if site is None and (origin is None or urlsplit(origin).netloc == headers.get("host")):
            return None
        return Problem(
            403, "Page of another site", "the setting `cors` says which origins may call"
        )


def host_name(header: str) -> str:
    """A Host header without its port, in lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].rstrip(".").lower()


def local(host: str) -> bool:
    """Whether a host is an address, or a name that nobody can own on the internet."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(LOCAL)
    return True


def _matches(host: str, allowed: str) -> bool:
    """Whether a name is allowed: "example.org" is that name; "*.example.org" all below it."""
    if allowed.startswith("*."):
        return host.endswith(allowed[1:].lower())
    return host == allowed.lower()
