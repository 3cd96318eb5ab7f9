"""What the service and its child processes say to one another: typed values, JSON on the wire.

JSON, not pickles: a decoder reads hostile images, and what it says is data to the service, checked
against the type it claims before anything is done with it.
"""

from __future__ import annotations

import types
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import orjson

Pair = tuple[int, int]
"""(height, width), or rows and columns of padding."""
M = TypeVar("M")


class MessageError(ValueError):
    """A message that is not what its kind says."""


@dataclass(frozen=True)
class Started:
    """A child process takes messages now."""


@dataclass(frozen=True)
class Failed:
    """What was asked could not be done; `error` is a sentence for the log and the client."""

    error: str


# The worker of a device.


@dataclass(frozen=True)
class Load:
    """Load a model under a key and warm it up.

    Attributes:
        path: None is the embedded model.
        options: of `Detector`.
        batch_size: images of a batch at most.
    """

    key: str
    path: str | None
    options: dict[str, Any]
    batch_size: int


@dataclass(frozen=True)
class Loaded:
    """What a loaded model says of itself; `spec` is the JSON of its ModelSpec."""

    spec: str
    backend: str
    device: str
    precision: str
    size: Pair
    rectangular: bool


@dataclass(frozen=True)
class Unload:
    """Give a model's memory back."""

    key: str


@dataclass(frozen=True)
class Unloaded:
    """It is given back."""


@dataclass(frozen=True)
class Choice:
    """What a request chose; see `yolov4sdk.results.postprocess.nms`. Classes are ids."""

    conf: float
    iou: float | None
    max_det: int
    classes: tuple[int, ...] | None
    agnostic: bool


@dataclass(frozen=True)
class Placed:
    """How an image lies in its canvas; see `yolov4sdk.imaging.preprocess.Letterbox`."""

    source: Pair
    resized: Pair
    pad: Pair
    canvas: Pair


@dataclass(frozen=True)
class Detect:
    """Detect objects in canvases [H, W, 3], uint8 BGR, that lie at offsets in shared memory."""

    key: str
    offsets: tuple[int, ...]
    placed: tuple[Placed, ...]
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Found:
    """The detections of one image, as lists of numbers."""

    xyxy: list
    scores: list
    class_ids: list


@dataclass(frozen=True)
class Detected:
    """One `Found` a canvas; `network` is the seconds that the network took."""

    network: float
    found: tuple[Found, ...]


@dataclass(frozen=True)
class Tensor:
    """A part of a batch in shared memory, and the room for its outputs.

    Attributes:
        offset: of the values, `shape` of them.
        outputs: offset that the outputs are written to, `room` bytes at most.
    """

    offset: int
    shape: tuple[int, ...]
    outputs: int
    room: int


@dataclass(frozen=True)
class Infer:
    """Run the network on tensors of one dtype."""

    key: str
    dtype: str
    parts: tuple[Tensor, ...]


@dataclass(frozen=True)
class Array:
    """An array that was written to shared memory, behind the one before it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Inferred:
    """The outputs of each part, in the order of `Outputs`; None is an output it has not."""

    network: float
    outputs: tuple[tuple[Array | None, ...], ...]


# The decoders.


@dataclass(frozen=True)
class Decode:
    """Decode an image (the payload) and letterbox it into shared memory.

    Attributes:
        format: one of `serve.formats`.
        seconds: of processor time it may take; the process ends itself then.
        size: of the canvas at most.
        resize: the members of `yolov4sdk.contract.contract.Resize`.
        scaled: whether a large JPEG may be decoded at a fraction of its size.
    """

    format: str
    seconds: float
    offset: int
    size: Pair
    rectangular: bool
    stride: int
    scaled: bool
    resize: dict[str, Any]


@dataclass(frozen=True)
class Decoded:
    """It lies in its canvas; `seconds` is the processor time it took."""

    placed: Placed
    seconds: float


@dataclass(frozen=True)
class Draw:
    """Draw detections on an image (the payload); the answer's payload is a JPEG file."""

    format: str
    seconds: float
    found: Found
    names: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """It is drawn."""


@dataclass(frozen=True)
class Parse:
    """Read the tensors of a KServe body (the payload); the answer's payload holds their values."""

    header_length: str | None
    seconds: float


@dataclass(frozen=True)
class Parsed:
    """The JSON object without its tensors, and their names; BYTES have the dtype "O".

    Attributes:
        lengths: of each file of the BYTES, in the order of the payload.
    """

    header: str
    names: tuple[str, ...]
    arrays: tuple[Array, ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Refused:
    """The problem of a request, as `serve.problems.Problem` takes it."""

    status: int
    title: str
    detail: str


KINDS: Final = {
    kind.__name__: kind
    for kind in (
        Started, Failed, Load, Loaded, Unload, Unloaded, Detect, Detected, Infer, Inferred,
        Decode, Decoded, Draw, Drawn, Parse, Parsed, Refused,
    )
}  # fmt: skip


def pack(number: int, message: Any) -> bytes:
    """JSON of a message and its number; an answer has the number of what it answers."""
    return orjson.dumps(
        [number, type(message).__name__, message], option=orjson.OPT_SERIALIZE_NUMPY
    )


def unpack(data: bytes) -> tuple[int, Any]:
    """The number and the message.

    Raises:
        MessageError: it is not what it claims to be.
    """
    try:
        number, name, members = orjson.loads(data)
        kind = KINDS[name]
    except (ValueError, KeyError, TypeError) as error:
        raise MessageError("not a message") from error
    return _as(number, int), _as(members, kind)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _as(value: Any, kind: Any) -> Any:
    """A JSON value as a type of this file; a list becomes a tuple where one is declared."""
    if kind is Any:
        return value
    if is_dataclass(kind):
        if not isinstance(value, dict) or set(value) != {field.name for field in fields(kind)}:
            raise MessageError(f"not the members of {kind}")
        hints = _hints(kind)  # type: ignore[arg-type]
        return kind(**{name: _as(value[name], hints[name]) for name in value})  # type: ignore[operator]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _as(value, inner[0])
    if origin is tuple and isinstance(value, list):
        if inner[-1] is not Ellipsis and len(inner) != len(value):
            raise MessageError(f"expected {len(inner)} values")
        each = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_as(one, of) for one, of in zip(value, each, strict=True))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not (origin or kind):
        raise MessageError(f"expected {kind}, got {type(value).__name__}")
    return value
