"""A device as the service sees it: its worker process, supervised, and the loop that feeds it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from yolov4sdk import Detections
from yolov4sdk.backends import Outputs
from yolov4sdk.errors import BackendError

from . import messages as m
from .arena import Arena
from .channel import Child, ChildLost
from .metrics import Metrics
from .problems import Problem
from .queues import ImageWork, Queue, QueuedJob, Queues, TensorWork, next_queue
from .settings import Settings
from .version import Version

log = logging.getLogger("yolov4sdk.serve")

BACK_OFF: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a worker is started again, by crashes in a row."""
HEALTHY: Final = 60
"""Seconds after which a crash is the first in a row again."""
NICE: Final = 10
"""Of the processes that must not take time from the requests."""
TRIAL_IDLE: Final = 20
"""Seconds that the process in which models are tried is kept for the next one."""


async def load_into(child: Child, device: str, version: Version, settings: Settings) -> m.Loaded:
    """Have a worker process load a model and warm it up.

    Raises:
        BackendError: it cannot be loaded; the process is ended where it hung.
    """
    options = {**version.options, "device": device}
    message = m.Load(version.key, version.path, options, settings.batch_size)
    try:
        async with asyncio.timeout(settings.load_limit):
            answer, _ = await child.call(message)
    except TimeoutError:
        child.kill()
        raise BackendError(f"loading took longer than {settings.load_limit:g} s") from None
    except ChildLost:
        raise BackendError("loading the model ended the worker process") from None
    if isinstance(answer, m.Failed):
        raise BackendError(answer.error)
    assert isinstance(answer, m.Loaded)
    return answer


class Trial:
    """A process of its own in which a model is loaded first: one that hangs hurts no other.

    It has a low priority, and goes when no model was tried for a while.
    """

    def __init__(self, device: str, arena: Arena, settings: Settings) -> None:
        self._device, self._arena, self._settings = device, arena, settings
        self._child: Child | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None

    async def load(self, version: Version) -> None:
        """Load and unload a model.

        Raises:
            BackendError: it cannot be loaded.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._child is None or self._child.lost.is_set():
            self._child = worker_process(self._arena, NICE)
            await self._child.open()
        try:
            await load_into(self._child, self._device, version, self._settings)
            await self._child.call(m.Unload(version.key))
        except BaseException:
            self.end()
            raise
        self._timer = asyncio.get_running_loop().call_later(TRIAL_IDLE, self.end)

    def end(self) -> None:
        """End the process."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()
            self._ending = asyncio.ensure_future(child.close())

    async def close(self) -> None:
        """End the process; it is gone afterwards."""
        self.end()
        if self._ending is not None:
            await self._ending


def worker_process(arena: Arena, niceness: int = 0) -> Child:
    """A worker without models."""
    arguments = [str(number) for number in (arena.descriptor, arena.size, niceness)]
    return Child("serve.worker", arguments, (arena.descriptor,))


class Device:
    """One worker process, restarted when it dies; a crash costs the batch that it had.

    Attributes:
        up: whether it takes batches.
    """

    def __init__(
        self, name: str, queues: Queues, arena: Arena, settings: Settings, metrics: Metrics
    ) -> None:
        self.name, self.up = name, False
        self._queues, self._arena = queues, arena
        self._settings, self._metrics = settings, metrics
        self._changed = queues.listen()
        self._trial = Trial(name, arena, settings)
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
        await self._trial.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._end_worker()

    async def try_out(self, version: Version) -> None:
        """Load a model in a process of its own; raises BackendError where it cannot be loaded."""
        await self._trial.load(version)

    async def load(self, version: Version) -> None:
        """Load a model and take what it says of itself; a restart of the worker loads it too.

        Raises:
            BackendError: it cannot be loaded.
        """
        if self._child is None or version.key in self._loaded:
            return
        facts = await load_into(self._child, self.name, version, self._settings)
        self._loaded.add(version.key)
        version.loaded(self.name, facts)

    async def unload(self, version: Version) -> None:
        """Give a model's memory back."""
        if version.key in self._loaded and self._child is not None:
            self._loaded.discard(version.key)
            with contextlib.suppress(ChildLost):
                await self._child.call(m.Unload(version.key))

    async def _start_worker(self) -> None:
        self._child = worker_process(self._arena)
        try:
            await self._child.open()
            while missing := [q for q in self._queues if q.version.key not in self._loaded]:
                await self.load(missing[0].version)
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
            self._metrics.restarts.labels("worker").inc()
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
        lost.add_done_callback(lambda _: self._changed.set())
        try:
            while not child.lost.is_set():
                self._changed.clear()
                queues = [queue for queue in self._queues if queue.version.key in self._loaded]
                for queue in queues:
                    self._queues.drop(queue.drop_answered())
                delay = self._settings.batch_delay
                chosen, wait = next_queue(queues, time.monotonic(), delay)
                if chosen is not None:
                    await self._run(child, chosen, chosen.take())
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait if wait < float("inf") else None):
                        await self._changed.wait()
        finally:
            lost.cancel()
        raise ChildLost

    async def _run(self, child: Child, queue: Queue, batch: list[QueuedJob]) -> None:
        """Run a batch and answer every job of it, exactly once."""
        started, rows = time.monotonic(), sum(job.rows for job in batch)
        for job in batch:
            queue.stage("queue", started - job.queued)
        try:
            async with asyncio.timeout(self._settings.run_limit):
                answer, _ = await child.call(batch_message(queue.version.key, batch))
            if isinstance(answer, m.Failed):
                log.error("a batch of %s failed: %s", queue.version.name, answer.error)
                for job in batch:
                    job.fail(Problem(500, "The model failed", "the runtime refused this batch"))
                return
            seconds = time.monotonic() - started
            queue.stage("network", answer.network)
            queue.stage("worker", seconds)
            queue.ran(rows, seconds)
            self._answer(queue.version, batch, answer)
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
            queue.running -= rows
            self._queues.drop(batch)

    def _answer(
        self, version: Version, batch: list[QueuedJob], answer: m.Detected | m.Inferred
    ) -> None:
        for row, job in enumerate(batch):
            if job.result.done():
                continue
            if isinstance(answer, m.Detected):
                job.result.set_result(_detections(version, job, answer.found[row]))
            else:
                job.result.set_result(self._outputs(job, answer.outputs[row]))

    def _outputs(self, job: QueuedJob, arrays: tuple[m.Array | None, ...]) -> Outputs:
        """Copy the outputs of a tensor out of shared memory."""
        assert isinstance(job.work, TensorWork)
        offset, copies = job.work.outputs, []
        for one in arrays:
            array = None
            if one is not None:
                array = self._arena.array(offset, one.shape, np.dtype(one.dtype)).copy()
                offset += array.nbytes
            copies.append(array)
        return Outputs(*copies)  # type: ignore[arg-type]


def batch_message(key: str, batch: list[QueuedJob]) -> Any:
    """What the worker is asked for jobs of one form."""
    offsets = tuple(job.region[0] for job in batch if job.region is not None)
    if isinstance(batch[0].work, TensorWork):
        tensors = [job.work for job in batch if isinstance(job.work, TensorWork)]
        parts = [
            m.Tensor(offset, work.shape, work.outputs, work.room)
            for offset, work in zip(offsets, tensors, strict=True)
        ]
        return m.Infer(key, tensors[0].dtype, tuple(parts))
    images = [job.work for job in batch if isinstance(job.work, ImageWork)]
    placed = [m.Placed(**asdict(work.plan)) for work in images]
    return m.Detect(key, offsets, tuple(placed), tuple(work.choice for work in images))


def _detections(version: Version, job: QueuedJob, found: m.Found) -> Detections:
    assert isinstance(job.work, ImageWork)
    scores = np.array(found.scores, np.float32)
    return Detections(
        np.array(found.xyxy, np.float32).reshape(len(scores), 4),
        scores,
        np.array(found.class_ids, np.int64),
        version.spec.names,
        job.work.plan.source,
    )
