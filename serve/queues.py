"""Bounded queues, one a version of a model, and which batch runs next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from yolov4sdk.imaging.preprocess import Letterbox

from .arena import Arena
from .messages import Choice
from .metrics import Metrics
from .problems import Problem, overloaded
from .version import Version

Form = tuple[Any, ...]


@dataclass(frozen=True)
class ImageWork:
    """A letterboxed image in shared memory."""

    plan: Letterbox
    choice: Choice

    @property
    def form(self) -> Form:
        """Only work of the same form shares a batch."""
        return ("image", *self.plan.canvas)


@dataclass(frozen=True)
class TensorWork:
    """A tensor in shared memory, and the room behind it for its outputs."""

    shape: tuple[int, ...]
    dtype: str
    outputs: int
    room: int

    @property
    def form(self) -> Form:
        """Only work of the same form shares a batch."""
        return ("tensor", self.dtype, *self.shape[1:])


@dataclass(eq=False)
class QueuedJob:
    """One image or tensor on its way; its future is resolved exactly once.

    Attributes:
        result: what the client waits for.
        rows: of the batch that it takes.
        region: (offset, bytes) in shared memory, given back when nobody uses it any more.
        work: what a worker does; None until it is decoded.
        waiting: no worker has it yet, and it is not answered.
    """

    result: asyncio.Future[Any]
    rows: int = 1
    region: tuple[int, int] | None = None
    work: ImageWork | TensorWork | None = None
    form: Form = ()
    queued: float = 0
    waiting: bool = True

    def fail(self, problem: Problem) -> None:
        """Answer with a problem, unless it is answered."""
        if not self.result.done():
            self.result.set_exception(problem)


class Queue:
    """The jobs of one version, and what is known of its speed.

    Attributes:
        waiting: rows accepted and not yet given to a worker.
        expected: jobs that are accepted but not yet in the queue (being decoded).
        running: rows in workers.
        served: seconds of device time, by which devices are shared fairly.
    """

    def __init__(self, version: Version, metrics: Metrics) -> None:
        self.version, self._metrics = version, metrics
        self.jobs: deque[QueuedJob] = deque()
        self.waiting = 0
        self.expected = 0
        self.running = 0
        self.served = 0.0
        self.row_seconds = 0.0
        self.last_rows = 1

    @property
    def idle(self) -> bool:
        """Whether nothing of it is waiting or running."""
        return not (self.jobs or self.expected or self.running)

    def check_room(self, rows: int, length: int, deadline: float, workers: int) -> None:
        """Raise Problem 503 when `rows` more could not be served in time."""
        rows += self.waiting
        wait = (self.running + rows) * self.row_seconds / max(1, workers)
        if self.waiting and (rows > length or wait > deadline):
            self.count("overload")
            text = f"{self.waiting} images are waiting for the model {self.version.name}"
            raise overloaded(text, wait)

    def admit(self, job: QueuedJob) -> None:
        """Accept a job; see `check_room`."""
        self.waiting += job.rows
        job.result.add_done_callback(lambda _: self._answered(job))

    def _left(self, job: QueuedJob) -> None:
        if job.waiting:
            job.waiting = False
            self.waiting -= job.rows

    def _answered(self, job: QueuedJob) -> None:
        self._left(job)
        if job.result.cancelled():
            self.count("cancelled")
            return
        error = job.result.exception()  # also marks it as seen, where the client has gone
        if error is None:
            self.count("ok")
        elif isinstance(error, Problem):
            outcome = {422: "invalid", 415: "invalid", 504: "deadline"}.get(error.status, "failed")
            self.count(outcome)
        else:
            self.count("failed")

    def count(self, outcome: str) -> None:
        """Count an image by outcome."""
        self._metrics.images.labels(self.version.name, outcome).inc()

    def stage(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        self._metrics.stages.labels(self.version.name, stage).observe(seconds)

    def drop_answered(self) -> list[QueuedJob]:
        """Take jobs whose clients have gone or were answered (deadline) out of the queue."""
        dropped = [job for job in self.jobs if job.result.done()]
        if dropped:
            self.jobs = deque(job for job in self.jobs if not job.result.done())
        return dropped

    def due(self, now: float, delay: float) -> float | None:
        """Seconds until a batch should start; 0 is now, None when nothing waits.

        A batch waits only while others are likely to join it: some are being decoded, or the
        last batch had company. A lone client's request starts at once.
        """
        if not self.jobs:
            return None
        first = self.jobs[0]
        rows = sum(job.rows for job in self.jobs if job.form == first.form)
        if rows >= self.version.limit or not (self.expected or self.last_rows > 1):
            return 0
        return max(0.0, first.queued + delay - now)

    def take(self) -> list[QueuedJob]:
        """The next batch: the oldest job and others of its form, as many rows as are allowed."""
        form, rows = self.jobs[0].form, 0
        batch: list[QueuedJob] = []
        left: deque[QueuedJob] = deque()
        for job in self.jobs:
            if job.form == form and (not batch or rows + job.rows <= self.version.limit):
                batch.append(job)
                rows += job.rows
                self._left(job)
            else:
                left.append(job)
        self.jobs = left
        self.last_rows = rows
        self.running += rows
        self._metrics.batches.labels(self.version.name).observe(rows)
        return batch

    def ran(self, rows: int, seconds: float) -> None:
        """Learn from a batch that ended well."""
        self.served += seconds
        each = seconds / rows
        self.row_seconds = each if not self.row_seconds else 0.8 * self.row_seconds + 0.2 * each


def next_queue(queues: Iterable[Queue], now: float, delay: float) -> tuple[Queue | None, float]:
    """The queue whose batch starts now, the least served first; or None and seconds to wait."""
    waits = [(queue, wait) for queue in queues if (wait := queue.due(now, delay)) is not None]
    ready = [queue for queue, wait in waits if wait <= 0]
    if ready:
        return min(ready, key=lambda queue: queue.served), 0
    return None, min((wait for _, wait in waits), default=float("inf"))


def catch_up(queue: Queue, queues: Iterable[Queue]) -> None:
    """A queue that was idle does not save up device time against the others."""
    busy = [other.served for other in queues if other is not queue and not other.idle]
    if busy:
        queue.served = max(queue.served, min(busy))


class Queues:
    """The queues of all versions that have, or may get, work."""

    def __init__(self, arena: Arena, metrics: Metrics) -> None:
        self._arena, self._metrics = arena, metrics
        self._queues: dict[str, Queue] = {}
        self._changed: list[asyncio.Event] = []

    def __iter__(self) -> Iterator[Queue]:
        return iter(self._queues.values())

    def add(self, version: Version) -> None:
        """Open the queue of a version."""
        self._queues[version.key] = Queue(version, self._metrics)

    def remove(self, version: Version) -> None:
        """Close it; it must be idle."""
        self._queues.pop(version.key, None)

    def of(self, version: Version) -> Queue:
        """The queue of a version."""
        return self._queues[version.key]

    def listen(self) -> asyncio.Event:
        """An event that is set whenever a queue changes."""
        self._changed.append(asyncio.Event())
        return self._changed[-1]

    def wake(self) -> None:
        """Say that a queue changed."""
        for event in self._changed:
            event.set()

    def put(self, queue: Queue, job: QueuedJob, work: ImageWork | TensorWork, now: float) -> None:
        """Let an accepted job wait for its batch."""
        if not queue.jobs:
            catch_up(queue, self)
        job.work, job.form, job.queued = work, work.form, now
        queue.jobs.append(job)
        self.wake()

    def drop(self, jobs: Iterable[QueuedJob]) -> None:
        """Give the shared memory of jobs back; nobody may use it any more."""
        for job in jobs:
            if job.region is not None:
                self._arena.release(*job.region)
                job.region = None
