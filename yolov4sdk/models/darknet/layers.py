"""The layers of a Darknet network as values: what each one reads and gives. No weights."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

GLOBAL: Final = Fraction(0)
"""Stride of a map of one cell, the average of a whole map."""


@dataclass(frozen=True)
class DarknetLayer:
    """What every layer has.

    Attributes:
        index: as the cfg counts, from 0 behind [net].
        where: file, line and section, for messages.
        sources: indices of the layers that it reads; -1 is the image.
        channels: of its output.
        stride: image pixels per cell of its output; `GLOBAL` for one cell in all.
    """

    index: int
    where: str
    sources: tuple[int, ...]
    channels: int
    stride: Fraction


@dataclass(frozen=True)
class Convolution(DarknetLayer):
    """Convolution, batch normalisation or bias, activation; `step` is its own stride."""

    size: int
    step: int
    padding: int
    groups: int
    c_in: int
    batch_normalize: bool
    activation: str

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of its values, in the order of the file."""
        norm = ((self.channels,),) * (4 if self.batch_normalize else 1)
        return (*norm, (self.channels, self.c_in // self.groups, self.size, self.size))


@dataclass(frozen=True)
class Pool(DarknetLayer):
    """Pooling; `padding` is that of both sides together, the odd cell right and below."""

    size: int
    step: int
    padding: int


@dataclass(frozen=True)
class MaxPool(Pool):
    """The largest value of a window."""


@dataclass(frozen=True)
class AveragePool(Pool):
    """The mean of a window's cells, of those inside the map."""


@dataclass(frozen=True)
class GlobalAverage(DarknetLayer):
    """The mean of each channel."""


@dataclass(frozen=True)
class Route(DarknetLayer):
    """Concatenation of part `group_id` of `groups` of each source's channels."""

    groups: int
    group_id: int


@dataclass(frozen=True)
class Shortcut(DarknetLayer):
    """Sum of its sources, then an activation.

    The first source sets the channels; of another the first of them are added, as many as both
    have.

    Attributes:
        weights: values for each source: 0 for an unweighted sum, 1, or one a channel.
        normalization: "none", or how the weights are brought to a sum of about one.
    """

    activation: str
    weights: int = 0
    normalization: str = "none"

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of its values, in the order of the file."""
        return ((len(self.sources), self.weights),) if self.weights else ()


@dataclass(frozen=True)
class Scale(DarknetLayer):
    """Product of a map and of something that scales it, then an activation.

    The first source scales the second: cell by cell ([sam]), by channel (a map of one cell), or
    by cell for all channels (a map of one channel).
    """

    activation: str


@dataclass(frozen=True)
class Reorg(DarknetLayer):
    """Cells of `step` x `step` become channels; `mixed` in the order of [reorg], not [reorg3d]."""

    step: int
    mixed: bool


@dataclass(frozen=True)
class Nothing(DarknetLayer):
    """A section that only training needs; its output is its source."""


@dataclass(frozen=True)
class Upsample(DarknetLayer):
    """Nearest-neighbour upsampling."""

    factor: int


HeadKind = Literal["yolo", "region", "Gaussian_yolo"]


@dataclass(frozen=True)
class Head(DarknetLayer):
    """[yolo], [region] or [Gaussian_yolo]; its source is the convolution whose map it decodes.

    Attributes:
        kind: of the section. A [region] has a softmax over the classes; a [Gaussian_yolo] gives
            each coordinate's uncertainty behind it.
        anchors: (w, h) in pixels of the network's input, of this head only.
        new_coords: True decodes as Scaled-YOLOv4 does, False with the exponential.
    """

    kind: HeadKind
    classes: int
    anchors: tuple[tuple[float, float], ...]
    scale_x_y: float
    new_coords: bool

    @property
    def values(self) -> int:
        """Numbers of a box, beside its classes."""
        return 9 if self.kind == "Gaussian_yolo" else 5


Weighted = Convolution | Shortcut
"""Layers whose values are in the file."""
