"""What can be asked of an engine, checked before any work is done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..contract.spec import ModelSpec
from ..errors import InputSizeError, SettingError, TensorError

Size = tuple[int, int]
"""(height, width) in pixels."""
USUAL_BATCHES = (1, 1, 8)
"""Least, usual and largest batch of a graph that takes any, where nothing else is asked for."""


@dataclass(frozen=True)
class Profile:
    """Batches and sizes that an engine takes: (least, the one it is tuned for, largest).

    Raises:
        SettingError: not three, not positive, or not in order.
    """

    batch: tuple[int, int, int]
    size: tuple[Size, Size, Size]

    def __post_init__(self) -> None:
        heights, widths = zip(*self.size, strict=True)
        for name, values in (("batch", self.batch), ("height", heights), ("width", widths)):
            if len(values) != 3 or min(values) < 1 or list(values) != sorted(values):
                raise SettingError(
                    f"a profile has a least, usual and largest {name}, in this order; got {values}"
                )

    @classmethod
    def of(
        cls, spec: ModelSpec, batch: Sequence[int] | None, size: Sequence[Size] | None
    ) -> Profile:
        """The profile for a graph; None takes what fits the graph.

        Raises:
            SettingError: the graph's batch or size is fixed to something else.
            InputSizeError: a size that the strides do not allow.
        """
        if batch is None:
            batch = USUAL_BATCHES if spec.batch is None else (spec.batch,) * 3
        elif spec.batch is not None and set(batch) != {spec.batch}:
            raise SettingError(
                f"this graph takes batches of exactly {spec.batch}, so a profile of {tuple(batch)} "
                "excludes it; export with `--batch dynamic`"
            )
        if size is None:
            least = (spec.max_stride,) * 2 if spec.dynamic_size else spec.input_size
            size = (least, spec.input_size, spec.input_size)
        elif not spec.dynamic_size and set(size) != {spec.input_size}:
            raise SettingError(
                f"this graph takes {spec.input_size} (height, width) alone, so a profile of "
                f"{tuple(size)} does not fit; export with `--dynamic`"
            )
        if len(batch) != 3 or len(size) != 3:
            raise SettingError("a profile has three entries: least, usual and largest")
        least, usual, largest = (spec.check_size(s) for s in size)
        return cls((batch[0], batch[1], batch[2]), (least, usual, largest))

    def shapes(self, spec: ModelSpec) -> list[tuple[int, ...]]:
        """Shapes of the input `images`: least, usual, largest."""
        planar = spec.input_form == "float_nchw"
        return [
            (batch, 3, *size) if planar else (batch, *size, 3)
            for batch, size in zip(self.batch, self.size, strict=True)
        ]

    def check(self, batch: int, size: Size) -> None:
        """Raise TensorError or InputSizeError for what lies outside."""
        if not self.batch[0] <= batch <= self.batch[2]:
            raise TensorError(
                f"this engine takes batches of {self.batch[0]} to {self.batch[2]}, got {batch}; "
                f"build it with `--batch-profile 1,{batch},{batch}` for such a batch"
            )
        least, _, largest = self.size
        if not (least[0] <= size[0] <= largest[0] and least[1] <= size[1] <= largest[1]):
            raise InputSizeError(
                f"this engine takes sizes of {least} to {largest} (height, width), got {size}; "
                "build it with a `--size-profile` that holds this size"
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Profile:
        """Read what `to_dict` gave; a SettingError, TypeError, ValueError or KeyError else."""
        least, usual, largest = ((int(h), int(w)) for h, w in data["size"])
        first, second, third = map(int, data["batch"])
        return cls((first, second, third), (least, usual, largest))


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built from an ONNX file.

    Attributes:
        batch_profile: least, usual and largest batch, for a graph of any batch.
        size_profile: least, usual and largest (height, width), for a graph of any size.
        workspace: device memory in MiB that kernels may use at most; None is all.
        timing_cache: file in which measured kernels are kept from one build to the next.
        hardware_compatible: the engine runs on every GPU from Ampere on, somewhat slower.
        version_compatible: the engine runs on later versions of TensorRT too; it then carries code
            of its own, which is run when it is loaded.
        compute_capability: GPUs to build for ("8.6", "8.9"), TensorRT-RTX only; none is every GPU
            from Ampere on.
        strip: leave the weights out; they are read from the ONNX file when the engine is loaded.
        refit: weights can be exchanged later.
        build_log: file for TensorRT's own log.
    """

    batch_profile: tuple[int, int, int] | None = None
    size_profile: tuple[Size, Size, Size] | None = None
    workspace: int | None = None
    timing_cache: Path | None = None
    hardware_compatible: bool = False
    version_compatible: bool = False
    compute_capability: tuple[str, ...] = ()
    strip: bool = False
    refit: bool = False
    build_log: Path | None = None

    def __post_init__(self) -> None:
        if self.workspace is not None and self.workspace < 1:
            raise SettingError(f"workspace is a number of MiB from 1, got {self.workspace}")
        for capability in self.compute_capability:
            if not re.fullmatch(r"\d+\.\d", capability):
                raise SettingError(f'a compute capability is written as "8.9", got {capability!r}')
