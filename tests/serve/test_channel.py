"""The socket between the service and its child processes."""

from __future__ import annotations

import signal
import socket

import pytest

from serve.channel import Parent
from serve.messages import Started


def test_a_service_that_goes_unread_is_an_end() -> None:
    """The system then resets the connection instead of closing it."""
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    service, child = socket.socketpair()
    try:
        parent = Parent(child.detach())
        parent.send(0, Started())
        service.close()
        with pytest.raises(EOFError):
            parent.receive()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
