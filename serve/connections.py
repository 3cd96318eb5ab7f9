"""uvicorn's protocol with the limits that it leaves open: heads, slow clients, unread answers."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .settings import Settings

HEAD: Final = 65_536
"""Bytes of a request's head."""
LINGER: Final = 2
"""Seconds for which the rest of a body is read and dropped when its request is answered."""
UNREAD: Final = 10
"""Seconds for which an answer may stay unread."""
RESERVED: Final = 64
"""File descriptors kept for child processes, shared memory and files."""


class Connections:
    """All connections of a server: how many there are, and how many bytes nobody has read.

    Bytes that the system has taken are not counted: they are its own to limit.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard and hard != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        self._most = max(8, min(settings.max_connections, soft - RESERVED))
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Connection) -> None:
        """Count a connection; where there are too many, one makes room."""
        self._open.add(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(1, self._sweep, connection.loop)
        if len(self._open) > self._most:
            self._victim(connection).drop()

    def remove(self, connection: Connection) -> None:
        """It is closed, or became a WebSocket."""
        self._open.discard(connection)

    def check_unread(self) -> None:
        """Drop the slowest readers where more bytes are unread than may be."""
        unread = sorted(self._open, key=lambda one: one.unread_for, reverse=True)
        total = sum(one.unread for one in unread)
        for one in unread:
            if total <= self.settings.answer_memory or not one.unread_for:
                return
            total -= one.unread
            one.drop()

    def _victim(self, newest: Connection) -> Connection:
        """Who waits for nothing before who sends; of the busiest address; the longest idle."""
        addresses = Counter(one.address for one in self._open)
        able = [one for one in self._open if not one.working and one is not newest]
        return max(
            able,
            key=lambda one: (one.idle, addresses[one.address], -one.progress),
            default=newest,
        )

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        for one in list(self._open):
            one.sweep(self.settings.least_rate)
        self.check_unread()
        self._timer = loop.call_later(1, self._sweep, loop) if self._open else None


class Connection(HttpToolsProtocol):
    """One connection; `table` stands in the class that `protocol` makes.

    Attributes:
        progress: when its last request began, or a body came to its end.
        unread_for: seconds for which nobody has read what it has to send.
    """

    table: Connections

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self.progress, self.unread_for, self._last = self.loop.time(), 0, 0
        self._head: int | None = 0  # bytes of the head that is being read
        self._upgraded = False
        self._sending = False  # the client has begun a request and not ended it
        self._timer: asyncio.TimerHandle | None = None
        self._arm()
        self.table.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._disarm()
        self.table.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol; a head is read in pieces, and no further than its limit."""
        while data and self._head is not None and not self.transport.is_closing():
            room = HEAD - self._head + 1
            piece, data = data[:room], data[room:]
            self._head += len(piece)
            super().data_received(piece)
            if self._head is not None and self._head > HEAD:
                self._refuse_head()
                return
        if data and not self._upgraded and not self.transport.is_closing():
            super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head, self._sending, self.progress = self._head or 0, True, self.loop.time()
        self._arm()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._head = None
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body is whole."""
        self._head, self._sending, self.progress = 0, False, self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Its answer is sent. What is left of the body is dropped for a while, then the client."""
        super().on_response_complete()
        if self._sending and not self.transport.is_closing():
            self.loop.call_later(LINGER, self._drop_sender, self.cycle)

    def handle_websocket_upgrade(self) -> None:
        """The connection belongs to the WebSocket from here on."""
        self._disarm()
        self._upgraded = True
        self.table.remove(self)
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """More is to be sent than the client has read."""
        super().pause_writing()
        self.table.check_unread()

    @property
    def unread(self) -> int:
        """Bytes of answers that wait in this process."""
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    @property
    def working(self) -> bool:
        """Whether a request of it is being answered."""
        return self.cycle is not None and not self.cycle.response_complete and not self._sending

    @property
    def idle(self) -> bool:
        """Whether it is between requests."""
        return not self._sending and not self.working

    def sweep(self, least: int) -> None:
        """Once a second: count how long the client has read nothing, or hardly anything."""
        size = self.unread
        slow = size and size > self._last - least
        self.unread_for = self.unread_for + 1 if slow else 0
        self._last = size
        if self.unread_for > UNREAD:
            self.drop()

    def drop(self) -> None:
        """Close at once, and forget what is to be sent."""
        self.transport.abort()

    def _drop_sender(self, cycle: object) -> None:
        if self._sending and self.cycle is cycle:
            self.drop()

    def _refuse_head(self) -> None:
        text = b"the head of the request is larger than 65,536 bytes"
        self.transport.write(
            STATUS_LINE[431] + b"content-type: text/plain\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(text), text)
        )
        self.transport.close()

    def _arm(self) -> None:
        if self._timer is None:
            limit = self.table.settings.header_limit
            self._timer = self.loop.call_later(limit, self.transport.close)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def protocol(settings: Settings) -> type[asyncio.Protocol]:
    """The class for uvicorn's setting `http`."""
    return type("Limited", (Connection,), {"table": Connections(settings)})
