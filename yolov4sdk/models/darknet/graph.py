"""A checked Darknet network: layers with their inputs, channels and strides. No weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...contract.spec import Anchors, Decoding, check_size
from ...errors import InputSizeError, ModelConfigError
from ...system.bounds import CHANNELS, PARAMETERS
from .cfg import Section, failure, parse_cfg
from .heads import HEADS
from .keys import READ, check_keys
from .layers import GLOBAL, Convolution, DarknetLayer, Head, Weighted
from .sections import SECTIONS, Builder

BUILDERS: Final[Mapping[str, Builder]] = {**SECTIONS, **HEADS}


@dataclass(frozen=True)
class Graph:
    """A whole network.

    Attributes:
        source: what to call it in messages.
        text: the cfg without comments and without keys that do not matter.
        size: (height, width) of [net] in pixels.
        multiple: that both must be of: its largest stride, which need not be a head's.
        layers: by index.
        heads: its heads, smallest stride first.
    """

    source: str
    text: str
    size: tuple[int, int]
    multiple: int
    layers: tuple[DarknetLayer, ...]
    heads: tuple[Head, ...]

    @property
    def convolutions(self) -> list[Convolution]:
        """In the order of the file."""
        return [layer for layer in self.layers if isinstance(layer, Convolution)]

    @property
    def weighted(self) -> list[Weighted]:
        """Layers that have weights, in the order of the file, which is that of the weights."""
        return [layer for layer in self.layers if isinstance(layer, Weighted) and layer.parts]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.heads[0].classes

    @property
    def strides(self) -> tuple[int, ...]:
        """Of each head, in pixels."""
        return tuple(int(head.stride) for head in self.heads)

    @property
    def anchors(self) -> Anchors:
        """Of each head, in pixels."""
        return tuple(head.anchors for head in self.heads)

    @property
    def decoding(self) -> Decoding:
        """As the ModelSpec names it."""
        return "scaled" if self.heads[0].new_coords else "darknet"


def load_graph(text: str, source: str = "the cfg") -> Graph:
    """Parse and check the text of a .cfg.

    Raises:
        ModelConfigError: names the file, the line, the section and the key.
    """
    net, *sections = parse_cfg(text, source)
    check_keys(net)
    if net.integer("channels", 3) != 3:
        raise failure(net, "channels", f"must be 3 (RGB), got {net.text('channels', '')}")
    layers: list[DarknetLayer] = []
    for section in sections:
        check_keys(section)
        layers.append(BUILDERS[section.kind](section, layers))
    _check_parameters(source, layers)
    heads = sorted((y for y in layers if isinstance(y, Head)), key=lambda head: head.stride)
    _check_heads(source, layers, heads)
    multiple = math.lcm(*(layer.stride.numerator for layer in layers if layer.stride != GLOBAL))
    return Graph(
        source=source,
        text=_essence([net, *sections]),
        size=_size(net, multiple),
        multiple=multiple,
        layers=tuple(layers),
        heads=tuple(heads),
    )


def _check_parameters(source: str, layers: Sequence[DarknetLayer]) -> None:
    count = sum(
        conv.channels * (conv.c_in // conv.groups) * conv.size**2
        for conv in layers
        if isinstance(conv, Convolution)
    )
    widest = max((layer.channels for layer in layers), default=0)
    if count > PARAMETERS or widest > CHANNELS:
        raise ModelConfigError(
            f"{source}: {count:,} parameters and up to {widest:,} channels; at most "
            f"{PARAMETERS:,} and {CHANNELS:,} are read"
        )


def _size(net: Section, stride: int) -> tuple[int, int]:
    for key in ("height", "width"):
        if key not in net.options:
            raise failure(net, key, "is missing")
    try:
        return check_size((net.integer("height", 0), net.integer("width", 0)), stride)
    except InputSizeError as error:
        raise failure(net, "height", f"and width do not fit: {error}") from error


def _essence(sections: Sequence[Section]) -> str:
    """The keys that are read, as a cfg."""
    lines = []
    for section in sections:
        lines.append(f"[{section.kind}]")
        lines += [f"{k}={o.value}" for k, o in section.options.items() if k in READ[section.kind]]
    return "\n".join(lines) + "\n"


def _check_heads(source: str, layers: Sequence[DarknetLayer], heads: Sequence[Head]) -> None:
    if not heads:
        raise ModelConfigError(f"{source}: no [yolo] or [region] section, so it is not a detector")
    for name in ("kind", "classes", "new_coords"):
        if len({getattr(head, name) for head in heads}) > 1:
            found = ", ".join(f"{getattr(h, name)} ({h.where})" for h in heads)
            raise ModelConfigError(f"{source}: {name} differs among the heads: {found}")
    ends = {head.index for head in heads} | {head.sources[0] for head in heads}
    for layer in layers:
        if not isinstance(layer, Head) and ends & set(layer.sources):
            raise ModelConfigError(
                f"{layer.where}: reads a [yolo] section or the convolution before one; only "
                "feature maps before these can be read"
            )
