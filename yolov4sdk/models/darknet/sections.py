"""Sections that are layers, read into values and checked; heads are in `heads`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from ...system.bounds import FACTOR, KERNEL, brief
from .cfg import Section, failure
from .layers import (
    GLOBAL,
    AveragePool,
    Convolution,
    DarknetLayer,
    GlobalAverage,
    MaxPool,
    Nothing,
    Reorg,
    Route,
    Scale,
    Shortcut,
    Upsample,
)

ACTIVATIONS: Final = (
    "linear", "leaky", "mish", "swish", "logistic", "relu", "relu6", "hard_mish",
)  # fmt: skip

WEIGHTS: Final = ("none", "per_feature", "per_channel")
NORMALIZATIONS: Final = ("none", "relu", "softmax")

Builder = Callable[[Section, Sequence[DarknetLayer]], DarknetLayer]
"""From a section and the layers before it to its layer."""


def _source(section: Section, layers: Sequence[DarknetLayer]) -> tuple[int, int, Fraction]:
    """Index, channels and stride of the layer before: what most sections read."""
    return section.index - 1, *_shape(section.index - 1, layers)


def _shape(index: int, layers: Sequence[DarknetLayer]) -> tuple[int, Fraction]:
    return (3, Fraction(1)) if index < 0 else (layers[index].channels, layers[index].stride)


def _sources(section: Section, key: str, layers: Sequence[DarknetLayer]) -> list[int]:
    """Indices of earlier layers; a negative one counts back from this section."""
    found = section.integers(key)
    if not found:
        raise failure(section, key, "is missing; expected indices of earlier layers")
    absolute = [section.index + i if i < 0 else i for i in found]
    for given, index in zip(found, absolute, strict=True):
        if not 0 <= index < section.index:
            raise failure(section, key, f"points to {given}, which is not an earlier layer")
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


def _convolution(section: Section, layers: Sequence[DarknetLayer]) -> Convolution:
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


def _maxpool(section: Section, layers: Sequence[DarknetLayer]) -> MaxPool:
    return MaxPool(**_pool(section, layers))


def _pool(section: Section, layers: Sequence[DarknetLayer]) -> dict[str, Any]:
    """The fields of a pooling."""
    source, channels, stride = _source(section, layers)
    step = section.integer("stride", 1, high=FACTOR)
    size = section.integer("size", step, high=KERNEL)
    padding = section.integer("padding", size - 1, low=0)
    _same(section, size, step, padding, "padding=size-1, which is the default")
    return {
        "index": section.index, "where": section.where, "sources": (source,),
        "channels": channels, "stride": stride * step, "size": size, "step": step,
        "padding": padding,
    }  # fmt: skip


def _route(section: Section, layers: Sequence[DarknetLayer]) -> Route:
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


def _shortcut(section: Section, layers: Sequence[DarknetLayer]) -> Shortcut:
    before, channels, stride = _source(section, layers)
    sources = _sources(section, "from", layers)
    for index in sources:
        if layers[index].stride != stride:
            raise failure(
                section,
                "from",
                f"adds a map of stride {layers[index].stride} to one of stride {stride}",
            )
    return Shortcut(
        section.index,
        section.where,
        (before, *sources),
        channels,
        stride,
        activation=_activation(section, "linear"),
        weights={"none": 0, "per_feature": 1, "per_channel": channels}[
            _choice(section, "weights_type", {"per_layer": "per_feature"}, WEIGHTS)
        ],
        normalization=_choice(
            section, "weights_normalization", {"avg_relu": "relu"}, NORMALIZATIONS
        ),
    )


def _choice(section: Section, key: str, other: Mapping[str, str], known: Sequence[str]) -> str:
    """One of some words, the first by default; `other` are further spellings."""
    given = section.text(key, known[0])
    value = other.get(given, given)
    if value not in known:
        raise failure(section, key, f"must be one of {', '.join(known)}, got {brief(given)}")
    return value


def _scale(section: Section, layers: Sequence[DarknetLayer]) -> Scale:
    """[sam] and [scale_channels]: the layer before scales that of `from`."""
    before, channels, stride = _source(section, layers)
    (scaled,) = _sources(section, "from", layers)[:1]
    wanted = (layers[scaled].channels, layers[scaled].stride)
    if section.kind == "scale_channels":
        by_cell = section.flag("scale_wh")
        expected = (1, wanted[1]) if by_cell else (wanted[0], GLOBAL)
    else:
        expected = wanted
    if (channels, stride) != expected:
        raise failure(
            section,
            "from",
            f"scales {wanted[0]} channels of stride {wanted[1]} by {channels} of stride {stride}; "
            f"expected {expected[0]} of stride {expected[1]}",
        )
    activation = _activation(section, "linear")
    return Scale(section.index, section.where, (before, scaled), *wanted, activation)


def _reorg(section: Section, layers: Sequence[DarknetLayer]) -> Reorg:
    source, channels, stride = _source(section, layers)
    step, mixed = section.integer("stride", 1, high=FACTOR), section.kind == "reorg"
    if stride == GLOBAL:
        raise failure(section, "stride", "divides a map of one cell")
    if mixed and channels % step**2:
        raise failure(section, "stride", f"{step}: its square must divide {channels} channels")
    place = (section.index, section.where, (source,))
    return Reorg(*place, channels * step**2, stride * step, step=step, mixed=mixed)


def _global_average(section: Section, layers: Sequence[DarknetLayer]) -> GlobalAverage:
    source, channels, _ = _source(section, layers)
    return GlobalAverage(section.index, section.where, (source,), channels, GLOBAL)


def _average(section: Section, layers: Sequence[DarknetLayer]) -> AveragePool:
    pool = _pool(section, layers)
    if pool["size"] > pool["step"]:
        raise failure(section, "size", "of windows that overlap is not supported")
    return AveragePool(**pool)


def _nothing(section: Section, layers: Sequence[DarknetLayer]) -> Nothing:
    return Nothing(section.index, section.where, *_as_source(section, layers))


def _as_source(
    section: Section, layers: Sequence[DarknetLayer]
) -> tuple[tuple[int, ...], int, Fraction]:
    if section.kind == "contrastive":  # behind a head, which gives no map
        return (-1,), *_shape(-1, layers)
    source, channels, stride = _source(section, layers)
    return (source,), channels, stride


def _upsample(section: Section, layers: Sequence[DarknetLayer]) -> Upsample:
    source, channels, stride = _source(section, layers)
    factor = section.integer("stride", 2, high=FACTOR)
    return Upsample(section.index, section.where, (source,), channels, stride / factor, factor)


SECTIONS: Final[Mapping[str, Builder]] = {
    "convolutional": _convolution,
    "maxpool": _maxpool,
    "local_avgpool": _average,
    "avgpool": _global_average,
    "route": _route,
    "shortcut": _shortcut,
    "scale_channels": _scale,
    "sam": _scale,
    "reorg": _reorg,
    "reorg3d": _reorg,
    "upsample": _upsample,
    "dropout": _nothing,
    "contrastive": _nothing,
}
