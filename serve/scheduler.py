"""The scheduler: admission to the bounded queues, and the devices that empty them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from yolov4sdk.errors import SettingError

from .arena import Arena
from .devices import Device
from .metrics import Metrics
from .problems import Problem, overloaded
from .queues import ImageWork, QueuedJob, Queues, TensorWork
from .settings import Settings
from .version import Version


class Scheduler:
    """Queues and devices. All methods belong to one event loop."""

    def __init__(self, arena: Arena, settings: Settings, metrics: Metrics) -> None:
        self._arena, self._settings = arena, settings
        self.queues = Queues(arena, metrics)
        self._devices = [
            Device(name, self.queues, arena, settings, metrics) for name in settings.device
        ]

    @property
    def alive(self) -> bool:
        """Whether a worker takes batches."""
        return any(device.up for device in self._devices)

    async def start(self) -> None:
        """Start the workers with every version that has a queue.

        Raises:
            YOLOv4Error: a model cannot be loaded.
        """
        await asyncio.gather(*(device.start() for device in self._devices))

    async def stop(self, seconds: float) -> None:
        """Finish the accepted work, for so many seconds at most; then end the workers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(queue.idle for queue in self.queues):
            await asyncio.sleep(0.01)
        await asyncio.gather(*(device.stop() for device in self._devices))

    # Versions.

    async def load(self, version: Version) -> None:
        """Load a version on every device, first in a process of its own; then open its queue.

        Raises:
            YOLOv4Error: it cannot be loaded. Nothing else was disturbed.
        """
        try:
            for device in self._devices:
                await device.try_out(version)
                await device.load(version)
            if not version.devices:
                raise SettingError("no worker is alive to load it; try again")
        except BaseException:
            await self._unload(version)
            raise
        self.queues.add(version)
        for device in self._devices:  # one that was restarted meanwhile
            await device.load(version)

    async def retire(self, version: Version) -> None:
        """Finish what a version accepted, then unload it."""
        while not self.queues.of(version).idle:
            await asyncio.sleep(0.02)
        self.queues.remove(version)
        await self._unload(version)

    async def _unload(self, version: Version) -> None:
        for device in self._devices:
            await device.unload(version)

    # Jobs.

    def check_room(self, version: Version, rows: int = 1) -> None:
        """Raise Problem 503 when `rows` more could not be served in time."""
        workers = sum(device.up for device in self._devices)
        settings = self._settings
        self.queues.of(version).check_room(rows, settings.queue_length, settings.deadline, workers)

    def admit(self, version: Version, rows: int = 1) -> QueuedJob:
        """Accept an image or a tensor.

        Raises:
            Problem: 503, there is no room.
        """
        self.check_room(version, rows)
        job = QueuedJob(asyncio.get_running_loop().create_future(), rows)
        self.queues.of(version).admit(job)
        return job

    def reserve(self, job: QueuedJob, size: int) -> bool:
        """Take shared memory for a job; where there is none, the job is answered so."""
        offset = self._arena.allocate(size)
        if offset is None:
            job.fail(overloaded("the memory for images and tensors is in use"))
            return False
        job.region = (offset, size)
        return True

    def put(self, version: Version, job: QueuedJob, work: ImageWork | TensorWork) -> None:
        """Let an accepted job wait for its batch."""
        self.queues.put(self.queues.of(version), job, work, time.monotonic())

    async def answer(self, job: QueuedJob) -> Any:
        """What the job gives; 504 where no worker has begun it by the deadline."""

        def expire() -> None:
            if job.waiting:
                job.fail(late())

        timer = asyncio.get_running_loop().call_later(self._settings.deadline, expire)
        try:
            return await job.result
        finally:
            timer.cancel()


def late() -> Problem:
    """504."""
    return Problem(504, "Past the deadline", "the request waited too long for its turn")
