"""SIGTERM: not ready at once, serving on for a while, then the server's own graceful end."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from .engine import Engine

log = logging.getLogger("yolov4sdk.serve")


class Drain:
    """Stands between SIGTERM and the server while the block runs.

    uvicorn closes its listener at the signal, while load balancers still send requests. Here
    /readyz turns 503 first, and the server is told after `delay` seconds; a second signal tells
    it at once. Without a handler of a server, or outside the main thread, nothing is changed.
    """

    def __init__(self, engine: Engine, delay: float) -> None:
        self._engine, self._delay = engine, delay
        self._previous: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(signal.SIGTERM)
        if callable(previous):
            self._loop, self._previous = asyncio.get_running_loop(), previous
            signal.signal(signal.SIGTERM, self._begin)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _begin(self, number: int, frame: FrameType | None) -> None:
        if self._engine.draining or not self._engine.alive:
            self._end(number)
            return
        self._engine.draining = True
        log.info("draining: not ready, and stopping in %g s", self._delay)
        self._loop.call_soon_threadsafe(self._loop.call_later, self._delay, self._end, number)

    def _end(self, number: int) -> None:
        server: Any = getattr(self._previous, "__self__", None)
        if hasattr(server, "should_exit"):
            # uvicorn's own handler would raise the signal again at the end: no exit code 0
            server.should_exit = True
        else:
            self._previous(number, None)
