"""ModelSpec: what a program must know about a model, and travels inside every artefact."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from ..errors import InputSizeError, NamesError, SpecError

FORMAT_VERSION: Final = 1
METADATA_KEY: Final = "yolov4sdk.spec"
"""The key under which safetensors, ONNX and OpenVINO files hold the JSON."""

Decoding = Literal["scaled", "darknet"]
InputForm = Literal["float_nchw", "uint8_nhwc"]
Outputs = Literal["full", "topk", "nms"]
Anchors = tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class ModelSpec:
    """Architecture, classes and the form of inputs and outputs of one artefact.

    Attributes:
        architecture: name of a built-in model ("yolov4-csp") or the whole definition as a
            mapping, so that weights alone can be rebuilt into a network.
        names: class names; the index is the class id.
        strides: stride of each detection level, in input pixels, smallest first.
        anchors: for each level its (width, height) pairs in input pixels.
        decoding: "scaled" is the (2s)^2 form of Scaled-YOLOv4, "darknet" the exponential one.
        input_size: (height, width) in pixels: the only one of a fixed graph, else the usual one.
        dynamic_size: whether any multiple of the largest stride is accepted.
        batch: the only batch size of the graph, None when any is accepted.
        input_form: float32 RGB [B,3,H,W] in 0..1, or uint8 RGB [B,H,W,3].
        outputs: "full" (every box, all class scores), or reduced: "topk" or "nms".
        topk: rows of a reduced output, None for "full".
        precision: of the weights and activations ("fp32", "fp16", "int8").
        train_size: long side in pixels the model was trained at, None when unknown.
        provenance: where it came from (source, sha256, licence, sdk_version).

    Raises:
        SpecError: a field has a wrong type or contradicts another.
        NamesError: no class names, or the same name twice.
    """

    architecture: str | Mapping[str, Any]
    names: tuple[str, ...]
    strides: tuple[int, ...]
    anchors: Anchors
    decoding: Decoding = "scaled"
    input_size: tuple[int, int] = (640, 640)
    dynamic_size: bool = True
    batch: int | None = None
    input_form: InputForm = "float_nchw"
    outputs: Outputs = "full"
    topk: int | None = None
    precision: str = "fp32"
    train_size: int | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.names or not all(isinstance(name, str) and name for name in self.names):
            raise NamesError(f"class names must be non-empty strings, got {self.names!r}")
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise NamesError(f"class names must differ from one another; given twice: {twice}")
        if len(self.anchors) != len(self.strides):
            raise SpecError(
                f"{len(self.anchors)} levels of anchors for {len(self.strides)} strides; "
                "there must be one list of anchors for each stride"
            )
        for value, kind, name in (
            (self.decoding, Decoding, "decoding"),
            (self.input_form, InputForm, "input_form"),
            (self.outputs, Outputs, "outputs"),
        ):
            if value not in get_args(kind):
                raise SpecError(f"{name} must be one of {list(get_args(kind))}, got {value!r}")
        if (self.outputs == "full") != (self.topk is None):
            raise SpecError(
                f"outputs={self.outputs!r} does not go with topk={self.topk!r}: reduced outputs "
                "state their number of rows, full ones have none"
            )
        self.check_size(self.input_size)

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def max_stride(self) -> int:
        """Height and width of an input are multiples of this, in pixels."""
        return max(self.strides)

    def check_size(self, size: Sequence[int]) -> tuple[int, int]:
        """Return `size` as (height, width) when the strides allow it.

        Raises:
            InputSizeError: not two positive multiples of the largest stride; the message names
                the nearest sizes that fit.
        """
        return check_size(size, self.max_stride)

    def replace(self, **changes: Any) -> ModelSpec:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        fields = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote.

        Raises:
            SpecError: no JSON, a version that is not known here, a missing, unknown or wrong
                field.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise SpecError(f"the ModelSpec is not valid JSON: {error}") from error
        if not isinstance(data, dict):
            raise SpecError(f"the ModelSpec must be a JSON object, got {type(data).__name__}")
        version = data.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise SpecError(
                f"the ModelSpec has format version {version!r}, this SDK reads {FORMAT_VERSION}; "
                "a newer file needs a newer yolov4sdk"
            )
        known = {f.name: f for f in dataclasses.fields(cls)}
        unknown = sorted(set(data) - set(known))
        missing = sorted(
            name
            for name, f in known.items()
            if name not in data
            and f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
        )
        if unknown or missing:
            raise SpecError(f"the ModelSpec has unknown fields {unknown}, lacks {missing}")
        try:
            return cls(**_typed(data))
        except (TypeError, ValueError, KeyError) as error:
            raise SpecError(f"the ModelSpec has a field of a wrong type: {error}") from error


def check_size(size: Sequence[int], stride: int) -> tuple[int, int]:
    """Return `size` as (height, width) when both are positive multiples of `stride`.

    Raises:
        InputSizeError: otherwise; the message names the nearest sizes that fit.
    """
    values = tuple(size)
    if len(values) != 2 or not all(isinstance(v, int) and v > 0 for v in values):
        raise InputSizeError(f"a network size is two positive integers (H, W), got {values!r}")
    if any(v % stride for v in values):
        fitting = " or ".join(
            str((_round(values[0], stride, up), _round(values[1], stride, up)))
            for up in (False, True)
        )
        raise InputSizeError(
            f"height and width must be multiples of {stride} (the largest stride), got {values}; "
            f"use {fitting}"
        )
    return values[0], values[1]


def _round(value: int, stride: int, up: bool) -> int:
    return max(stride, -(-value // stride) * stride if up else value // stride * stride)


def _typed(data: dict[str, Any]) -> dict[str, Any]:
    """JSON lists to tuples, with the types of the fields enforced."""
    typed = dict(data)
    if not isinstance(data["architecture"], str | dict):
        raise TypeError("architecture must be a name or an object")
    if not isinstance(data["names"], list):
        raise TypeError("names must be a list")
    typed["names"] = tuple(data["names"])
    typed["strides"] = tuple(_integer(v, "strides") for v in data["strides"])
    typed["anchors"] = tuple(
        tuple((float(w), float(h)) for w, h in level) for level in data["anchors"]
    )
    if "input_size" in data:
        typed["input_size"] = tuple(_integer(v, "input_size") for v in data["input_size"])
    for name in ("batch", "topk", "train_size"):
        if data.get(name) is not None:
            typed[name] = _integer(data[name], name)
    if not isinstance(data.get("dynamic_size", True), bool):
        raise TypeError("dynamic_size must be true or false")
    if not isinstance(data.get("precision", ""), str):
        raise TypeError("precision must be a string")
    provenance = data.get("provenance", {})
    if not isinstance(provenance, dict) or not all(isinstance(v, str) for v in provenance.values()):
        raise TypeError("provenance must map strings to strings")
    return typed


def _integer(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise TypeError(f"{name} must hold positive integers, got {value!r}")
    return value
