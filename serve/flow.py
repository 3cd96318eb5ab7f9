"""The request flow: image bytes -> header -> a decoder -> the queue of a model -> the answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolov4sdk import Detections, ModelSpec
from yolov4sdk.backends import Outputs
from yolov4sdk.backends.base import check_batch
from yolov4sdk.contract.contract import OUTPUTS, output_shapes
from yolov4sdk.errors import SettingError, YOLOv4Error
from yolov4sdk.imaging.preprocess import Letterbox
from yolov4sdk.results.thresholds import Thresholds

from . import messages as m
from .arena import Arena
from .decoders import Pool, Slow, Stopped
from .headers import Header, read_header
from .problems import Problem
from .queues import ImageWork, QueuedJob, TensorWork
from .scheduler import Scheduler, late
from .settings import Settings
from .suspicion import Suspicion, empty, seconds_for
from .version import Version

log = logging.getLogger("yolov4sdk.serve")


@dataclass(frozen=True)
class DetectOptions:
    """What a request may choose; see `yolov4sdk.results.postprocess.nms`.

    Attributes:
        classes: names or ids to report; None is all.
    """

    conf: float = 0.25
    iou: float | None = None
    max_det: int = 300
    classes: Sequence[str | int] | None = None
    agnostic: bool = False


class Flow:
    """The way of a request. All methods belong to one event loop.

    Args:
        pool: decodes ordinary images, and parses large requests.
        slow: decodes suspicious ones; see `serve.suspicion`.
    """

    def __init__(
        self, arena: Arena, scheduler: Scheduler, pool: Pool, slow: Slow, settings: Settings
    ) -> None:
        self._arena, self._scheduler, self._settings = arena, scheduler, settings
        self._pool, self._slow, self._suspicion = pool, slow, Suspicion()
        self._tasks: set[asyncio.Task[Any]] = set()

    def stop(self) -> None:
        """Give up what no client waits for any more."""
        for task in self._tasks:
            task.cancel()

    def check(self, version: Version, options: DetectOptions) -> m.Choice:
        """The options with classes as ids.

        Raises:
            Problem: 422, a wrong option.
        """
        with self._counting_invalid(version):
            try:
                spec = version.spec
                chosen = Thresholds(**vars(options)).resolved(spec.names, spec.contract.output)
            except YOLOv4Error as error:
                raise Problem(422, "Wrong option", str(error)) from None
        ids: Any = chosen.classes
        return m.Choice(chosen.conf, chosen.iou, chosen.max_det, ids, chosen.agnostic)

    async def detect(self, version: Version, image: bytes, options: DetectOptions) -> Detections:
        """Detect objects in one encoded image. Cancel the task to give the work up.

        Raises:
            Problem: 415, 422 the image or an option is wrong; 500 the runtime failed; 503 queue
                full, not ready, or the worker was lost; 504 past the deadline.
        """
        choice = self.check(version, options)
        with self._counting_invalid(version):
            header = self._header(image)
        job = self._scheduler.admit(version)
        self._scheduler.queues.of(version).expected += 1
        self._spawn(self._decode(version, job, image, header, choice))
        return await self._scheduler.answer(job)  # type: ignore[no-any-return]

    async def infer(self, version: Version, batch: NDArray[Any]) -> Outputs:
        """Run only the network, on a tensor, through the same bounded queue.

        Args:
            batch: as `spec.contract.input` says, of our own models float32 RGB [B, 3, H, W] in
                0..1 or uint8 RGB [B, H, W, 3]; B at most the setting `batch_size`, for a fixed
                graph its own.

        Returns:
            Arrays of their own memory.

        Raises:
            Problem: 422 wrong dtype or shape; 500, 503 and 504 as `detect`.
        """
        with self._counting_invalid(version):
            try:
                check_batch(batch, version.spec)
                if len(batch) > version.limit:
                    raise SettingError(
                        f"a batch of {len(batch)}; at most {version.limit} are taken"
                    )
            except YOLOv4Error as error:
                raise Problem(422, "Wrong tensor", str(error)) from None
        job = self._scheduler.admit(version, len(batch))
        room = _output_bytes(version.spec, batch.shape)
        if self._scheduler.reserve(job, batch.nbytes + room):
            offset = job.region[0] if job.region else 0
            self._arena.array(offset, batch.shape, batch.dtype)[:] = batch
            end = offset + batch.nbytes
            work = TensorWork(batch.shape, batch.dtype.str, end, room)
            self._scheduler.put(version, job, work)
        return await self._scheduler.answer(job)  # type: ignore[no-any-return]

    async def draw(self, image: bytes, detections: Detections) -> bytes:
        """The image with boxes, names and scores, as JPEG.

        Raises:
            Problem: as `detect`, of the image.
        """
        header = self._header(image)
        seconds = seconds_for(image, self._settings.decode_limit)
        found = m.Found(
            detections.xyxy.tolist(), detections.scores.tolist(), detections.class_ids.tolist()
        )
        message = m.Draw(header.format, seconds, found, detections.names)
        return (await self._in_pool(self._pool_for(header, image), message, image))[1]

    async def parse(self, body: bytes, header_length: str | None) -> tuple[m.Parsed, bytes]:
        """The tensors of a large KServe body, read in another process.

        Raises:
            Problem: 400 a body that is not one, 422 it takes too long, 504 past the deadline.
        """
        message = m.Parse(header_length, seconds_for(body, self._settings.decode_limit))
        answer, payload = await self._in_pool(self._pool, message, body)
        return answer, payload

    async def _in_pool(self, pool: Pool, message: Any, data: bytes) -> tuple[Any, bytes]:
        """Have a process work, with a limit on the wait; the work goes on when nobody waits."""

        async def work() -> tuple[Any, bytes]:
            async with contextlib.AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(self._settings.deadline):
                        await stack.enter_async_context(pool.turn())
                except TimeoutError:
                    raise late() from None
                return await pool.run(message, data)

        done: tuple[Any, bytes] = await asyncio.shield(self._spawn(work()))
        return done

    def _header(self, image: bytes) -> Header:
        header = read_header(image, self._settings.max_pixels)
        if empty(header, image):
            text = f"{len(image):,} bytes cannot hold {header.width} x {header.height} pixels"
            raise Problem(422, "Empty image", f"{text}; send it smaller, or as PNG")
        return header

    def _pool_for(self, header: Header, image: bytes) -> Pool:
        return self._slow if self._suspicion.suspicious(header, image) else self._pool

    async def _decode(
        self, version: Version, job: QueuedJob, image: bytes, header: Header, choice: m.Choice
    ) -> None:
        """Bring an image from bytes into the queue. Never cancelled: its region stays in use."""
        queue = self._scheduler.queues.of(version)
        started, plan = time.monotonic(), None
        try:
            pool = self._pool_for(header, image)
            async with pool.turn():
                height, width = version.size
                if not job.result.done() and self._scheduler.reserve(job, height * width * 3):
                    plan = await self._letterbox(pool, version, job, image, header)
            queue.stage("decode", time.monotonic() - started)
        except Problem as problem:
            job.fail(problem)
        except Exception:
            log.exception("decoding failed for a fault of the service")
            job.fail(Problem(500))
        finally:
            queue.expected -= 1
            if plan is not None and not job.result.done():
                self._scheduler.put(version, job, ImageWork(plan, choice))
            else:
                self._scheduler.queues.drop([job])
                self._scheduler.queues.wake()

    async def _letterbox(
        self, pool: Pool, version: Version, job: QueuedJob, image: bytes, header: Header
    ) -> Letterbox:
        assert job.region is not None
        message = m.Decode(
            header.format, seconds_for(image, self._settings.decode_limit), job.region[0],
            version.size, version.rectangular, version.spec.max_stride,
            self._settings.scaled_decode, asdict(version.spec.contract.input.resize),
        )  # fmt: skip
        try:
            answer, _ = await pool.run(message, image)
        except Stopped:
            self._suspicion.took(header, image, float("inf"))
            raise
        self._suspicion.took(header, image, answer.seconds)
        plan = Letterbox(**asdict(answer.placed))
        if plan.canvas[0] * plan.canvas[1] * 3 > job.region[1]:
            raise ValueError("a decoder says that the canvas is larger than its region")
        return plan

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @contextlib.contextmanager
    def _counting_invalid(self, version: Version) -> Iterator[None]:
        try:
            yield
        except Problem:
            self._scheduler.queues.of(version).count("invalid")
            raise


def tensors_of(parsed: m.Parsed, payload: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a parsed body; numbers share the payload's memory."""
    tensors: dict[str, NDArray[Any]] = {}
    offset, lengths = 0, iter(parsed.lengths)
    for name, array in zip(parsed.names, parsed.arrays, strict=True):
        count = int(np.prod(array.shape))
        if array.dtype == "O":
            files = np.empty(count, object)
            for index in range(count):
                end = offset + next(lengths)
                files[index], offset = payload[offset:end], end
            tensors[name] = files.reshape(array.shape)
        else:
            values = np.frombuffer(payload, array.dtype, count, offset)
            tensors[name], offset = values.reshape(array.shape), offset + values.nbytes
    return tensors


def _output_bytes(spec: ModelSpec, shape: tuple[int, ...]) -> int:
    """Bytes of the outputs for a batch of this shape."""
    outputs = output_shapes(spec.contract, spec.contract.input.canvas_of(shape))
    sizes = (
        max(0, math.prod(dims)) * np.dtype(OUTPUTS[name]).itemsize for name, dims in outputs.items()
    )
    return shape[0] * sum(sizes)
