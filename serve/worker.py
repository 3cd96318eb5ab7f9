"""The worker process of a device: networks and NMS.

`python -m serve.worker SOCKET MEMORY SIZE`, started and restarted by the service.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np

from yolov4sdk import Detections, Detector
from yolov4sdk.backends import Outputs
from yolov4sdk.errors import YOLOv4Error
from yolov4sdk.imaging.preprocess import Letterbox

from .arena import Arena
from .channel import Message, Parent


class Worker:
    """Models by key, and what may be done with them."""

    def __init__(self, parent: Parent, arena: Arena) -> None:
        self._parent, self._arena = parent, arena
        self._models: dict[str, Detector] = {}
        self._sending = threading.Lock()

    def serve(self) -> None:
        """Answer messages until the service closes the socket."""
        while True:
            message, _ = self._parent.receive()
            if message["do"] == "load":  # takes seconds: batches of other models go on
                threading.Thread(target=self._answer, args=(message,), daemon=True).start()
            else:
                self._answer(message)

    def _answer(self, message: Message) -> None:
        answer: Message = {"id": message["id"]}
        try:
            answer |= getattr(self, f"do_{message['do']}")(message)
        except YOLOv4Error as error:
            answer["error"] = str(error)
        except Exception as error:  # a runtime's own; the service lives on
            answer["error"] = f"{type(error).__name__}: {error}"
        with self._sending:
            self._parent.send(answer)

    def do_load(self, message: Message) -> Message:
        """Load a model and run it in the forms that requests will take."""
        detector = Detector(message["path"], **message["options"])
        _warm_up(detector, message["batch_size"])
        self._models[message["key"]] = detector
        backend = detector.backend
        return {
            "spec": detector.spec.to_json(), "backend": backend.name, "device": backend.device,
            "precision": backend.precision, "size": detector.size,
            "rectangular": detector.rectangular,
        }  # fmt: skip

    def do_unload(self, message: Message) -> Message:
        """Give a model's memory back."""
        self._models.pop(message["key"]).close()
        return {}

    def do_detect(self, message: Message) -> Message:
        """Detect in canvases [H, W, 3] that lie in shared memory."""
        detector, canvas = self._models[message["key"]], message["canvas"]
        offsets = message["offsets"]
        canvases = np.empty((len(offsets), *canvas, 3), np.uint8)
        for row, offset in zip(canvases, offsets, strict=True):
            row[:] = self._arena.array(offset, (*canvas, 3), np.uint8)
        plans = [
            Letterbox((p[0], p[1]), (p[2], p[3]), (p[4], p[5]), (canvas[0], canvas[1]))
            for p in message["plans"]
        ]
        started = time.perf_counter()
        outputs = detector.run_canvases(canvases)
        seconds = time.perf_counter() - started
        found = [
            detector.detections(outputs, row, plan, **options)
            for row, (plan, options) in enumerate(zip(plans, message["options"], strict=True))
        ]
        return {"network": seconds, "found": [_fields(one) for one in found]}

    def do_infer(self, message: Message) -> Message:
        """Run tensors that lie in shared memory; the outputs go there too."""
        detector = self._models[message["key"]]
        batch = np.concatenate(
            [
                self._arena.array(part["offset"], tuple(part["shape"]), message["dtype"])
                for part in message["parts"]
            ]
        )
        started = time.perf_counter()
        outputs = detector.infer(batch)
        seconds = time.perf_counter() - started
        start, shapes = 0, []
        for part in message["parts"]:
            rows = slice(start, start + part["shape"][0])
            start = rows.stop
            shapes.append(self._write(part["outputs"], part["room"], outputs, rows))
        return {"network": seconds, "shapes": shapes}

    def _write(
        self, offset: int, room: int, outputs: Outputs, rows: slice
    ) -> list[tuple[str, tuple[int, ...]] | None]:
        """Put some rows of the outputs into a region; dtype and shape of each array."""
        shapes: list[tuple[str, tuple[int, ...]] | None] = []
        end = offset + room
        for whole in outputs:
            if whole is None:
                shapes.append(None)
                continue
            part = whole[rows]
            if offset + part.nbytes > end:
                raise ValueError("the outputs are larger than the model's spec says")
            self._arena.array(offset, part.shape, part.dtype)[:] = part
            shapes.append((part.dtype.str, part.shape))
            offset += part.nbytes
        return shapes


def _fields(found: Detections) -> Message:
    return {"xyxy": found.xyxy, "scores": found.scores, "class_ids": found.class_ids}


def _warm_up(detector: Detector, batch_size: int) -> None:
    """Runtimes allocate and choose kernels in the first runs of a shape."""
    height, width = detector.size
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    detector(noise[: max(1, height * 9 // 16)])  # a canvas of its own for graphs of any size
    detector([noise] * batch_size)
    detector(noise)


def main(arguments: list[str]) -> None:
    """Serve until the service is gone."""
    descriptor, memory, size = (int(argument) for argument in arguments)
    parent: Any = Parent(descriptor)
    parent.send({"id": 0})
    Worker(parent, Arena(size, memory)).serve()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except EOFError:
        sys.exit(0)
