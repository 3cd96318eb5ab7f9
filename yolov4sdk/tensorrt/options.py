"""What can be asked of an engine, checked before any work is done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..contract.spec import ModelSpec
from ..errors import InputSizeError, SettingError, TensorError
from ..system.bounds import BATCH, SIDE, brief, is_integer
from ..system.option import about, check

_PANEL = "TensorRT (--engine trt, trt-rtx)"
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
            highest = BATCH if name == "batch" else SIDE
            good = len(values) == 3 and all(is_integer(value, 1, highest) for value in values)
            if not good or list(values) != sorted(values):
                raise SettingError(
                    f"a profile has a least, usual and largest {name}, in this order, from 1 to "
                    f"{highest:,}; got {brief(values)}"
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
                f"this graph takes {spec.input_size} (height, width) only, so a profile of "
                f"{tuple(size)} does not fit; export with `--dynamic`"
            )
        if len(batch) != 3 or len(size) != 3:
            raise SettingError("a profile has three entries: least, usual and largest")
        least, usual, largest = (spec.check_size(s) for s in size)
        return cls((batch[0], batch[1], batch[2]), (least, usual, largest))

    def shapes(self, spec: ModelSpec) -> list[tuple[int, ...]]:
        """Shapes of the input: least, usual, largest."""
        taken = spec.contract.input
        return [taken.shape(*pair) for pair in zip(self.batch, self.size, strict=True)]

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


def _batches(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"--batch-profile is written as 1,8,32, got {text!r}") from None


def _sizes(text: str) -> tuple[Size, ...]:
    try:
        pairs = [part.lower().split("x") for part in text.split(",")]
        return tuple((int(height), int(width)) for height, width in pairs)
    except ValueError:
        raise SettingError(
            f"--size-profile is written as 320x320,640x640,640x1280, got {text!r}"
        ) from None


def _capabilities(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built from an ONNX file.

    The profiles are for graphs of any batch or size; sizes are (height, width). A
    version-compatible engine carries code of its own, which is run when it is loaded. The weights
    of a stripped engine are read from the ONNX file when it is loaded. `compute_capability` is for
    TensorRT-RTX; none is every GPU from Ampere on.
    """

    batch_profile: tuple[int, int, int] | None = field(
        default=None,
        metadata=about(
            "Least, usual and largest batch, as 1,8,32.",
            metavar="MIN,OPT,MAX",
            parse=_batches,
            panel=_PANEL,
        ),
    )
    size_profile: tuple[Size, Size, Size] | None = field(
        default=None,
        metadata=about(
            "Least, usual and largest size, as 320x320,640x640,640x1280.",
            metavar="HxW,HxW,HxW",
            parse=_sizes,
            panel=_PANEL,
        ),
    )
    workspace: int | None = field(
        default=None, metadata=about("MiB that kernels may use.", low=1, shown="all", panel=_PANEL)
    )
    timing_cache: Path | None = field(
        default=None,
        metadata=about("File of measured kernels, kept from one build to the next.", panel=_PANEL),
    )
    hardware_compatible: bool = field(
        default=False,
        metadata=about("For every GPU from Ampere on, somewhat slower.", panel=_PANEL),
    )
    version_compatible: bool = field(
        default=False, metadata=about("For later versions of TensorRT too.", panel=_PANEL)
    )
    compute_capability: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "trt-rtx: GPUs to build for, as 8.6,8.9.",
            parse=_capabilities,
            shown="every one from Ampere on",
            panel=_PANEL,
        ),
    )
    strip: bool = field(
        default=False, metadata=about("Weights stay in the ONNX file.", panel=_PANEL)
    )
    refit: bool = field(
        default=False, metadata=about("Weights can be exchanged later.", panel=_PANEL)
    )
    build_log: Path | None = field(
        default=None, metadata=about("File for TensorRT's log.", panel=_PANEL)
    )

    def __post_init__(self) -> None:
        check(self)
        for capability in self.compute_capability:
            if not re.fullmatch(r"\d+\.\d", capability):
                raise SettingError(f'a compute capability is written as "8.9", got {capability!r}')
