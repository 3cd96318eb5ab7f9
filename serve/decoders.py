"""Pools of decoder processes, each process ended and replaced when it takes too long or dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

from . import messages as m
from .arena import Arena
from .channel import Child, ChildLost
from .metrics import Metrics
from .problems import Problem, overloaded
from .settings import Settings

log = logging.getLogger("yolov4sdk.serve")

SLOW_WAITING: Final = 4
"""Suspicious images that may wait; more get 503."""
REST: Final = 3
"""The process of suspicious images rests for so many times what an image took."""
LONGEST_REST: Final = 5


class Pool:
    """Processes that work on one image each; a spare one takes the place of one that ended.

    Args:
        count: images at a time.
        spare: processes beyond these, so that a replacement is there before it is needed.
        niceness: of the processes.
    """

    def __init__(
        self, count: int, spare: int, niceness: int, arena: Arena, settings: Settings,
        metrics: Metrics,
    ) -> None:  # fmt: skip
        self._count, self._spare, self._niceness = count, spare, niceness
        self._arena, self._settings, self._metrics = arena, settings, metrics
        self._free = asyncio.Semaphore(count)
        self._idle: asyncio.LifoQueue[Child] = asyncio.LifoQueue()
        self._children: set[Child] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Start `count` processes and wait until they can decode."""
        await asyncio.gather(*(self._add() for _ in range(self._count)))

    def complete(self) -> None:
        """Start what is lacking then, in the background: the spare ones."""
        for _ in range(self._count + self._spare - len(self._children)):
            self._spawn(self._start_one())

    async def stop(self) -> None:
        """End all processes."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(child.close() for child in list(self._children)))

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn: fewer than `count` images are in work inside of the block."""
        async with self._free:
            yield

    async def run(self, message: Any, data: bytes) -> tuple[Any, bytes]:
        """Have an image worked on, inside of a `turn`; see `serve.messages` for what is asked.

        Afterwards no process writes into the region of the message, whatever happened.

        Raises:
            Stopped: it took too long.
            Problem: 422 undecodable, or too many pixels; 503 processes end, and it is not known
                whether for this image.
        """
        for last in (False, True):
            child = await self._alive()
            try:
                async with asyncio.timeout(self._settings.decode_limit):
                    answer, payload = await child.call(message, data)
            except TimeoutError:
                await self._end(child)
                raise Stopped(f"{self._settings.decode_limit:g} s") from None
            except ChildLost:
                await self._end(child)
                if child.ended_by == signal.SIGPROF:
                    text = f"{message.seconds:.2g} s of processor time, which a file of "
                    raise Stopped(text + f"{len(data):,} bytes may take") from None
                if child.ended_by == signal.SIGKILL and last:  # somebody, or the memory's end
                    raise overloaded("the decoders are being restarted") from None
                if last:
                    text = "the process that decoded it ended"
                    raise Problem(422, "Undecodable image", text) from None
                continue
            self._idle.put_nowait(child)
            if isinstance(answer, m.Refused):
                raise Problem(answer.status, answer.title, answer.detail)
            return answer, payload
        raise AssertionError

    async def _alive(self) -> Child:
        while True:
            child = await self._idle.get()
            if not child.lost.is_set():
                return child

    async def _end(self, child: Child) -> None:
        child.kill()
        await child.gone()
        await child.lost.wait()

    def _lost(self, child: Child) -> None:
        """A process ended, at work or not: another takes its place at once."""
        self._children.discard(child)
        if not self._closed:
            self._metrics.restarts.labels("decoder").inc()
            self._spawn(self._replace(child))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace(self, child: Child) -> None:
        await child.close()
        await self._start_one()

    async def _start_one(self) -> None:
        while not self._closed:
            try:
                return await self._add()
            except (ChildLost, OSError):
                log.exception("a decoder does not start")
                await asyncio.sleep(1)

    async def _add(self) -> None:
        arena, most = self._arena, self._settings.max_pixels
        arguments = [arena.descriptor, arena.size, most, self._niceness]
        child = Child(
            "serve.decoder",
            [str(argument) for argument in arguments],
            (arena.descriptor,),
            # OpenCV reads JPEG files with EXIF data; its own limit is the second line
            {"OPENCV_IO_MAX_IMAGE_PIXELS": str(most), "OMP_NUM_THREADS": "1"},
        )
        await child.open()
        child.on_lost = self._lost
        if child.lost.is_set():
            raise ChildLost
        self._children.add(child)
        self._idle.put_nowait(child)


class Slow(Pool):
    """One process of low priority that rests between images; few wait for it."""

    def __init__(self, arena: Arena, settings: Settings, metrics: Metrics) -> None:
        super().__init__(1, 0, 19, arena, settings, metrics)
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the process.

        Raises:
            Problem: 503, too many wait.
        """
        if self._waiting >= SLOW_WAITING:
            raise overloaded("too many images wait that cost far more than their bytes", 5)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        started = time.monotonic()
        try:
            yield
        finally:
            rest = min(LONGEST_REST, REST * (time.monotonic() - started))
            asyncio.get_running_loop().call_later(rest, self._free.release)


class Stopped(Problem):
    """422: decoding took too long and was stopped."""

    def __init__(self, why: str) -> None:
        super().__init__(422, "Undecodable image", f"decoding took longer than {why}")
