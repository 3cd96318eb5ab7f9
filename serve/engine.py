"""The engine room: bounded queues, decoders, one worker process per device.

    image bytes -> header check -> decoder process -> queue of the model -> worker of a device
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from yolov4sdk import Detections, ModelSpec
from yolov4sdk.backends import Outputs

from .problems import Problem

State = Literal["ready", "loading", "restarting", "failed"]


@dataclass(frozen=True)
class DetectOptions:
    """What a request may choose; see `yolov4sdk.postprocess.nms`.

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
    """Runs models for many requests at once. All methods belong to one event loop."""

    async def start(self) -> None:
        """Start the processes, load and warm up every model of the settings.

        Raises:
            YOLOv4Error: a model cannot be loaded.
        """
        raise Problem(503)

    async def stop(self) -> None:
        """Finish the accepted work, then end the processes."""

    @property
    def ready(self) -> bool:
        """Whether requests are accepted: models warm, workers alive, not draining."""
        return False

    @property
    def draining(self) -> bool:
        """Whether the service is being stopped."""
        return False

    def models(self) -> list[ModelInfo]:
        """The loaded models, the default one first."""
        return []

    def model(self, name: str | None) -> ModelInfo:
        """One model; None is the default one.

        Raises:
            Problem: 404, no model of this name.
        """
        raise Problem(404, "No such model")

    async def detect(self, model: str | None, image: bytes, options: DetectOptions) -> Detections:
        """Detect objects in one encoded image. Cancel the task to give the work up.

        Raises:
            Problem: 404 no such model; 413, 415, 422 the image or an option is wrong; 503 queue
                full, not ready, or the worker was lost; 504 past the deadline.
        """
        raise Problem(503)

    async def infer(self, model: str | None, batch: NDArray[Any]) -> Outputs:
        """Run the network alone on a tensor, through the same bounded queue.

        Args:
            model: name, or None for the default one.
            batch: as `spec.input_form` says: float32 RGB [B, 3, H, W] in 0..1 or uint8 RGB
                [B, H, W, 3]; B at most the setting `batch_size`.

        Returns:
            Arrays of their own memory.

        Raises:
            Problem: 404 no such model; 422 wrong dtype or shape; 503 and 504 as `detect`.
        """
        raise Problem(503)
