"""Sections that are heads: [yolo], [region] and [Gaussian_yolo]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ...errors import ModelConfigError
from ...system.bounds import ANCHORS, CLASSES, PIXELS, brief
from .cfg import Section, failure
from .layers import Convolution, DarknetLayer, Head, HeadKind
from .sections import Builder


def _yolo(section: Section, layers: Sequence[DarknetLayer]) -> Head:
    return _head(section, layers, "yolo", 5, section.flag("new_coords"), _anchors(section))


def _gaussian(section: Section, layers: Sequence[DarknetLayer]) -> Head:
    return _head(section, layers, "Gaussian_yolo", 9, False, _anchors(section))


def _region(section: Section, layers: Sequence[DarknetLayer]) -> Head:
    """Its anchors are in cells."""
    if section.integer("coords", 4) != 4:
        raise failure(section, "coords", f"must be 4, got {section.text('coords', '')}")
    if not section.flag("softmax"):
        raise failure(section, "softmax", "must be 1: without it the classes are not probabilities")
    stride = float(layers[-1].stride) if layers else 1.0
    cells = _anchors(section)
    return _head(
        section, layers, "region", 5, False, tuple((w * stride, h * stride) for w, h in cells)
    )


def _head(
    section: Section,
    layers: Sequence[DarknetLayer],
    kind: HeadKind,
    values: int,
    new_coords: bool,
    anchors: tuple[tuple[float, float], ...],
) -> Head:
    conv = layers[-1] if layers else None
    if not isinstance(conv, Convolution):
        raise ModelConfigError(f"{section.where}: a [convolutional] section must come before it")
    classes = section.integer("classes", 20, high=CLASSES)
    point = section.text("yolo_point", "center")
    if point != "center":
        raise failure(section, "yolo_point", f"must be center, got {brief(point)}")
    wanted = len(anchors) * (values + classes)
    if conv.channels != wanted:
        raise failure(
            section,
            "classes",
            f"{classes} and {len(anchors)} anchors need {wanted} filters in "
            f"the convolution before it, which has {conv.channels} ({conv.where})",
        )
    activation = "logistic" if new_coords else "linear"
    if (conv.size, conv.step, conv.groups, conv.batch_normalize) != (1, 1, 1, False):
        raise ModelConfigError(
            f"{conv.where}: before [{kind}] expected size=1, stride=1, groups=1 and no "
            "batch_normalize"
        )
    if conv.activation != activation:
        raise ModelConfigError(
            f"{conv.where}: activation={conv.activation} before a [{kind}] with "
            f"new_coords={int(new_coords)}; expected {activation} (line {section.line})"
        )
    if conv.stride < 1 or conv.stride.denominator != 1:
        raise ModelConfigError(f"{section.where}: its map is finer than the image, or of one cell")
    return Head(
        section.index,
        section.where,
        (conv.index,),
        conv.channels,
        conv.stride,
        kind=kind,
        classes=classes,
        anchors=anchors,
        scale_x_y=section.number("scale_x_y", 1.0),
        new_coords=new_coords,
    )


def _anchors(section: Section) -> tuple[tuple[float, float], ...]:
    """The (w, h) pairs that the mask picks."""
    sides, number = section.numbers("anchors"), section.integer("num", 1, high=ANCHORS)
    # Published files list more than num says, and a mask that picks among all of them.
    few = len(sides) < 2 * number or len(sides) % 2 or len(sides) > 2 * ANCHORS
    if few or not 0 < min(sides) <= max(sides) <= PIXELS:
        raise failure(
            section, "anchors", f"must be num={number} positive pairs w,h, got {len(sides)} numbers"
        )
    pairs = list(zip(sides[::2], sides[1::2], strict=True))
    mask = section.integers("mask") or list(range(number))
    if not all(0 <= i < len(pairs) for i in mask):
        raise failure(section, "mask", f"must pick among 0 to {len(pairs) - 1}, got {mask}")
    return tuple(pairs[i] for i in mask)


HEADS: Final[Mapping[str, Builder]] = {
    "yolo": _yolo,
    "region": _region,
    "Gaussian_yolo": _gaussian,
}
