"""Candidates of any declared output, computed by NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..contract.contract import GraphContract, OutputContract, Size
from .arithmetic import candidates
from .base import Outputs, Tensors

Array = NDArray[Any]


class _NumPyOps:
    """See `arithmetic.Ops`."""

    def exp(self, x: Array) -> Array:
        return np.exp(x)

    def sigmoid(self, x: Array) -> Array:
        # Of -|x|, whose exponential cannot overflow.
        small = np.exp(-np.abs(x))
        result: Array = np.where(x >= 0, 1, small) / (1 + small)
        return result

    def softmax(self, x: Array) -> Array:
        powers = np.exp(x - x.max(-1, keepdims=True))
        result: Array = powers / powers.sum(-1, keepdims=True)
        return result

    def columns(self, x: Array, start: int, stop: int) -> Array:
        return x[..., start:stop]

    def take(self, x: Array, indices: Sequence[int]) -> Array:
        return x[..., list(indices)]

    def concat(self, parts: Sequence[Array]) -> Array:
        return np.concatenate(parts, axis=-1)

    def squeeze(self, x: Array) -> Array:
        return x[..., 0]

    def split(self, x: Array, parts: int) -> Array:
        return x.reshape(*x.shape[:-1], parts, -1)

    def total(self, x: Array) -> Array:
        result: Array = x.sum(-1)
        return result

    def floats(self, x: Array) -> Array:
        return np.asarray(x, np.float32)

    def integers(self, x: Array) -> Array:
        return np.rint(x).astype(np.int64)

    def at_least(self, x: Array, value: float) -> Array:
        return (x >= value).astype(np.float32)

    def lookup(self, x: Array, table: Sequence[int]) -> Array:
        result: Array = np.asarray(table, np.int64)[np.clip(x, 0, len(table) - 1)]
        return result

    def rows_below(self, x: Array, count: Array) -> Array:
        return (np.arange(x.shape[1]) < count.reshape(-1, 1)).astype(np.float32)

    def best(self, scores: Array, k: int, fewer: bool) -> tuple[Array, Array, Array]:
        classes = scores.shape[2]
        flat = scores.reshape(len(scores), -1)
        order = np.argsort(-flat, axis=1, kind="stable")[:, : min(k, flat.shape[1])]
        return np.take_along_axis(flat, order, 1), order // classes, order % classes

    def pick(self, x: Array, rows: Array) -> Array:
        return np.take_along_axis(x, rows[..., None], 1)


OPS: Final = _NumPyOps()


def decode(tensors: Tensors, contract: GraphContract, size: Size) -> Outputs:
    """See `base.Decode`; follows the contract's declaration."""
    raw = dict(tensors)
    if names_images(contract.output):
        raw = _by_image(raw, contract.output)
    boxes, scores, labels = candidates(raw, contract, size, OPS)
    return Outputs(
        np.ascontiguousarray(boxes, np.float32),
        np.ascontiguousarray(scores, np.float32),
        None if labels is None else np.asarray(labels, np.int64),
    )


def names_images(output: OutputContract) -> bool:
    """Whether one list of rows holds those of all images of the batch."""
    return any("image" in tensor.columns for tensor in output.tensors)


def _by_image(raw: dict[str, Array], output: OutputContract) -> dict[str, Array]:
    """Rows that name their image, [1, D, C] -> [B, K, C] with rows of image -1 to fill up."""
    packed = raw["packed"][0]
    at = next(t for t in output.tensors if t.role == "packed").columns.index("image")
    before = next(t for t in output.tensors if t.role == "packed").columns[:at]
    column = sum(4 if name == "box" else 1 for name in before)
    images = np.rint(packed[:, column]).astype(np.int64)
    used = images >= 0
    count = int(images[used].max()) + 1 if used.any() else 1
    groups = [packed[images == i] for i in range(count)]
    rows = np.zeros((count, max(1, *(len(g) for g in groups)), packed.shape[1]), packed.dtype)
    rows[..., column] = -1
    for row, group in zip(rows, groups, strict=True):
        row[: len(group)] = group
    return raw | {"packed": rows}
