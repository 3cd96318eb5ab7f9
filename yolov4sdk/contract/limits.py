"""What the fields of a ModelSpec may hold, whoever wrote it; the numbers stand in `bounds`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..errors import NamesError, SpecError
from ..system import bounds
from .contract import GraphContract
from .model_info import ModelInfo


def check_limits(model: ModelInfo, contract: GraphContract) -> None:
    """Raise SpecError for a number that no model has, NamesError for names that none has."""
    _check_model(model)
    _check_contract(contract)


def _check_model(model: ModelInfo) -> None:
    longest = max(map(len, model.names), default=0)
    if len(model.names) > bounds.CLASSES or longest > bounds.NAME_LENGTH:
        raise NamesError(
            f"{len(model.names):,} class names of up to {longest:,} characters; at most "
            f"{bounds.CLASSES:,} of {bounds.NAME_LENGTH:,} are read"
        )
    _integers("strides", model.strides, bounds.STRIDE)
    _integers("train_size", (model.train_size,), bounds.SIDE)
    _anchors(model.anchors)


def _check_contract(contract: GraphContract) -> None:
    taken, given = contract.input, contract.output
    _integers("batch", (contract.batch,), bounds.BATCH)
    _integers("input size", taken.size, bounds.SIDE)
    if (contract.batch or 1) * math.prod(taken.size) > bounds.BATCH_PIXELS:
        raise SpecError(
            f"batches of {contract.batch} inputs of {taken.size} (height, width) pixels are more "
            f"than {bounds.BATCH_PIXELS:,} pixels"
        )
    _integers("multiple", (taken.multiple,), bounds.STRIDE)
    _integers("resize", (taken.resize.shortest, taken.resize.longest), bounds.SIDE)
    for extra in taken.extra:
        if math.prod(extra.shape) > bounds.VALUES or len(extra.shape) > 8:
            raise SpecError(
                f"the input {bounds.brief(extra.name)} has the shape {bounds.brief(extra.shape)}"
            )
    _integers("rows", (given.rows, given.topk), bounds.ROWS)
    _integers("classes", (given.classes,), bounds.CLASSES)
    _integers("bins", (given.bins,), bounds.CHANNELS)
    for stride, boxes in given.grid:
        _integers("grid", (stride, boxes), bounds.STRIDE)
    _anchors(given.anchors)


def _integers(name: str, values: Iterable[Any], highest: int) -> None:
    for value in values:
        if value is not None and not bounds.is_integer(value, 1, highest):
            raise SpecError(
                f"{name} must be integers from 1 to {highest:,}, got {bounds.brief(value)}"
            )


def _anchors(anchors: tuple[tuple[tuple[float, float], ...], ...]) -> None:
    counts = [len(level) for level in anchors]
    if len(counts) > bounds.LEVELS or max(counts, default=0) > bounds.ANCHORS:
        raise SpecError(
            f"anchors are at most {bounds.LEVELS} levels of {bounds.ANCHORS} pairs, got "
            f"{bounds.brief(counts)}"
        )
    for side in (side for level in anchors for pair in level for side in pair):
        if not bounds.is_number(side, 0, bounds.PIXELS):
            raise SpecError(
                f"anchors must be finite pixels up to {bounds.PIXELS:,}, got {bounds.brief(side)}"
            )
