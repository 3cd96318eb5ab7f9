"""The server of `yolov4sdk serve`: uvicorn with the limits that it leaves open."""

from __future__ import annotations

import uvicorn

from .app import create_app
from .connections import protocol
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
        http=protocol(settings),
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
