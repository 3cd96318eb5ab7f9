"""The service without HTTP: registry, scheduler and request flow, started and stopped together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from yolov4sdk import Detections
from yolov4sdk.backends import Outputs
from yolov4sdk.system.cpu import available_cpus

from . import messages as m
from .arena import Arena
from .decoders import Pool, Slow
from .flow import DetectOptions, Flow
from .metrics import Metrics
from .problems import Problem
from .registry import ModelInfo, Registry, State
from .scheduler import Scheduler
from .settings import Settings
from .version import Version


class Service:
    """Runs models for many requests at once. All methods belong to one event loop.

    Attributes:
        draining: the service is being stopped, and not ready for that reason.
        failure: why it could not start.

    Raises:
        YOLOv4Error: a model of the settings is missing or not an artefact.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.registry = Registry(settings)
        self.draining = False
        self.failure = ""
        self._open = False

    async def start(self) -> None:
        """Start the processes, load and warm up every model of the settings.

        Raises:
            YOLOv4Error: a model cannot be loaded.
        """
        settings, metrics = self.settings, self.metrics
        self.arena = arena = Arena(settings.shared_memory)
        self.scheduler = Scheduler(arena, settings, metrics)
        count = settings.decoders or min(8, max(2, available_cpus()))
        self._pool = Pool(count, 1, 0, arena, settings, metrics)
        self._slow = Slow(arena, settings, metrics)
        self._flow = Flow(arena, self.scheduler, self._pool, self._slow, settings)
        for version in self.registry:
            self.scheduler.queues.add(version)
        try:
            await asyncio.gather(self._pool.start(), self.scheduler.start())
        except BaseException:
            await self.stop()
            raise
        self._open = True
        self._pool.complete()  # not needed to be ready
        self._slow.complete()

    async def stop(self) -> None:
        """Finish the accepted work, then end the processes."""
        started, self._open = self._open, False
        seconds = self.settings.deadline + self.settings.run_limit
        await self.scheduler.stop(seconds if started else 0)
        self.registry.stop()
        self._flow.stop()
        await asyncio.gather(self._pool.stop(), self._slow.stop())
        self.arena.close()

    @property
    def alive(self) -> bool:
        """Whether requests are taken; during a drain they still are."""
        return self._open and self.scheduler.alive

    @property
    def ready(self) -> bool:
        """Whether more requests should be sent: models warm, a worker alive, not draining."""
        return self.alive and not self.draining

    def observe(self) -> None:
        """Bring the gauges up to date."""
        waiting = dict.fromkeys((version.name for version in self.registry), 0)
        for queue in self.scheduler.queues if self._open else ():
            name = queue.version.name
            waiting[name] = waiting.get(name, 0) + queue.waiting
        for name, rows in waiting.items():
            self.metrics.queue.labels(name).set(rows)
        self.metrics.ready.set(self.ready)
        self.metrics.memory.set(self.arena.used if self._open else 0)

    # Models.

    def models(self) -> list[ModelInfo]:
        """The loaded models, the default one first."""
        loaded = [version for version in self.registry if version.devices]
        return [self.registry.info(version, self._state) for version in loaded]

    def model(self, name: str | None = None) -> ModelInfo:
        """One model; None is the default one.

        Raises:
            Problem: 404, no model of this name; 503, not ready.
        """
        return self.registry.info(self._version(name), self._state)

    async def load(self, name: str, path: Path, **options: Any) -> ModelInfo:
        """Load or swap a model; see `Registry.load`."""
        version = await self.registry.load(name, path, self.scheduler, options)
        return self.registry.info(version, self._state)

    async def unload(self, name: str) -> None:
        """Take a model out of service; see `Registry.unload`."""
        self._version(name)
        await self.registry.unload(name, self.scheduler)

    # Requests.

    def refuse(self, model: str | None) -> None:
        """Raise Problem 503 where an image for this model would be refused now, for overload."""
        version = self.registry.find(model) if self._open else None
        if version is not None:  # what to answer otherwise is for the route to say
            self.scheduler.check_room(version)

    def check(self, model: str | None, options: DetectOptions) -> None:
        """Raise what `detect` would for the options: Problem 404 or 422."""
        self._flow.check(self._version(model), options)

    async def detect(self, model: str | None, image: bytes, options: DetectOptions) -> Detections:
        """Detect objects in one encoded image; see `Flow.detect`. 404 is an unknown model."""
        return await self._flow.detect(self._version(model), image, options)

    async def infer(self, model: str | None, batch: NDArray[Any]) -> Outputs:
        """Run only the network, on a tensor; see `Flow.infer`. 404 is an unknown model."""
        return await self._flow.infer(self._version(model), batch)

    async def draw(self, image: bytes, detections: Detections) -> bytes:
        """The image with its boxes; see `Flow.draw`."""
        return await self._flow.draw(image, detections)

    async def parse(self, body: bytes, header_length: str | None) -> tuple[m.Parsed, bytes]:
        """The tensors of a body; see `Flow.parse`."""
        return await self._flow.parse(body, header_length)

    @property
    def _state(self) -> State:
        return "draining" if self.draining else "ready" if self.alive else "restarting"

    def _version(self, name: str | None) -> Version:
        if not self.alive:
            raise Problem(503, "Not ready", "no worker is ready; try again", {"Retry-After": "1"})
        return self.registry.named(name)
