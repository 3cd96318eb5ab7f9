"""A device as the service sees it: its worker process, supervised, and the loop that feeds it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from yolov4sdk import Detections, ModelSpec
from yolov4sdk.errors import BackendError

from .channel import Child, ChildLost, Message
from .lanes import Job, Lane, next_lane
from .problems import Problem

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger("yolov4sdk.serve")

BACK_OFF: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a worker is started again, by crashes in a row."""
HEALTHY: Final = 60
"""Seconds after which a crash is the first in a row again."""


class Device:
    """One worker process, restarted when it dies; a crash costs the batch that it had.

    Attributes:
        up: whether it takes batches.
        changed: to be set when a queue changes.
    """

    def __init__(self, name: str, engine: Engine) -> None:
        self.name, self.up = name, False
        self.changed = asyncio.Event()
        self._engine = engine
        self._child: Child | None = None
        self._loaded: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the worker with all models; then feed it until `stop`.

        Raises:
            YOLOv4Error: a model cannot be loaded.
        """
        await self._start_worker()
        self._task = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """End the worker."""
        self.up = False
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._end_worker()

    async def load(self, lane: Lane) -> None:
        """Load a model, warm it up and take what it says of itself into the lane.

        Raises:
            BackendError: it cannot be loaded; the message is the worker's.
        """
        if self._child is None:
            return  # a restart loads it
        settings = self._engine.settings
        message: Message = {
            "do": "load", "key": lane.key, "path": lane.path,
            "options": {**lane.options, "device": self.name}, "batch_size": settings.batch_size,
        }  # fmt: skip
        try:
            async with asyncio.timeout(settings.load_limit):
                answer, _ = await self._child.call(message)
        except TimeoutError:
            self._child.kill()
            raise BackendError(f"loading took longer than {settings.load_limit:g} s") from None
        except ChildLost:
            raise BackendError("loading the model ended the worker process") from None
        if "error" in answer:
            raise BackendError(answer["error"])
        self._loaded.add(lane.key)
        lane.spec = ModelSpec.from_json(answer["spec"])
        lane.size = (answer["size"][0], answer["size"][1])
        lane.rectangular = answer["rectangular"]
        lane.limit = lane.spec.batch or settings.batch_size
        lane.backend, lane.precision = answer["backend"], answer["precision"]
        lane.devices[self.name] = answer["device"]

    async def unload(self, lane: Lane) -> None:
        """Give a model's memory back."""
        if lane.key in self._loaded and self._child is not None:
            self._loaded.discard(lane.key)
            with contextlib.suppress(ChildLost):
                await self._child.call({"do": "unload", "key": lane.key})

    async def _start_worker(self) -> None:
        arena = self._engine.arena
        self._child = Child(
            "serve.worker", [str(arena.descriptor), str(arena.size)], (arena.descriptor,)
        )
        try:
            await self._child.open()
            while missing := [
                lane for lane in self._engine.lanes() if lane.key not in self._loaded
            ]:
                await self.load(missing[0])
        except BaseException:
            await self._end_worker()
            raise
        self.up = True

    async def _end_worker(self) -> None:
        self.up = False
        self._loaded.clear()
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()
            await child.close()

    async def _supervise(self) -> None:
        crashes, started = 0, time.monotonic()
        while True:
            if self._child is not None:
                try:
                    await self._feed(self._child)
                except ChildLost:
                    pass
                except Exception:  # a fault of ours must not stop the device for good
                    log.exception("the loop of %s failed", self.name)
                if time.monotonic() - started > HEALTHY:
                    crashes = 0
                log.error("the worker of %s was lost; it is started again", self.name)
            await self._end_worker()
            self._engine.metrics.restarts.labels("worker").inc()
            await asyncio.sleep(BACK_OFF[min(crashes, len(BACK_OFF) - 1)])
            crashes += 1
            try:
                await self._start_worker()
                started = time.monotonic()
            except (BackendError, ChildLost, OSError) as error:
                log.error("the worker of %s does not start: %s", self.name, error or "it ended")

    async def _feed(self, child: Child) -> None:
        """Run batches until the worker is lost."""
        lost = asyncio.create_task(child.lost.wait())
        lost.add_done_callback(lambda _: self.changed.set())
        engine, settings = self._engine, self._engine.settings
        try:
            while not child.lost.is_set():
                self.changed.clear()
                lanes = [lane for lane in engine.lanes() if lane.key in self._loaded]
                for lane in lanes:
                    engine.drop(lane.drop_answered())
                chosen, wait = next_lane(lanes, time.monotonic(), settings.batch_delay)
                if chosen is not None:
                    await self._run(child, chosen, chosen.take())
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait if wait < float("inf") else None):
                        await self.changed.wait()
        finally:
            lost.cancel()
        raise ChildLost

    async def _run(self, child: Child, lane: Lane, batch: list[Job]) -> None:
        """Run a batch and answer every job of it, exactly once."""
        engine, started = self._engine, time.monotonic()
        rows = sum(job.rows for job in batch)
        for job in batch:
            engine.stage(lane, "queue", started - job.queued)
        engine.metrics.batches.labels(lane.name).observe(rows)
        tensors = batch[0].form[0] == "infer"
        try:
            async with asyncio.timeout(engine.settings.run_limit):
                answer, _ = await child.call((_tensors if tensors else _images)(lane, batch))
            if "error" in answer:
                log.error("a batch of %s failed: %s", lane.name, answer["error"])
                for job in batch:
                    job.fail(Problem(500, "The model failed", "the runtime refused this batch"))
                return
            seconds = time.monotonic() - started
            engine.stage(lane, "network", answer["network"])
            engine.stage(lane, "worker", seconds)
            lane.ran(rows, seconds)
            for row, job in enumerate(batch):
                if not job.result.done():
                    found: Any = (
                        engine.outputs(job, answer["shapes"][row])
                        if tensors
                        else _detections(lane, job, answer["found"][row])
                    )
                    job.result.set_result(found)
        except (ChildLost, TimeoutError) as error:
            child.kill()
            for job in batch:
                job.fail(
                    Problem(
                        503, "Worker lost", "the process that ran this request ended; try again",
                        {"Retry-After": "1"},
                    )
                )  # fmt: skip
            await child.gone()
            raise ChildLost from error
        finally:
            for job in batch:  # answered already, unless there is a fault of ours
                job.fail(Problem(500))
            lane.running -= rows
            engine.drop(batch)


def _images(lane: Lane, batch: list[Job]) -> Message:
    plans = [job.plan for job in batch if job.plan is not None]
    return {
        "do": "detect",
        "key": lane.key,
        "canvas": batch[0].form[1:],
        "offsets": [job.region[0] for job in batch if job.region is not None],
        "plans": [(*plan.source, *plan.resized, *plan.pad) for plan in plans],
        "options": [job.request for job in batch],
    }


def _tensors(lane: Lane, batch: list[Job]) -> Message:
    return {
        "do": "infer",
        "key": lane.key,
        "dtype": batch[0].form[1],
        "parts": [job.request for job in batch],
    }


def _detections(lane: Lane, job: Job, found: Message) -> Detections:
    assert job.plan is not None
    scores = np.array(found["scores"], np.float32)
    return Detections(
        np.array(found["xyxy"], np.float32).reshape(len(scores), 4),
        scores,
        np.array(found["class_ids"], np.int64),
        lane.spec.names,
        job.plan.source,
    )
