"""What can be asked of an export, checked before any work is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from yolov4sdk.contract.contract import grid_rows
from yolov4sdk.contract.spec import ModelSpec, OutputForm
from yolov4sdk.errors import SettingError
from yolov4sdk.system.option import about, check

Precision = Literal["fp32", "fp16", "bf16", "int8"]
"""fp16, bf16: weights and activations; inputs, decoding and outputs stay float32. bf16 is for
TensorRT engines only. int8: quantised, see `Int8Options`."""
QdqFor = Literal["cpu", "tensorrt"]
CALIBRATION_IMAGES: Final = 64
"""As many as are used at most, where no other number is asked for."""
BEST_ROWS: Final = 1000
"""Boxes that a graph keeps by default; docs/export.md has the AP at other numbers."""
NMS_CANDIDATES: Final = 3840
"""Best boxes that reach the suppression inside a graph; TensorRT's TopK takes no more."""
_INT8, _TRITON = "INT8 (--precision int8)", "Triton (--engine triton)"


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    try:
        return int(text)
    except ValueError:
        raise SettingError(f"--batch takes a number or `dynamic`, got {text!r}") from None


@dataclass(frozen=True)
class ExportOptions:
    """The form of the exported graph.

    `size` of a dynamic graph is the usual one, not the only one; `batch` None takes any number;
    `conf`, `iou` and `max_det` are as in `yolov4sdk.results.postprocess.nms`.
    """

    size: tuple[int, int] | None = field(
        default=None,
        metadata=about("Height and width in pixels.", metavar="H W", shown="the model's own"),
    )
    batch: int | None = field(
        default=1,
        metadata=about(
            "Images in a batch, or `dynamic`.", low=1, metavar="N|dynamic", parse=_batch
        ),
    )
    dynamic: bool = field(
        default=False, metadata=about("Any height and width that the strides allow.")
    )
    precision: Precision = field(
        default="fp32",
        metadata=about(
            "int8 needs --calibration, bf16 is TensorRT's.", shown="fp16 for TensorRT, else fp32"
        ),
    )
    half_weights: bool = field(
        default=False, metadata=about("ONNX: weights in 16 bits, computing in 32.")
    )
    uint8: bool = field(default=False, metadata=about("Take uint8 RGB [B, H, W, 3]: the default."))
    float_input: bool = field(
        default=False, metadata=about("Take float32 RGB [B, 3, H, W] in 0..1 instead of uint8.")
    )
    topk: int | None = field(
        default=None,
        metadata=about(
            "Keep the K best boxes, with all class scores.",
            low=1, metavar="K", shown=str(BEST_ROWS),
        ),
    )  # fmt: skip
    raw_outputs: bool = field(default=False, metadata=about("Keep every box."))
    nms: bool = field(default=False, metadata=about("Suppress overlapping boxes inside the graph."))
    conf: float = field(
        default=0.25, metadata=about("With --nms: scores are above this.", low=0, high=1)
    )
    iou: float = field(
        default=0.45, metadata=about("With --nms: overlap above which a box goes.", low=0, high=1)
    )
    max_det: int = field(
        default=300, metadata=about("With --nms: rows of the outputs.", low=1, high=NMS_CANDIDATES)
    )

    def __post_init__(self) -> None:
        check(self)
        if self.half_weights and self.precision != "fp32":
            raise SettingError(
                f"half_weights keeps a float32 graph small; the weights of {self.precision} are "
                "small already"
            )
        if self.uint8 and self.float_input:
            raise SettingError("uint8 and float_input exclude each other")
        if self.raw_outputs and (self.nms or self.topk is not None):
            raise SettingError(
                "raw_outputs keeps every box; it excludes topk and nms, which reduce them"
            )
        if self.nms and self.topk is not None:
            raise SettingError(
                "topk and nms exclude each other: nms already reduces the outputs, to max_det rows"
            )

    def artefact_spec(self, spec: ModelSpec, sdk_version: str) -> ModelSpec:
        """The spec that the exported file carries.

        Raises:
            InputSizeError: a size that the strides do not allow; the message names some that fit.
        """
        provenance = {**spec.provenance, "sdk_version": sdk_version}
        if self.nms:
            provenance["nms"] = f"conf {self.conf}, iou {self.iou}"
        size = spec.check_size(self.size or spec.input_size)
        form, rows = self._outputs(None if self.dynamic else grid_rows(spec.model.grid, size))
        return spec.replace(
            input_size=size,
            dynamic_size=self.dynamic,
            batch=self.batch,
            input_form="float_nchw" if self.float_input else "uint8_nhwc",
            outputs=form,
            topk=rows,
            precision=self.precision,
            provenance=provenance,
        )

    def _outputs(self, boxes: int | None) -> tuple[OutputForm, int | None]:
        """Form and rows of the outputs, for a graph of so many boxes; None is any number."""
        if self.nms:
            return "nms", self.max_det
        if self.raw_outputs or (self.topk is None and boxes is not None and boxes <= BEST_ROWS):
            return "full", None
        return "best", self.topk or BEST_ROWS


@dataclass(frozen=True)
class Int8Options:
    """How a model is quantised to eight bits, besides the form of its graph.

    `calibration` holds images of the kind that the model will see; they need no labels. Without
    `val_data` the agreement with the float file decides. `qdq` is what an ONNX graph is quantised
    for: "cpu" is ONNX Runtime.
    """

    calibration: str | Path = field(
        metadata=about("Folder, glob or data set of images it will be like.", panel=_INT8)
    )
    split: str = field(
        default="train", metadata=about("Split of --calibration, a data set.", panel=_INT8)
    )
    calibration_images: int = field(
        default=CALIBRATION_IMAGES, metadata=about("As many are used at most.", low=1, panel=_INT8)
    )
    val_data: str | Path | None = field(
        default=None, metadata=about("Labelled data set whose mAP decides.", panel=_INT8)
    )
    val_split: str = field(default="val", metadata=about("Split of --val-data.", panel=_INT8))
    class_map: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "A class by the model's name and --val-data's: 'potted plant=pottedplant'.",
            names=("--map",), panel=_INT8,
        ),
    )  # fmt: skip
    max_drop: float = field(
        default=0.5, metadata=about("AP points (of 100) that may be lost.", low=0, panel=_INT8)
    )
    qdq: QdqFor = field(default="cpu", metadata=about("Runtime of the ONNX file.", panel=_INT8))

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TritonOptions:
    """How Triton batches, queues and runs the models.

    `conf`, `iou` and `max_det` are those of the ensemble; see
    `yolov4sdk.results.postprocess.nms`.
    """

    max_batch: int = field(
        default=8, metadata=about("Images that run together at most.", low=1, panel=_TRITON)
    )
    delay_ms: float = field(
        default=2.0,
        metadata=about(
            "Milliseconds that a request waits for others to run with.", low=0, panel=_TRITON
        ),
    )
    queue: int = field(
        default=64, metadata=about("Requests that wait at most.", low=1, panel=_TRITON)
    )
    queue_ms: float = field(
        default=1000.0,
        metadata=about(
            "Milliseconds after which a waiting request is refused.", low=0.001, panel=_TRITON
        ),
    )
    instances: int = field(
        default=1, metadata=about("Copies of the network on each device.", low=1, panel=_TRITON)
    )
    conf: float = field(
        default=0.25, metadata=about("Scores are above this.", low=0, high=1, panel=_TRITON)
    )
    iou: float = field(
        default=0.45,
        metadata=about("Overlap above which a box goes.", low=0, high=1, panel=_TRITON),
    )
    max_det: int = field(
        default=300, metadata=about("Boxes of an image at most.", low=1, panel=_TRITON)
    )

    def __post_init__(self) -> None:
        check(self)
