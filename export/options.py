"""What can be asked of an export, checked before any work is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import SettingError

PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8")
"""bf16 is for TensorRT engines alone."""
CALIBRATION_IMAGES: Final = 64
"""As many as are used at most, where no other number is asked for."""
QdqFor = Literal["cpu", "tensorrt"]
NMS_CANDIDATES: Final = 3840
"""Best boxes that reach the suppression inside a graph; TensorRT's TopK takes no more."""


@dataclass(frozen=True)
class ExportOptions:
    """The form of the exported graph.

    Attributes:
        size: (height, width) in pixels; None is the model's own. Of a dynamic graph it is the
            usual size, not the only one.
        batch: images in a batch; None takes any number.
        dynamic: any height and width that are multiples of the largest stride.
        precision: "fp32", or "fp16": half weights and activations; inputs, decoding and outputs
            stay float32. Engines also "bf16", alike. "int8": quantised, see `Int8Options`.
        half_weights: an ONNX file keeps its weights in float16 and computes in float32.
        uint8: the input is uint8 RGB [B, H, W, 3]; it is divided by 255 inside the graph.
        topk: reduce the outputs to the K boxes with the best class scores.
        nms: suppress overlapping boxes inside the graph.
        conf, iou, max_det: as in `yolov4sdk.results.postprocess.nms`; used with `nms` alone.
    """

    size: tuple[int, int] | None = None
    batch: int | None = 1
    dynamic: bool = False
    precision: str = "fp32"
    half_weights: bool = False
    uint8: bool = False
    topk: int | None = None
    nms: bool = False
    conf: float = 0.25
    iou: float = 0.45
    max_det: int = 300

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SettingError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        if self.half_weights and self.precision != "fp32":
            raise SettingError(
                f"half_weights keeps a float32 graph small; the weights of {self.precision} are "
                "small already"
            )
        for name, value in (("batch", self.batch), ("topk", self.topk), ("max_det", self.max_det)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise SettingError(f"{name} must be a positive integer, got {value!r}")
        if self.nms and self.topk is not None:
            raise SettingError(
                "topk and nms exclude each other: nms already reduces the outputs, to max_det rows"
            )
        for name, share in (("conf", self.conf), ("iou", self.iou)):
            if not 0 <= share <= 1:
                raise SettingError(f"{name} must be between 0 and 1, got {share!r}")
        if self.max_det > NMS_CANDIDATES:
            raise SettingError(f"max_det must be at most {NMS_CANDIDATES}, got {self.max_det}")

    def artefact_spec(self, spec: ModelSpec, sdk_version: str) -> ModelSpec:
        """The spec that the exported file carries.

        Raises:
            InputSizeError: a size that the strides do not allow; the message names some that fit.
        """
        provenance = {**spec.provenance, "sdk_version": sdk_version}
        if self.nms:
            provenance["nms"] = f"conf {self.conf}, iou {self.iou}"
        return spec.replace(
            input_size=spec.check_size(self.size or spec.input_size),
            dynamic_size=self.dynamic,
            batch=self.batch,
            input_form="uint8_nhwc" if self.uint8 else "float_nchw",
            outputs="nms" if self.nms else "full" if self.topk is None else "topk",
            topk=self.max_det if self.nms else self.topk,
            precision=self.precision,
            provenance=provenance,
        )


@dataclass(frozen=True)
class Int8Options:
    """How a model is quantised to eight bits, beside the form of its graph.

    Attributes:
        calibration: a folder, a glob or a data set with images of the kind that the model will
            see; no labels are needed.
        split: of it, where it is a data set.
        calibration_images: as many of them as are used at most.
        val_data: a labelled data set that decides; None decides by agreement with the float
            file alone.
        val_split: of it.
        max_drop: AP50-95, in points of 100, that may be lost on it.
        qdq: what an ONNX graph is quantised for: "cpu" (ONNX Runtime) or "tensorrt".
    """

    calibration: str | Path
    split: str = "train"
    calibration_images: int = CALIBRATION_IMAGES
    val_data: str | Path | None = None
    val_split: str = "val"
    max_drop: float = 0.5
    qdq: QdqFor = "cpu"

    def __post_init__(self) -> None:
        count = self.calibration_images
        if not isinstance(count, int) or count < 1:
            raise SettingError(f"calibration_images must be a positive integer, got {count!r}")
        if not self.max_drop >= 0:
            raise SettingError(f"max_drop must be at least 0 points of AP, got {self.max_drop!r}")
        if self.qdq not in get_args(QdqFor):
            raise SettingError(f"qdq must be one of {get_args(QdqFor)}, got {self.qdq!r}")
