"""Sizes of a network's input."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputSizeError
from ..system.bounds import brief

Size = tuple[int, int]
"""(height, width) in pixels."""


def check_size(size: Sequence[int], stride: int) -> Size:
    """Return `size` as (height, width) when both are positive multiples of `stride`.

    Raises:
        InputSizeError: otherwise; the message names the nearest sizes that fit.
    """
    values = tuple(size)
    if len(values) != 2 or not all(isinstance(v, int) and v > 0 for v in values):
        raise InputSizeError(f"a network size is two positive integers (H, W), got {brief(values)}")
    if any(v % stride for v in values):
        fitting = " or ".join(
            str((_round(values[0], stride, up), _round(values[1], stride, up)))
            for up in (False, True)
        )
        raise InputSizeError(
            f"height and width must be multiples of {stride} (the largest stride), got {values}; "
            f"use {fitting}"
        )
    return values[0], values[1]


def _round(value: int, stride: int, up: bool) -> int:
    return max(stride, -(-value // stride) * stride if up else value // stride * stride)
