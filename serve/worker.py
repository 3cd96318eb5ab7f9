"""The worker process of a device: networks and NMS.

`python -m serve.worker SOCKET MEMORY SIZE NICENESS`, started and restarted by the service.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from yolov4sdk import Detector
from yolov4sdk.backends import Outputs
from yolov4sdk.errors import YOLOv4Error
from yolov4sdk.imaging.preprocess import Letterbox

from . import messages as m
from .arena import Arena
from .channel import Parent
from .warm_up import warm_up


class Worker:
    """Models by key, and what may be done with them."""

    def __init__(self, parent: Parent, arena: Arena) -> None:
        self._parent, self._arena = parent, arena
        self._models: dict[str, Detector] = {}
        self._sending = threading.Lock()
        self._actions: Final[dict[type, Callable[[Any], Any]]] = {
            m.Load: self._load, m.Unload: self._unload, m.Detect: self._detect,
            m.Infer: self._infer,
        }  # fmt: skip

    def serve(self) -> None:
        """Answer messages until the service closes the socket."""
        while True:
            number, message, _ = self._parent.receive()
            if isinstance(message, m.Load):  # takes seconds: batches of other models go on
                threading.Thread(target=self._answer, args=(number, message), daemon=True).start()
            else:
                self._answer(number, message)

    def _answer(self, number: int, message: Any) -> None:
        try:
            answer = self._actions[type(message)](message)
        except YOLOv4Error as error:
            answer = m.Failed(str(error))
        except Exception as error:  # a runtime's own; the service lives on
            answer = m.Failed(f"{type(error).__name__}: {error}")
        with self._sending:
            self._parent.send(number, answer)

    def _load(self, message: m.Load) -> m.Loaded:
        """Load a model and run it in the forms that requests will take."""
        detector = Detector(message.path, **message.options)
        try:
            warm_up(detector, message.batch_size)
        except BaseException:
            detector.close()
            raise
        self._models[message.key] = detector
        backend = detector.backend
        return m.Loaded(
            detector.spec.to_json(), backend.name, backend.device, backend.precision,
            detector.size, detector.rectangular,
        )  # fmt: skip

    def _unload(self, message: m.Unload) -> m.Unloaded:
        self._models.pop(message.key).close()
        return m.Unloaded()

    def _detect(self, message: m.Detect) -> m.Detected:
        detector, canvas = self._models[message.key], message.placed[0].canvas
        canvases = np.empty((len(message.offsets), *canvas, 3), np.uint8)
        for canvas_row, offset in zip(canvases, message.offsets, strict=True):
            canvas_row[:] = self._arena.array(offset, (*canvas, 3), np.uint8)
        started = time.perf_counter()
        outputs = detector.run_canvases(canvases)
        seconds = time.perf_counter() - started
        found = []
        for row, (placed, choice) in enumerate(zip(message.placed, message.choices, strict=True)):
            one = detector.detections(outputs, row, Letterbox(**asdict(placed)), **asdict(choice))
            found.append(m.Found(one.xyxy, one.scores, one.class_ids))  # type: ignore[arg-type]
        return m.Detected(seconds, tuple(found))

    def _infer(self, message: m.Infer) -> m.Inferred:
        """Run tensors that lie in shared memory; the outputs go there too."""
        batch = np.concatenate(
            [self._arena.array(part.offset, part.shape, message.dtype) for part in message.parts]
        )
        started = time.perf_counter()
        outputs = self._models[message.key].infer(batch)
        seconds = time.perf_counter() - started
        start, written = 0, []
        for part in message.parts:
            rows = slice(start, start + part.shape[0])
            start = rows.stop
            written.append(self._write(part, outputs, rows))
        return m.Inferred(seconds, tuple(written))

    def _write(self, part: m.Tensor, outputs: Outputs, rows: slice) -> tuple[m.Array | None, ...]:
        """Put some rows of the outputs into shared memory."""
        arrays: list[m.Array | None] = []
        offset, end = part.outputs, part.outputs + part.room
        for whole in outputs:
            if whole is None:
                arrays.append(None)
                continue
            values = whole[rows]
            if offset + values.nbytes > end:
                raise ValueError("the outputs are larger than the model's spec says")
            self._arena.array(offset, values.shape, values.dtype)[:] = values
            arrays.append(m.Array(values.dtype.str, values.shape))
            offset += values.nbytes
        return tuple(arrays)


def main(arguments: list[str]) -> None:
    """Serve until the service is gone."""
    descriptor, memory, size, niceness = (int(argument) for argument in arguments)
    os.nice(niceness)
    parent = Parent(descriptor)
    parent.send(0, m.Started())
    Worker(parent, Arena(size, memory)).serve()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except EOFError:
        sys.exit(0)
