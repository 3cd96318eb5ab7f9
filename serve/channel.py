"""Child processes: each answers messages (`serve.messages`) and bytes over a socket pair."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

from .messages import MessageError, pack, unpack

HEADER: Final = struct.Struct("!II")  # lengths of the JSON and of the bytes
Answer = asyncio.Future[tuple[Any, bytes]]


class ChildLost(Exception):
    """The process ended, or was ended, before it answered."""


class Child:
    """A child process that answers messages, several at a time.

    Args:
        module: run as `python -m module`; it calls `connect`.
        arguments: command line.
        descriptors: kept open in the child.
        environment: variables set in it.

    Attributes:
        lost: set when the process has ended, or speaks no longer.
        on_lost: called then.
    """

    def __init__(
        self,
        module: str,
        arguments: list[str],
        descriptors: tuple[int, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        root = str(Path(__file__).resolve().parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
                pass_fds=(theirs.fileno(), *descriptors),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(paths)},
            )
        self._socket = ours
        self._answers: dict[int, Answer] = {}
        self._number = 0
        self.on_lost: Callable[[Child], None] | None = None
        self.lost = asyncio.Event()

    async def open(self) -> None:
        """Wait until the process says that it takes messages; call it once, first.

        Raises:
            ChildLost: it ended before.
        """
        self._reader, self._writer = await asyncio.open_unix_connection(
            sock=self._socket, limit=1 << 20
        )
        started = self._answers[0] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._read())
        await started

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def ended_by(self) -> int:
        """The signal that ended the process; 0 where it runs or ended by itself."""
        return max(0, -(self._process.poll() or 0))

    async def call(self, message: Any, payload: bytes = b"") -> tuple[Any, bytes]:
        """Send a message and wait for its answer.

        Raises:
            ChildLost: the process ended first.
        """
        if self.lost.is_set():
            raise ChildLost
        self._number += 1
        number = self._number
        answer: Answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        text = pack(number, message)
        try:
            self._writer.write(HEADER.pack(len(text), len(payload)) + text)
            if payload:
                self._writer.write(payload)
            await self._writer.drain()
            return await answer
        except (ConnectionError, RuntimeError) as error:
            raise ChildLost from error
        finally:
            self._answers.pop(number, None)

    async def _read(self) -> None:
        try:
            while True:
                lengths = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                number, message = unpack(await self._reader.readexactly(lengths[0]))
                payload = await self._reader.readexactly(lengths[1])
                answer = self._answers.get(number)
                if answer is not None and not answer.done():
                    answer.set_result((message, payload))
        except (asyncio.IncompleteReadError, ConnectionError, MessageError):
            self.kill()  # where it speaks no longer as it should
        finally:
            self.lost.set()
            if self.on_lost is not None:
                self.on_lost(self)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ChildLost())

    def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def gone(self) -> None:
        """Wait until the process has ended."""
        await asyncio.to_thread(self._process.wait)

    async def close(self, grace: float = 2) -> None:
        """End the process; it is gone afterwards, and none of its memory in use."""
        self._writer.close()  # it reads the end of the stream and exits
        try:
            await asyncio.to_thread(self._process.wait, grace)
        except subprocess.TimeoutExpired:
            self.kill()
            await self.gone()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


class Parent:
    """The service as its child process sees it."""

    def __init__(self, descriptor: int) -> None:
        # The service ends its children: a signal to the process group is not for them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._socket = socket.socket(fileno=descriptor)
        self._file: IO[bytes] = self._socket.makefile("rb")

    def receive(self) -> tuple[int, Any, bytes]:
        """The next message, its number before and its payload behind it.

        Raises:
            EOFError: the service is gone or has no more work.
        """
        lengths = HEADER.unpack(self._exactly(HEADER.size))
        return *unpack(self._exactly(lengths[0])), self._exactly(lengths[1])

    def send(self, number: int, message: Any, payload: bytes = b"") -> None:
        """Answer the message of this number. One thread at a time."""
        text = pack(number, message)
        try:
            self._socket.sendall(HEADER.pack(len(text), len(payload)) + text + payload)
        except ConnectionError as error:
            raise EOFError from error

    def _exactly(self, length: int) -> bytes:
        try:
            data = self._file.read(length)
        except ConnectionError as error:  # the service went without reading what was sent to it
            raise EOFError from error
        if len(data) < length:
            raise EOFError
        return data
