"""The engine room: bounded queues, decoders, one worker process per device.

image bytes -> header check -> decoder process -> queue of the model -> worker of a device
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from yolov4sdk import Detections, ModelSpec
from yolov4sdk.backends import Outputs
from yolov4sdk.backends.base import check_batch
from yolov4sdk.contract.contract import OUTPUTS, output_shapes
from yolov4sdk.detections import resolve_classes
from yolov4sdk.errors import SettingError, YOLOv4Error
from yolov4sdk.imaging.preprocess import Letterbox
from yolov4sdk.results.postprocess import check_thresholds
from yolov4sdk.system.cpu import available_cpus

from .arena import Arena
from .artefacts import check_artefact, named_models
from .decoders import Decoders
from .devices import Device
from .headers import read_header
from .lanes import Job, Lane, catch_up
from .metrics import Metrics
from .problems import Problem, overloaded
from .settings import Settings

log = logging.getLogger("yolov4sdk.serve")

State = Literal["ready", "restarting", "draining"]


@dataclass(frozen=True)
class DetectOptions:
    """What a request may choose; see `yolov4sdk.results.postprocess.nms`.

    Attributes:
        classes: names or ids to report; None is all.
    """

    conf: float = 0.25
    iou: float = 0.45
    max_det: int = 300
    classes: Sequence[str | int] | None = None
    agnostic: bool = False


@dataclass(frozen=True)
class ModelInfo:
    """A loaded model.

    Attributes:
        name: by which requests ask for it.
        spec: of the artefact.
        backend: of the runtime, "onnxruntime".
        device: the devices really used, "cpu" or "cuda:0,cuda:1".
        precision: of the arithmetic really used.
        state: "ready", or why it is not.
        default: whether it answers requests that name no model.
        size: (height, width) in pixels, of the canvas images are letterboxed into.
    """

    name: str
    spec: ModelSpec
    backend: str
    device: str
    precision: str
    state: State
    default: bool
    size: tuple[int, int]


class Engine:
    """Runs models for many requests at once. All methods belong to one event loop.

    Attributes:
        draining: the service is being stopped, and not ready for that reason.
        failure: why it could not start.

    Raises:
        YOLOv4Error: a model of the settings is missing or no artefact.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self._initial = named_models(settings.models)
        for path in self._initial.values():
            if path is not None:
                check_artefact(path)
        self.draining = False
        self.failure = ""
        self._open = False
        self._versions = itertools.count()
        self._current: dict[str, Lane] = {}
        self._retired: list[Lane] = []
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._devices = [Device(name, self) for name in settings.device]

    async def start(self) -> None:
        """Start the processes, load and warm up every model of the settings.

        Raises:
            YOLOv4Error: a model cannot be loaded.
        """
        settings = self.settings
        self.arena = Arena(settings.shared_memory)
        count = settings.decoders or min(8, max(2, available_cpus()))
        self._decoders = Decoders(
            count, self.arena, settings.decode_limit, settings.max_pixels, self.metrics
        )
        for name, path in self._initial.items():
            self._current[name] = self._lane(name, path, {})
        try:
            await asyncio.gather(self._decoders.start(), *(d.start() for d in self._devices))
        except BaseException:
            await self.stop()
            raise
        self._open = True

    async def stop(self) -> None:
        """Finish the accepted work, then end the processes."""
        self._open = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.deadline + self.settings.run_limit):
                while not all(lane.idle for lane in self.lanes()):
                    await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(device.stop() for device in self._devices))
        await self._decoders.stop()
        self.arena.close()

    @property
    def alive(self) -> bool:
        """Whether requests are taken; during a drain they still are."""
        return self._open and any(device.up for device in self._devices)

    @property
    def ready(self) -> bool:
        """Whether more requests should be sent: models warm, a worker alive, not draining."""
        return self.alive and not self.draining

    def models(self) -> list[ModelInfo]:
        """The loaded models, the default one first."""
        return [self._info(lane) for lane in self._current.values()]

    def model(self, name: str | None = None) -> ModelInfo:
        """One model; None is the default one.

        Raises:
            Problem: 404, no model of this name.
        """
        return self._info(self._find(name))

    async def detect(self, model: str | None, image: bytes, options: DetectOptions) -> Detections:
        """Detect objects in one encoded image. Cancel the task to give the work up.

        Raises:
            Problem: 404 no such model; 415, 422 the image or an option is wrong; 500 the runtime
                failed; 503 queue full, not ready, or the worker was lost; 504 past the deadline.
        """
        lane = self._find(model)
        with _counting_invalid(lane):
            checked = _checked(options, lane.spec)
            header = read_header(image, self.settings.max_pixels)
        job = self._admit(lane, 1)
        job.request = checked
        lane.expected += 1
        self._spawn(self._decode(lane, job, image, header.format))
        return await self._answer(job)  # type: ignore[no-any-return]

    def check(self, model: str | None, options: DetectOptions) -> None:
        """Raise what `detect` would for the options alone: Problem 404 or 422."""
        lane = self._find(model)
        with _counting_invalid(lane):
            _checked(options, lane.spec)

    def refuse(self, model: str | None) -> None:
        """Raise Problem 503 where an image for this model would be refused now, for overload."""
        if not self._open:
            return  # what to answer then is for `detect` to say
        lane = self._default if model is None else self._current.get(model)
        if lane is not None:
            self._check_room(lane, 1)

    async def infer(self, model: str | None, batch: NDArray[Any]) -> Outputs:
        """Run the network alone on a tensor, through the same bounded queue.

        Args:
            model: name, or None for the default one.
            batch: as `spec.contract.input` says, of our own models float32 RGB [B, 3, H, W] in
                0..1 or uint8 RGB [B, H, W, 3]; B at most the setting `batch_size`, for a fixed
                graph its own.

        Returns:
            Arrays of their own memory.

        Raises:
            Problem: 404 no such model; 422 wrong dtype or shape; 500, 503 and 504 as `detect`.
        """
        lane = self._find(model)
        try:
            check_batch(batch, lane.spec)
            if len(batch) > lane.limit:
                raise SettingError(f"a batch of {len(batch)}; at most {lane.limit} are taken")
        except YOLOv4Error as error:
            lane.count("invalid")
            raise Problem(422, "Wrong tensor", str(error)) from None
        job = self._admit(lane, len(batch))
        room = _output_bytes(lane.spec, batch.shape)
        if not self._reserve(job, batch.nbytes + room):
            return await self._answer(job)  # type: ignore[no-any-return]
        offset = job.region[0] if job.region else 0
        self.arena.array(offset, batch.shape, batch.dtype)[:] = batch
        job.request = {
            "offset": offset, "shape": batch.shape, "outputs": offset + batch.nbytes, "room": room,
        }  # fmt: skip
        self._queue(lane, job, ("infer", batch.dtype.str, *batch.shape[1:]))
        return await self._answer(job)  # type: ignore[no-any-return]

    async def draw(self, image: bytes, detections: Detections) -> bytes:
        """The image with boxes, names and scores, as JPEG.

        Raises:
            Problem: as `detect`, of the image.
        """
        header = read_header(image, self.settings.max_pixels)
        try:
            async with asyncio.timeout(self.settings.deadline):
                decoder = await self._decoders.acquire()
        except TimeoutError:
            raise _late() from None
        found = {
            "xyxy": detections.xyxy.tolist(), "scores": detections.scores.tolist(),
            "class_ids": detections.class_ids.tolist(), "names": detections.names,
        }  # fmt: skip
        message = {"do": "draw", "format": header.format, **found}
        drawn: bytes = (await self._finish(self._decoders.run(decoder, message, image)))[1]
        return drawn

    async def load(self, name: str, path: Path, **options: Any) -> ModelInfo:
        """Load a model, or swap the one of this name; the old one serves until the new is warm.

        Args:
            path: of a file that `serve.artefacts.served_file` allowed.
            **options: backend, precision, size of the Detector.

        Raises:
            YOLOv4Error: it cannot be loaded; the old one stays.
        """
        check_artefact(path)
        async with self._changing:
            lane = self._lane(name, path, options)
            try:
                for device in self._devices:
                    await device.load(lane)
                if not lane.devices:
                    raise SettingError("no worker is alive to load it; try again")
            except BaseException:
                await self._unload(lane)
                raise
            old = self._current.get(name)
            self._current[name] = lane
            if old is not None:
                self._retire(old)
            for device in self._devices:  # one that was restarted meanwhile
                await device.load(lane)
            return self._info(lane)

    async def unload(self, name: str) -> None:
        """Take a model out of service; what it accepted is finished.

        Raises:
            Problem: 404 no such model, 409 it is the default one.
        """
        async with self._changing:
            lane = self._find(name)
            if lane is self._default:
                raise Problem(409, "In use", "the default model can be swapped, not unloaded")
            del self._current[name]
            self._retire(lane)

    # What follows is for the other files of the engine room.

    def lanes(self) -> list[Lane]:
        """All versions of all models that have, or may get, work."""
        return [*self._current.values(), *self._retired]

    def stage(self, lane: Lane, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        self.metrics.stages.labels(lane.name, stage).observe(seconds)

    def drop(self, jobs: Iterable[Job]) -> None:
        """Give the shared memory of jobs back; nobody may use it any more."""
        for job in jobs:
            if job.region is not None:
                self.arena.release(*job.region)
                job.region = None

    def outputs(self, job: Job, shapes: list[Any]) -> Outputs:
        """Copy the outputs of a tensor job out of shared memory."""
        offset: int = job.request["outputs"]
        arrays: list[NDArray[Any] | None] = []
        for entry in shapes:
            if entry is None:
                arrays.append(None)
                continue
            array = self.arena.array(offset, tuple(entry[1]), np.dtype(entry[0])).copy()
            offset += array.nbytes
            arrays.append(array)
        return Outputs(*arrays)  # type: ignore[arg-type]

    def observe(self) -> None:
        """Bring the gauges up to date."""
        for name, lane in self._current.items():
            waiting = lane.waiting + sum(r.waiting for r in self._retired if r.name == name)
            self.metrics.queue.labels(name).set(waiting)
        self.metrics.ready.set(self.ready)
        self.metrics.memory.set(self.arena.used)

    # Below: one request's way.

    @property
    def _default(self) -> Lane:
        """The model of requests that name none: the first."""
        return next(iter(self._current.values()))

    def _find(self, name: str | None) -> Lane:
        if not self.alive:
            raise Problem(503, "Not ready", "no worker is ready; try again", {"Retry-After": "1"})
        if name is None:
            return self._default
        if name not in self._current:
            raise Problem(404, "No such model", f"there are {', '.join(self._current)}")
        return self._current[name]

    def _admit(self, lane: Lane, rows: int) -> Job:
        self._check_room(lane, rows)
        job = Job(asyncio.get_running_loop().create_future(), time.monotonic(), rows)
        lane.admit(job)
        return job

    def _check_room(self, lane: Lane, rows: int) -> None:
        workers = sum(device.up for device in self._devices)
        lane.check_room(rows, self.settings.queue_length, self.settings.deadline, workers)

    async def _answer(self, job: Job) -> Any:
        def expire() -> None:
            if job.waiting:
                job.fail(_late())

        timer = asyncio.get_running_loop().call_later(self.settings.deadline, expire)
        try:
            return await job.result
        finally:
            timer.cancel()

    def _reserve(self, job: Job, size: int) -> bool:
        offset = self.arena.allocate(size)
        if offset is None:
            job.fail(overloaded("the memory for images and tensors is in use"))
            return False
        job.region = (offset, size)
        return True

    async def _decode(self, lane: Lane, job: Job, image: bytes, kind: str) -> None:
        """Bring an image from bytes into the queue. Never cancelled: its region stays in use."""
        started = time.monotonic()
        try:
            decoder = await self._decoders.acquire()
            height, width = lane.size
            if job.result.done() or not self._reserve(job, height * width * 3):
                self._decoders.release(decoder)
                return
            assert job.region is not None
            message = {
                "do": "detect", "format": kind, "offset": job.region[0], "size": lane.size,
                "rectangular": lane.rectangular, "stride": lane.spec.max_stride,
                "scaled": self.settings.scaled_decode,
                "resize": asdict(lane.spec.contract.input.resize),
            }  # fmt: skip
            plan, _ = await self._decoders.run(decoder, message, image)
            job.plan = Letterbox(
                *(tuple(plan[part]) for part in ("source", "resized", "pad", "canvas"))
            )
            self.stage(lane, "decode", time.monotonic() - started)
        except Problem as problem:
            job.fail(problem)
        except Exception:
            log.exception("decoding failed for a fault of the service")
            job.fail(Problem(500))
        finally:
            lane.expected -= 1
            if job.plan is not None and not job.result.done():
                self._queue(lane, job, ("detect", *job.plan.canvas))
            else:
                self.drop([job])
                self._wake()

    def _queue(self, lane: Lane, job: Job, form: tuple[Any, ...]) -> None:
        if not lane.jobs:
            catch_up(lane, self.lanes())
        job.form, job.queued = form, time.monotonic()
        lane.jobs.append(job)
        self._wake()

    def _wake(self) -> None:
        for device in self._devices:
            device.changed.set()

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _finish(self, work: Any) -> Any:
        """Wait for work that goes on when the request is cancelled."""
        return await asyncio.shield(self._spawn(work))

    # And a model's.

    def _lane(self, name: str, path: Path | None, options: dict[str, Any]) -> Lane:
        s = self.settings
        common = {
            "backend": s.backend, "precision": s.precision, "shape": s.shape, "threads": s.threads,
            "batch": s.batch_size,
        }  # fmt: skip
        key = f"{name}#{next(self._versions)}"
        where = None if path is None else str(path)
        return Lane(name, key, where, {**common, **options}, self.metrics)

    def _info(self, lane: Lane) -> ModelInfo:
        state: State = "draining" if self.draining else "ready" if self.alive else "restarting"
        return ModelInfo(
            lane.name, lane.spec, lane.backend, ",".join(lane.devices.values()), lane.precision,
            state, lane is self._default, lane.size,
        )  # fmt: skip

    def _retire(self, lane: Lane) -> None:
        self._retired.append(lane)
        self._spawn(self._end(lane))

    async def _end(self, lane: Lane) -> None:
        while not lane.idle:
            await asyncio.sleep(0.02)
        self._retired.remove(lane)
        await self._unload(lane)

    async def _unload(self, lane: Lane) -> None:
        for device in self._devices:
            await device.unload(lane)


def _late() -> Problem:
    return Problem(504, "Past the deadline", "the request waited too long for its turn")


@contextlib.contextmanager
def _counting_invalid(lane: Lane) -> Iterator[None]:
    try:
        yield
    except Problem:
        lane.count("invalid")
        raise


def _checked(options: DetectOptions, spec: ModelSpec) -> dict[str, Any]:
    """The options with classes as ids, or Problem 422."""
    try:
        check_thresholds(options.conf, options.iou, options.max_det)
        if options.classes is not None:
            options = replace(options, classes=resolve_classes(options.classes, spec.names))
    except YOLOv4Error as error:
        raise Problem(422, "Wrong option", str(error)) from None
    return asdict(options)


def _output_bytes(spec: ModelSpec, shape: tuple[int, ...]) -> int:
    """Bytes of the outputs for a batch of this shape."""
    outputs = output_shapes(spec.contract, spec.contract.input.canvas_of(shape))
    sizes = (
        max(0, math.prod(dims)) * np.dtype(OUTPUTS[name]).itemsize for name, dims in outputs.items()
    )
    return shape[0] * sum(sizes)
