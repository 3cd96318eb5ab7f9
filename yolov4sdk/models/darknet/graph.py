"""A checked Darknet network: layers with their inputs, channels and strides. No weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ...contract.spec import Anchors, Decoding, check_size
from ...errors import InputSizeError, ModelConfigError
from ...system.bounds import ANCHORS, CHANNELS, CLASSES, FACTOR, KERNEL, PARAMETERS, PIXELS, brief
from .cfg import Section, failure, parse_cfg
from .keys import READ, check_keys

ACTIVATIONS: Final = ("linear", "leaky", "mish", "swish", "logistic", "relu")


@dataclass(frozen=True)
class Layer:
    """What every layer has.

    Attributes:
        index: as the cfg counts, from 0 behind [net].
        where: file, line and section, for messages.
        sources: indices of the layers that it reads; -1 is the image.
        channels: of its output.
        stride: image pixels per cell of its output.
    """

    index: int
    where: str
    sources: tuple[int, ...]
    channels: int
    stride: Fraction


@dataclass(frozen=True)
class Convolution(Layer):
    """Convolution, batch normalisation or bias, activation; `step` is its own stride."""

    size: int
    step: int
    padding: int
    groups: int
    c_in: int
    batch_normalize: bool
    activation: str


@dataclass(frozen=True)
class MaxPool(Layer):
    """Max-pooling; `padding` is that of both sides together, the odd cell right and below."""

    size: int
    step: int
    padding: int


@dataclass(frozen=True)
class Route(Layer):
    """Concatenation of part `group_id` of `groups` of each source's channels."""

    groups: int
    group_id: int


@dataclass(frozen=True)
class Shortcut(Layer):
    """Sum of its sources, then an activation."""

    activation: str


@dataclass(frozen=True)
class Upsample(Layer):
    """Nearest-neighbour upsampling."""

    factor: int


@dataclass(frozen=True)
class Yolo(Layer):
    """A head; its one source is the convolution whose raw map it decodes.

    Attributes:
        anchors: (w, h) in pixels of the network's input, of this head alone.
        new_coords: True decodes as Scaled-YOLOv4 does, False with the exponential.
    """

    classes: int
    anchors: tuple[tuple[float, float], ...]
    scale_x_y: float
    new_coords: bool


@dataclass(frozen=True)
class Graph:
    """A whole network.

    Attributes:
        source: what to call it in messages.
        text: the cfg without comments and without keys that do not matter.
        size: (height, width) of [net] in pixels.
        layers: by index.
        heads: its [yolo] layers, smallest stride first.
    """

    source: str
    text: str
    size: tuple[int, int]
    layers: tuple[Layer, ...]
    heads: tuple[Yolo, ...]

    @property
    def convolutions(self) -> list[Convolution]:
        """In the order of the file, which is that of the weights."""
        return [layer for layer in self.layers if isinstance(layer, Convolution)]

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
    layers: list[Layer] = []
    for section in sections:
        check_keys(section)
        layers.append(_BUILDERS[section.kind](section, layers))
    _check_parameters(source, layers)
    heads = sorted((y for y in layers if isinstance(y, Yolo)), key=lambda head: head.stride)
    _check_heads(source, layers, heads)
    return Graph(
        source=source,
        text=_essence([net, *sections]),
        size=_size(net, max(int(head.stride) for head in heads)),
        layers=tuple(layers),
        heads=tuple(heads),
    )


def _check_parameters(source: str, layers: Sequence[Layer]) -> None:
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


def _check_heads(source: str, layers: Sequence[Layer], heads: Sequence[Yolo]) -> None:
    if not heads:
        raise ModelConfigError(f"{source}: no [yolo] section, so it is no detector")
    for name in ("classes", "new_coords"):
        if len({getattr(head, name) for head in heads}) > 1:
            found = ", ".join(f"{getattr(h, name)} ({h.where})" for h in heads)
            raise ModelConfigError(f"{source}: {name} differs among the [yolo] sections: {found}")
    ends = {head.index for head in heads} | {head.sources[0] for head in heads}
    for layer in layers:
        if not isinstance(layer, Yolo) and ends & set(layer.sources):
            raise ModelConfigError(
                f"{layer.where}: reads a [yolo] section or the convolution before one; only "
                "feature maps before these can be read"
            )
        if layer.stride > heads[-1].stride:
            raise ModelConfigError(
                f"{layer.where}: its stride {layer.stride} is larger than that of every head"
            )


def _source(section: Section, layers: Sequence[Layer]) -> tuple[int, int, Fraction]:
    """Index, channels and stride of the layer before: what most sections read."""
    return section.index - 1, *_shape(section.index - 1, layers)


def _shape(index: int, layers: Sequence[Layer]) -> tuple[int, Fraction]:
    return (3, Fraction(1)) if index < 0 else (layers[index].channels, layers[index].stride)


def _sources(section: Section, key: str, layers: Sequence[Layer]) -> list[int]:
    """Indices of earlier layers; a negative one counts back from this section."""
    found = section.integers(key)
    if not found:
        raise failure(section, key, "is missing; expected indices of earlier layers")
    absolute = [section.index + i if i < 0 else i for i in found]
    for given, index in zip(found, absolute, strict=True):
        if not 0 <= index < section.index:
            raise failure(section, key, f"points to {given}, which is no earlier layer")
    strides = {layers[i].stride for i in absolute}
    if len(strides) > 1:
        shown = ", ".join(f"layer {i}: {layers[i].stride}" for i in absolute)
        raise failure(section, key, f"joins maps of different strides ({shown})")
    return absolute


def _same(section: Section, size: int, step: int, padding: int, wanted: str) -> None:
    """Only windows that divide a map exactly are read: a side of n cells gives n / step."""
    if not 0 < size - padding <= step:
        raise failure(
            section, "size", f"{size}, stride {step} do not go with this padding; expected {wanted}"
        )


def _activation(section: Section, default: str) -> str:
    name = section.text("activation", default)
    if name not in ACTIVATIONS:
        raise failure(
            section, "activation", f"must be one of {', '.join(ACTIVATIONS)}, got {brief(name)}"
        )
    return name


def _convolution(section: Section, layers: Sequence[Layer]) -> Convolution:
    source, c_in, stride = _source(section, layers)
    filters, size = section.integer("filters", 1), section.integer("size", 1, high=KERNEL)
    step, groups = section.integer("stride", 1, high=FACTOR), section.integer("groups", 1)
    # As Darknet has it: pad=1 means half of the kernel, whatever padding says.
    padding = size // 2 if section.flag("pad") else section.integer("padding", 0, low=0)
    _same(section, size, step, 2 * padding, "an odd size with pad=1")
    if c_in % groups or filters % groups:
        raise failure(section, "groups", f"must divide {c_in} input channels and {filters} filters")
    return Convolution(
        section.index,
        section.where,
        (source,),
        filters,
        stride * step,
        size=size,
        step=step,
        padding=padding,
        groups=groups,
        c_in=c_in,
        batch_normalize=section.flag("batch_normalize"),
        activation=_activation(section, "logistic"),
    )


def _maxpool(section: Section, layers: Sequence[Layer]) -> MaxPool:
    source, channels, stride = _source(section, layers)
    step = section.integer("stride", 1, high=FACTOR)
    size = section.integer("size", step, high=KERNEL)
    padding = section.integer("padding", size - 1, low=0)
    _same(section, size, step, padding, "padding=size-1, which is the default")
    return MaxPool(
        section.index, section.where, (source,), channels, stride * step, size, step, padding
    )


def _route(section: Section, layers: Sequence[Layer]) -> Route:
    sources = _sources(section, "layers", layers)
    groups, group_id = section.integer("groups", 1), section.integer("group_id", 0, low=0)
    for index in sources:
        if layers[index].channels % groups:
            raise failure(
                section, "groups", f"must divide the {layers[index].channels} channels of {index}"
            )
    if group_id >= groups:
        raise failure(section, "group_id", f"must be below groups={groups}, got {group_id}")
    channels = sum(layers[i].channels // groups for i in sources)
    stride = layers[sources[0]].stride
    return Route(section.index, section.where, tuple(sources), channels, stride, groups, group_id)


def _shortcut(section: Section, layers: Sequence[Layer]) -> Shortcut:
    before, channels, stride = _source(section, layers)
    sources = _sources(section, "from", layers)
    for index in sources:
        if _shape(index, layers) != (channels, stride):
            raise failure(
                section,
                "from",
                f"adds {layers[index].channels} channels of stride {layers[index].stride} to "
                f"{channels} of stride {stride}; they must be the same",
            )
    activation = _activation(section, "linear")
    return Shortcut(section.index, section.where, (before, *sources), channels, stride, activation)


def _upsample(section: Section, layers: Sequence[Layer]) -> Upsample:
    source, channels, stride = _source(section, layers)
    factor = section.integer("stride", 2, high=FACTOR)
    return Upsample(section.index, section.where, (source,), channels, stride / factor, factor)


def _yolo(section: Section, layers: Sequence[Layer]) -> Yolo:
    conv = layers[-1] if layers else None
    if not isinstance(conv, Convolution):
        raise ModelConfigError(f"{section.where}: a [convolutional] section must come before it")
    classes, anchors = section.integer("classes", 20, high=CLASSES), _anchors(section)
    new_coords = section.flag("new_coords")
    if conv.channels != len(anchors) * (5 + classes):
        raise failure(
            section,
            "classes",
            f"{classes} and {len(anchors)} anchors need {len(anchors) * (5 + classes)} filters in "
            f"the convolution before it, which has {conv.channels} ({conv.where})",
        )
    activation = "logistic" if new_coords else "linear"
    if (conv.size, conv.step, conv.groups, conv.batch_normalize) != (1, 1, 1, False):
        raise ModelConfigError(
            f"{conv.where}: before [yolo] expected size=1, stride=1, groups=1 and no "
            "batch_normalize"
        )
    if conv.activation != activation:
        raise ModelConfigError(
            f"{conv.where}: activation={conv.activation} before a [yolo] with "
            f"new_coords={int(new_coords)}; expected {activation} (line {section.line})"
        )
    if conv.stride.denominator != 1:
        raise ModelConfigError(f"{section.where}: its map is finer than the image")
    return Yolo(
        section.index,
        section.where,
        (conv.index,),
        conv.channels,
        conv.stride,
        classes=classes,
        anchors=anchors,
        scale_x_y=section.number("scale_x_y", 1.0),
        new_coords=new_coords,
    )


def _anchors(section: Section) -> tuple[tuple[float, float], ...]:
    """The (w, h) pairs that the mask picks."""
    sides, number = section.numbers("anchors"), section.integer("num", 1, high=ANCHORS)
    if len(sides) != 2 * number or not 0 < min(sides) <= max(sides) <= PIXELS:
        raise failure(
            section, "anchors", f"must be num={number} positive pairs w,h, got {len(sides)} numbers"
        )
    mask = section.integers("mask") or list(range(number))
    if not all(0 <= i < number for i in mask):
        raise failure(section, "mask", f"must pick among 0 to {number - 1}, got {mask}")
    pairs = list(zip(sides[::2], sides[1::2], strict=True))
    return tuple(pairs[i] for i in mask)


_BUILDERS: Final = {
    "convolutional": _convolution,
    "maxpool": _maxpool,
    "route": _route,
    "shortcut": _shortcut,
    "upsample": _upsample,
    "yolo": _yolo,
}
