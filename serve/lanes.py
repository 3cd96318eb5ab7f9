"""A model's bounded queue, and which batch runs next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from yolov4sdk import ModelSpec
from yolov4sdk.imaging.preprocess import Letterbox

from .metrics import Metrics
from .problems import Problem, overloaded


@dataclass(eq=False)
class Job:
    """One image or tensor on its way; its future is resolved exactly once.

    Attributes:
        result: what the client waits for.
        rows: of the batch that it takes.
        request: options of an image; shape and dtype of a tensor.
        region: (offset, bytes) in shared memory, given back when nobody uses it any more.
        form: only jobs of the same form share a batch: ("detect", H, W) or ("infer", ...).
        plan: of an image, once it is decoded.
        waiting: no worker has it yet, and it is not answered.
    """

    result: asyncio.Future[Any]
    accepted: float
    rows: int = 1
    request: dict[str, Any] = field(default_factory=dict)
    region: tuple[int, int] | None = None
    form: tuple[Any, ...] = ()
    plan: Letterbox | None = None
    queued: float = 0
    waiting: bool = True

    def fail(self, problem: Problem) -> None:
        """Answer with a problem, unless it is answered."""
        if not self.result.done():
            self.result.set_exception(problem)


class Lane:
    """One version of a model: its jobs, and what is known of its speed.

    Attributes:
        key: of this version in the workers; a swap makes a new one.
        waiting: rows accepted and not yet given to a worker.
        expected: jobs that are accepted but not yet in the queue (being decoded).
        running: rows in workers.
        limit: rows of a batch.
        served: seconds of device time, by which devices are shared fairly.
    """

    def __init__(
        self, name: str, key: str, path: str | None, options: dict[str, Any], metrics: Metrics
    ) -> None:
        self.name, self.key, self.path, self.options = name, key, path, options
        self.spec: ModelSpec
        self.size = (0, 0)
        self.rectangular = False
        self.backend = self.precision = ""
        self.devices: dict[str, str] = {}
        self.jobs: deque[Job] = deque()
        self.waiting = 0
        self.expected = 0
        self.running = 0
        self.served = 0.0
        self.row_seconds = 0.0
        self.last_rows = 1
        self.limit = 1
        self._metrics = metrics

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
            raise overloaded(f"{self.waiting} images are waiting for the model {self.name}", wait)

    def admit(self, job: Job) -> None:
        """Accept a job; see `check_room`."""
        self.waiting += job.rows
        job.result.add_done_callback(lambda _: self._answered(job))

    def _left(self, job: Job) -> None:
        if job.waiting:
            job.waiting = False
            self.waiting -= job.rows

    def _answered(self, job: Job) -> None:
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
        self._metrics.images.labels(self.name, outcome).inc()

    def drop_answered(self) -> list[Job]:
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
        if rows >= self.limit or not (self.expected or self.last_rows > 1):
            return 0
        return max(0.0, first.queued + delay - now)

    def take(self) -> list[Job]:
        """The next batch: the oldest job and others of its form, `limit` rows at most."""
        form, rows = self.jobs[0].form, 0
        batch: list[Job] = []
        left: deque[Job] = deque()
        for job in self.jobs:
            if job.form == form and (not batch or rows + job.rows <= self.limit):
                batch.append(job)
                rows += job.rows
                self._left(job)
            else:
                left.append(job)
        self.jobs = left
        self.last_rows = rows
        self.running += rows
        return batch

    def ran(self, rows: int, seconds: float) -> None:
        """Learn from a batch that ended well."""
        self.served += seconds
        each = seconds / rows
        self.row_seconds = each if not self.row_seconds else 0.8 * self.row_seconds + 0.2 * each


def next_lane(lanes: Iterable[Lane], now: float, delay: float) -> tuple[Lane | None, float]:
    """The lane whose batch starts now, the least served first; or None and seconds to wait."""
    waits = [(lane, wait) for lane in lanes if (wait := lane.due(now, delay)) is not None]
    ready = [lane for lane, wait in waits if wait <= 0]
    if ready:
        return min(ready, key=lambda lane: lane.served), 0
    return None, min((wait for _, wait in waits), default=float("inf"))


def catch_up(lane: Lane, lanes: Iterable[Lane]) -> None:
    """A lane that was idle does not save up device time against the others."""
    busy = [other.served for other in lanes if other is not lane and not other.idle]
    if busy:
        lane.served = max(lane.served, min(busy))
