"""The server of `yolov4sdk serve`: uvicorn with the limits that it leaves open."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .app import create_app
from .logs import configure
from .settings import Settings


def run(settings: Settings) -> int:
    """Serve until a signal ends it; the exit code.

    Raises:
        YOLOv4Error: a wrong setting or model file.
    """
    configure(settings)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=_protocol(settings.header_limit),
        ws_max_size=settings.max_body,
        ws_per_message_deflate=False,  # images are compressed already
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        # Longer than load balancers keep idle connections (60 s): who closes first must be they, or
        # a request meets the closing connection and is lost.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.body_limit + settings.deadline) + 1,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 2


def _protocol(limit: float) -> type[asyncio.Protocol]:
    """uvicorn's protocol, with a time limit on request heads: it has none itself."""

    class Timed(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            self._arm()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._disarm()
            super().on_headers_complete()

        def _arm(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(limit, self.transport.close)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Timed
