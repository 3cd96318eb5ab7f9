"""Ctrl-C and SIGTERM as a wish to stop, heard between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopWish:
    """Whether somebody asked to stop.

    Attributes:
        reason: the signal's name, or what the caller gave; empty while nobody asked.
    """

    def __init__(self) -> None:
        self.reason = ""

    def __bool__(self) -> bool:
        return bool(self.reason)

    def ask(self, reason: str) -> None:
        """Ask to stop after the current step."""
        self.reason = reason


@contextmanager
def stop_on_signals() -> Iterator[StopWish]:
    """Turn the first Ctrl-C or SIGTERM into a wish; a second one acts as usual.

    Outside the main thread signals cannot be caught, and the wish is left to the caller.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def hear(number: int, _frame: FrameType | None) -> None:
        wish.ask(signal.Signals(number).name)
        signal.signal(number, before[signal.Signals(number)])

    for number in _SIGNALS:
        signal.signal(number, hear)
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
