"""What a network is, whatever its graph takes and gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..errors import NamesError, SpecError
from ..system.bounds import brief

Decoding = Literal["scaled", "darknet"]
Anchors = tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class ModelInfo:
    """What a network is, apart from what its graph takes and gives.

    Attributes:
        architecture: name of a built-in model ("yolov4-csp"), or the whole definition as a
            mapping, from which a network for the weights is built; "unknown" of a foreign one.
        names: class names; the index is the class id.
        strides: stride of each detection level, in input pixels, smallest first; () where there
            are not.
        anchors: for each level its (width, height) pairs in input pixels; () of networks without.
        decoding: "scaled" is the (2s)^2 form of Scaled-YOLOv4, "darknet" the exponential one.
        train_size: long side in pixels the model was trained at, None when unknown.
        provenance: where it came from (source, sha256, licence, sdk_version).

    Raises:
        SpecError: a field contradicts another.
        NamesError: no class names, or the same name twice.
    """

    architecture: str | Mapping[str, Any]
    names: tuple[str, ...]
    strides: tuple[int, ...] = ()
    anchors: Anchors = ()
    decoding: Decoding = "scaled"
    train_size: int | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.names or not all(isinstance(name, str) and name for name in self.names):
            raise NamesError(f"class names must be non-empty strings, got {brief(self.names)}")
        if len(set(self.names)) != len(self.names):
            twice = sorted(name for name, count in Counter(self.names).items() if count > 1)
            raise NamesError(
                f"class names must differ from one another; given twice: {brief(twice)}"
            )
        if len(self.anchors) != len(self.strides):
            raise SpecError(
                f"{len(self.anchors)} levels of anchors for {len(self.strides)} strides; "
                "there must be one list of anchors for each stride"
            )
        if self.decoding not in get_args(Decoding):
            allowed = list(get_args(Decoding))
            raise SpecError(f"decoding must be one of {allowed}, got {brief(self.decoding)}")
        sizes = (*self.strides, 1 if self.train_size is None else self.train_size)
        if min(sizes) < 1:
            raise SpecError("strides and train_size must hold positive integers")

    @property
    def grid(self) -> tuple[tuple[int, int], ...]:
        """(stride, boxes a cell) of each level; () where they are not known."""
        counts = [len(level) for level in self.anchors]
        return tuple(zip(self.strides, counts, strict=True)) if all(counts) else ()
