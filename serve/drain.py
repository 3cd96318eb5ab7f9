"""SIGTERM and SIGHUP: not ready at once, serving on for a while, then the server's own end."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from .service import Service

log = logging.getLogger("yolov4sdk.serve")


class Drain:
    """Stands between SIGTERM or SIGHUP and the server while the block runs.

    uvicorn closes its listener at the signal, while load balancers still send requests. Here
    /readyz turns 503 first, and the server is told after `delay` seconds; a second signal tells
    it at once. Without a handler of a server, or outside the main thread, nothing is changed.
    """

    def __init__(self, service: Service, delay: float) -> None:
        self._service, self._delay = service, delay
        self._previous: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(signal.SIGTERM)
        if callable(previous):
            self._loop, self._previous = asyncio.get_running_loop(), previous
            signal.signal(signal.SIGTERM, self._begin)
            self._hang_up = signal.getsignal(signal.SIGHUP)
            if self._hang_up is not signal.SIG_IGN:  # as nohup sets it
                signal.signal(signal.SIGHUP, self._begin)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            signal.signal(signal.SIGHUP, self._hang_up)

    def _begin(self, number: int, frame: FrameType | None) -> None:
        if self._service.draining or not self._service.alive:
            self._end(number)
            return
        self._service.draining = True
        log.info("draining: not ready, and stopping in %g s", self._delay)
        self._loop.call_soon_threadsafe(self._loop.call_later, self._delay, self._end, number)

    def _end(self, number: int) -> None:
        server: Any = getattr(self._previous, "__self__", None)
        if hasattr(server, "should_exit"):
            # uvicorn's own handler would raise the signal again at the end: no exit code 0
            server.should_exit = True
        else:
            self._previous(number, None)
