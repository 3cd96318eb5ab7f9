"""ModelSpec: what a program must know about a model, and travels inside every artefact."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from ..errors import SpecError, YOLOv4Error
from ..system.bounds import brief
from ..system.documents import parse_json
from .contract import (
    FORMS,
    GraphContract,
    InputContract,
    OutputContract,
    decoded,
    float_input,
    own_output,
    uint8_input,
)
from .contract import check_size as check_size
from .limits import check_limits
from .model_info import Anchors as Anchors
from .model_info import Decoding as Decoding
from .model_info import ModelInfo as ModelInfo
from .schema import read

FORMAT_VERSION: Final = 2
METADATA_KEY: Final = "yolov4sdk.spec"
"""The key under which safetensors, ONNX and OpenVINO files hold the JSON."""
STEP_KEY: Final = "yolov4sdk.step"
"""The key in a Triton model that is one step of a detector, and none by itself."""

InputForm = Literal["float_nchw", "uint8_nhwc"]
OutputForm = Literal["full", "best", "topk", "nms"]


@dataclass(frozen=True, init=False)
class ModelSpec:
    """What a network is (`model`) and what its graph takes and gives (`contract`).

    The constructor takes the values of our own models one by one; `ModelSpec.of` takes the parts.

    Args:
        architecture: as the following, see `ModelInfo`.
        names: class names.
        strides: of each level.
        anchors: of each level.
        decoding: of the boxes.
        train_size: long side in pixels.
        provenance: where it came from.
        input_size: (height, width) in pixels: the only one of a fixed graph, else the usual one.
        dynamic_size: whether any multiple of the largest stride is accepted.
        batch: the only batch size of the graph, None when any is accepted.
        input_form: float32 RGB [B,3,H,W] in 0..1, or uint8 RGB [B,H,W,3].
        outputs: "full" (every box, all class scores), or reduced: "best" (the best boxes, all class
            scores), "topk" or "nms" (one class each).
        topk: rows of a reduced output, None for "full".
        precision: of the weights and activations ("fp32", "fp16", "int8").

    Raises:
        SpecError: a field has a wrong type or contradicts another.
        NamesError: no class names, or the same name twice.
        InputSizeError: a size that does not fit the strides.
    """

    model: ModelInfo
    contract: GraphContract
    precision: str

    def __init__(
        self,
        architecture: str | Mapping[str, Any],
        names: tuple[str, ...],
        strides: tuple[int, ...],
        anchors: Anchors,
        decoding: Decoding = "scaled",
        input_size: tuple[int, int] = (640, 640),
        dynamic_size: bool = True,
        batch: int | None = None,
        input_form: InputForm = "float_nchw",
        outputs: OutputForm = "full",
        topk: int | None = None,
        precision: str = "fp32",
        train_size: int | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        model = ModelInfo(
            architecture, names, strides, anchors, decoding, train_size, provenance or {}
        )
        taken = input_of(input_form, size=input_size, dynamic=dynamic_size, multiple=max(strides))
        given = _own_output(outputs, topk, model)
        self._set(model, GraphContract(taken, given, batch), precision)

    @classmethod
    def of(cls, model: ModelInfo, contract: GraphContract, precision: str = "fp32") -> ModelSpec:
        """A spec of its parts.

        Raises:
            SpecError: another number of names than of classes in the outputs.
        """
        spec = cls.__new__(cls)
        spec._set(model, contract, precision)
        return spec

    def _set(self, model: ModelInfo, contract: GraphContract, precision: str) -> None:
        if contract.output.classes != len(model.names):
            raise SpecError(
                f"{len(model.names)} class names for outputs of {contract.output.classes} classes"
            )
        for name, value in (("model", model), ("contract", contract), ("precision", precision)):
            object.__setattr__(self, name, value)
        check_limits(model, contract)

    @property
    def architecture(self) -> str | Mapping[str, Any]:
        """See `ModelInfo`."""
        return self.model.architecture

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; the index is the class id."""
        return self.model.names

    @property
    def strides(self) -> tuple[int, ...]:
        """See `ModelInfo`."""
        return self.model.strides

    @property
    def anchors(self) -> Anchors:
        """See `ModelInfo`."""
        return self.model.anchors

    @property
    def decoding(self) -> Decoding:
        """See `ModelInfo`."""
        return self.model.decoding

    @property
    def train_size(self) -> int | None:
        """See `ModelInfo`."""
        return self.model.train_size

    @property
    def provenance(self) -> Mapping[str, str]:
        """See `ModelInfo`."""
        return self.model.provenance

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) in pixels: the only one of a fixed graph, else the usual one."""
        return self.contract.input.size

    @property
    def dynamic_size(self) -> bool:
        """Whether any multiple of the largest stride is accepted."""
        return self.contract.input.dynamic

    @property
    def batch(self) -> int | None:
        """The only batch size of the graph, None when any is accepted."""
        return self.contract.batch

    @property
    def input_form(self) -> str:
        """Dtype and layout of the input: "float_nchw" or "uint8_nhwc" of our own graphs."""
        taken = self.contract.input
        kind = "uint8" if taken.dtype == "uint8" else "float"
        return f"{kind}_{taken.layout.lower()}"

    @property
    def outputs(self) -> str:
        """Our own "full", "best", "topk" or "nms", or the name of a foreign convention."""
        return self.contract.output.convention

    @property
    def topk(self) -> int | None:
        """Rows of a reduced output, None where every box is given with all class scores."""
        output = self.contract.output
        reduced = output.convention == "best" or not output.per_class
        return output.rows if reduced else None

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def max_stride(self) -> int:
        """Height and width of an input are multiples of this, in pixels."""
        return self.contract.input.multiple

    def check_size(self, size: Sequence[int]) -> tuple[int, int]:
        """Return `size` as (height, width) when the strides allow it.

        Raises:
            InputSizeError: not two positive multiples of the largest stride; the message names
                the nearest sizes that fit.
        """
        return self.contract.input.check_size(size)

    def decoded(self) -> ModelSpec:
        """The spec of what a runtime gives once the convention's function has run."""
        contract = decoded(self.contract)
        if contract is self.contract:
            return self
        return ModelSpec.of(self.model, contract, self.precision)

    def replace(self, **changes: Any) -> ModelSpec:
        """Return a copy with some values changed: arguments of the constructor, or the parts."""
        parts = _taken(changes, dataclasses.fields(self))
        info = _taken(changes, dataclasses.fields(ModelInfo))
        model = dataclasses.replace(parts.get("model", self.model), **info)
        contract: GraphContract = parts.get("contract", self.contract)
        if "batch" in changes:
            contract = dataclasses.replace(contract, batch=changes.pop("batch"))
        taken = contract.input
        if "input_form" in changes:
            taken = dataclasses.replace(
                input_of(changes.pop("input_form")),
                size=taken.size, dynamic=taken.dynamic, multiple=taken.multiple,
            )  # fmt: skip
        sizes = {"input_size": "size", "dynamic_size": "dynamic"}
        given = {sizes[name]: changes.pop(name) for name in sizes if name in changes}
        if "strides" in info:
            given["multiple"] = max(model.strides)
        taken = dataclasses.replace(taken, **given)
        output = contract.output
        if output.convention in FORMS and (
            {"outputs", "topk"} & set(changes) or {"names", "strides", "anchors"} & set(info)
        ):
            output = _own_output(
                changes.pop("outputs", self.outputs), changes.pop("topk", self.topk), model
            )
        if changes:
            raise TypeError(f"a ModelSpec has no {', '.join(sorted(changes))}")
        contract = dataclasses.replace(contract, input=taken, output=output)
        return ModelSpec.of(model, contract, parts.get("precision", self.precision))

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        fields = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote, in this version or an earlier one.

        Raises:
            SpecError: no JSON, a version that is not known here, a missing, unknown or wrong
                field.
        """
        data = parse_json(text, "the ModelSpec", SpecError)
        if not isinstance(data, dict):
            raise SpecError(f"the ModelSpec must be a JSON object, got {type(data).__name__}")
        version = data.pop("format_version", None)
        if version not in (1, FORMAT_VERSION):
            raise SpecError(
                f"the ModelSpec has format version {brief(version)}, this SDK reads 1 and "
                f"{FORMAT_VERSION}; a newer file needs a newer yolov4sdk"
            )
        try:
            if version == 1:
                return cls(**vars(read(_Version1, data)))
            parts = read(_Version2, data)
            return cls.of(parts.model, parts.contract, parts.precision)
        except YOLOv4Error:
            raise
        except (ValueError, OverflowError) as error:
            raise SpecError(f"the ModelSpec has {error}") from error
        except TypeError as error:
            raise SpecError(f"the ModelSpec has a field of a wrong type: {error}") from error


@dataclass(frozen=True)
class _Version1:
    """The fields of format version 1: those of the constructor."""

    architecture: str | Mapping[str, Any]
    names: tuple[str, ...]
    strides: tuple[int, ...]
    anchors: Anchors
    decoding: Decoding = "scaled"
    input_size: tuple[int, int] = (640, 640)
    dynamic_size: bool = True
    batch: int | None = None
    input_form: InputForm = "float_nchw"
    outputs: OutputForm = "full"
    topk: int | None = None
    precision: str = "fp32"
    train_size: int | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Version2:
    model: ModelInfo
    contract: GraphContract
    precision: str


def _taken(changes: dict[str, Any], fields: Iterable[dataclasses.Field[Any]]) -> dict[str, Any]:
    """Take the values of some fields out of `changes`."""
    return {field.name: changes.pop(field.name) for field in fields if field.name in changes}


def input_of(form: InputForm | InputContract, **changes: Any) -> InputContract:
    """The contract that one of our own input forms stands for; a contract is returned as it is.

    Raises:
        SpecError: no such form.
    """
    if isinstance(form, InputContract):
        return form
    if form not in get_args(InputForm):
        raise SpecError(f"input_form must be one of {list(get_args(InputForm))}, got {brief(form)}")
    return (float_input if form == "float_nchw" else uint8_input)(**changes)


def _own_output(form: OutputForm, topk: int | None, model: ModelInfo) -> OutputContract:
    if form not in FORMS:
        raise SpecError(f"outputs must be one of {list(FORMS)}, got {brief(form)}")
    if (form == "full") != (topk is None):
        raise SpecError(
            f"outputs={form!r} does not go with topk={brief(topk)}: reduced outputs "
            "state their number of rows, full ones have none"
        )
    return own_output(form, len(model.names), topk, model.grid)
