"""Training tests leave the process as they found it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def handler_of_children() -> Iterator[None]:
    """torch's loader sets a handler of SIGCHLD at its first worker, and never resets it."""
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)
