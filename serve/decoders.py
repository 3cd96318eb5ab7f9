"""A pool of decoder processes, each ended and replaced when it takes too long or dies."""

from __future__ import annotations

import asyncio
import logging

from .arena import Arena
from .channel import Child, ChildLost, Message
from .metrics import Metrics
from .problems import Problem

log = logging.getLogger("yolov4sdk.serve")


class Decoders:
    """`count` processes; each decodes one image at a time."""

    def __init__(
        self, count: int, arena: Arena, limit: float, max_pixels: int, metrics: Metrics
    ) -> None:
        self._count, self._arena = count, arena
        self._limit, self._max_pixels, self._metrics = limit, max_pixels, metrics
        self._idle: asyncio.LifoQueue[Child] = asyncio.LifoQueue()
        self._children: set[Child] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Start the processes and wait until they can decode."""
        await asyncio.gather(*(self._add() for _ in range(self._count)))

    async def _add(self) -> None:
        arena = self._arena
        arguments = [arena.descriptor, arena.size, self._max_pixels]
        child = Child(
            "serve.decoder",
            [str(argument) for argument in arguments],
            (arena.descriptor,),
            # OpenCV reads JPEG files with EXIF data; its own limit is the second line
            {"OPENCV_IO_MAX_IMAGE_PIXELS": str(self._max_pixels), "OMP_NUM_THREADS": "1"},
        )
        self._children.add(child)
        await child.open()
        self._idle.put_nowait(child)

    async def acquire(self) -> Child:
        """A decoder of one's own; give it to `run` or `release`."""
        return await self._idle.get()

    def release(self, child: Child) -> None:
        """Give a decoder back."""
        self._idle.put_nowait(child)

    async def run(self, child: Child, message: Message, data: bytes) -> tuple[Message, bytes]:
        """Have an image decoded and give the decoder back; see `serve.decoder` for messages.

        Afterwards no process writes into the region of the message, whatever happened.

        Raises:
            Problem: 422 undecodable, too many pixels, or the limit was reached.
        """
        try:
            async with asyncio.timeout(self._limit):
                answer, payload = await child.call(message, data)
        except (TimeoutError, ChildLost) as error:
            child.kill()
            await self._discard(child)
            self._metrics.restarts.labels("decoder").inc()
            task = asyncio.create_task(self._restart())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            why = (
                f"decoding took longer than {self._limit:g} s"
                if isinstance(error, TimeoutError)
                else "decoding it failed badly"
            )
            raise Problem(422, "Undecodable image", why) from None
        self.release(child)
        if "problem" in answer:
            raise Problem(*answer["problem"])
        return answer, payload

    async def _restart(self) -> None:
        while not self._closed:
            try:
                return await self._add()
            except (ChildLost, OSError):
                log.exception("a decoder does not start")
                await asyncio.sleep(1)

    async def _discard(self, child: Child) -> None:
        self._children.discard(child)
        await child.close()

    async def stop(self) -> None:
        """End all processes."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(self._discard(child) for child in list(self._children)))
