"""From the tensors of any declared output to candidates, written once for NumPy and for graphs.

The functions use Python's operators and the few operations of `Ops`; with `NumPyOps` they compute,
with the exporter's nodes they write the same arithmetic into an ONNX graph. Sources of the box
codes: YOLOX (arXiv 2107.08430), GFL's distributions (arXiv 2006.04388), Scaled-YOLOv4
(arXiv 2011.08036), YOLOv3 (arXiv 1804.02767).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..contract.contract import GraphContract, OutputContract, Size
from ..errors import TensorError

Array = Any
"""An ndarray, or a node of a graph that behaves like one under +, -, * and /."""


class Ops(Protocol):
    """The operations beside the operators. Axes are counted from the last one."""

    def exp(self, x: Array) -> Array:
        """e^x."""
        ...

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + e^-x)."""
        ...

    def softmax(self, x: Array) -> Array:
        """Over the last axis."""
        ...

    def columns(self, x: Array, start: int, stop: int) -> Array:
        """x[..., start:stop]."""
        ...

    def take(self, x: Array, indices: Sequence[int]) -> Array:
        """x[..., indices]."""
        ...

    def concat(self, parts: Sequence[Array]) -> Array:
        """Along the last axis."""
        ...

    def squeeze(self, x: Array) -> Array:
        """[B, N, 1] -> [B, N]."""
        ...

    def split(self, x: Array, parts: int) -> Array:
        """[B, N, parts * n] -> [B, N, parts, n]."""
        ...

    def total(self, x: Array) -> Array:
        """Sum over the last axis."""
        ...

    def floats(self, x: Array) -> Array:
        """As float32."""
        ...

    def integers(self, x: Array) -> Array:
        """Rounded, as int64."""
        ...

    def at_least(self, x: Array, value: float) -> Array:
        """1.0 where x >= value, else 0.0."""
        ...

    def lookup(self, x: Array, table: Sequence[int]) -> Array:
        """table[x] of int64 x in 0..len(table)-1; others are clipped to it."""
        ...

    def rows_below(self, x: Array, count: Array) -> Array:
        """x [B, N], count [B] or [B, 1] -> 1.0 in the first `count` rows of each image."""
        ...

    def best(self, scores: Array, k: int, fewer: bool) -> tuple[Array, Array, Array]:
        """[B, N, C] -> the k best (scores, rows, columns) [B, k]; the first of equals wins.

        `fewer`: there may be fewer than k.
        """
        ...

    def pick(self, x: Array, rows: Array) -> Array:
        """x [B, N, 4], rows [B, K] -> [B, K, 4]."""
        ...


def candidates(
    tensors: dict[str, Array], contract: GraphContract, size: Size, ops: Ops
) -> tuple[Array, Array, Array | None]:
    """Boxes [B, N, 4] xyxy in input pixels, scores [B, N, C] or [B, N], labels [B, N] or None.

    Args:
        tensors: by role, with the axes [B, N, C] or [B, N].
        contract: says what they mean.
        size: (height, width) of the input in pixels.
        ops: NumPy's operations, or those that write a graph.

    Raises:
        TensorError: a role that the contract needs is not there.
    """
    output = contract.output
    parts = _unpack({role: ops.floats(x) for role, x in tensors.items()}, output, ops)
    if "box" not in parts:
        raise TensorError(f"the declaration {output.convention!r} names no boxes")
    boxes = _boxes(parts["box"], output, size, ops)
    if output.selection == "given":
        scores, labels = _given(parts, output, ops)
        return boxes, scores, labels
    scores = _scores(parts, output, ops)
    if output.selection == "rows":
        return boxes, scores, None
    best, rows, columns = ops.best(scores, output.topk or 1, output.rows is None)
    return ops.pick(boxes, rows), best, columns


def _unpack(tensors: dict[str, Array], output: OutputContract, ops: Ops) -> dict[str, Array]:
    """Each thing on its own: box, objectness, scores [B, N, C]; score, label, image [B, N]."""
    single = {"scores": "score"} if output.selection == "given" else {}
    names = {"boxes": "box", "labels": "label", **single}
    found = {names.get(role, role): x for role, x in tensors.items() if role != "packed"}
    if "packed" not in tensors:
        return found
    box = 4 * (output.bins or 1)
    widths = {"box": box, "scores": slots(output)}
    declared = next(t for t in output.tensors if t.role == "packed")
    at = 0
    for column in declared.columns:
        stop = at + widths.get(column, 1)
        part = ops.columns(tensors["packed"], at, stop)
        found[column] = ops.squeeze(part) if column in ("score", "label", "image") else part
        at = stop
    return found


def slots(output: OutputContract) -> int:
    """Columns of the scores before the background and unused ids are dropped."""
    if output.class_ids is not None:
        last = max(output.class_ids) + 1
        return last + (output.background == "last")
    return output.classes + output.class_offset + (output.background != "none")


def _boxes(raw: Array, output: OutputContract, size: Size, ops: Ops) -> Array:
    height, width = size
    unit = np.array([width, height, width, height], np.float32)
    if output.box in ("xyxy", "yxyx", "cxcywh"):
        boxes = raw * unit if output.unit == "fraction" else raw
        if output.box == "yxyx":
            flat = raw * unit[[1, 0, 3, 2]] if output.unit == "fraction" else raw
            return ops.take(flat, (1, 0, 3, 2))
        return boxes if output.box == "xyxy" else _corners(boxes, ops)
    cells, strides, anchors, stretch = _grid(output, size)
    if output.box == "dfl":
        bins = output.bins or 1
        spread = ops.softmax(ops.split(raw, 4)) * np.arange(bins, dtype=np.float32)
        sides = ops.total(spread) * strides  # left, top, right, bottom
        centre = (cells + np.float32(output.centre)) * strides
        low = centre - ops.columns(sides, 0, 2)
        return ops.concat((low, centre + ops.columns(sides, 2, 4)))
    xy, wh = ops.columns(raw, 0, 2), ops.columns(raw, 2, 4)
    if output.box == "grid-exp":
        return _corners(ops.concat(((xy + cells) * strides, ops.exp(wh) * strides)), ops)
    # Darknet's "scale_x_y": the sigmoid is stretched about the middle of the cell.
    xy = (ops.sigmoid(xy) * stretch - (stretch - 1) / 2 + cells) * strides
    if output.box == "anchors-exp":
        wh = ops.exp(wh) * anchors
    else:
        wh = ops.sigmoid(wh) * 2
        wh = wh * wh * anchors
    return _corners(ops.concat((xy, wh)), ops)


def _corners(boxes: Array, ops: Ops) -> Array:
    centre, half = ops.columns(boxes, 0, 2), ops.columns(boxes, 2, 4) / np.float32(2)
    return ops.concat((centre - half, centre + half))


def _grid(output: OutputContract, size: Size) -> tuple[NDArray[np.float32], ...]:
    """For each row: its cell (x, y) [N, 2], stride [N, 1], anchor [N, 2], stretch [N, 1]."""
    parts: list[tuple[NDArray[Any], ...]] = []
    for level, (stride, count) in enumerate(output.grid):
        rows, columns = -(-size[0] // stride), -(-size[1] // stride)
        y, x = np.mgrid[:rows, :columns]
        cells = np.tile(np.stack((x, y), -1).reshape(-1, 2), (count, 1))
        anchors = np.array(output.anchors[level] if output.anchors else [(1.0, 1.0)] * count)
        scale = output.xy_scale[level] if output.xy_scale else 1.0
        parts.append((
            cells, np.full((len(cells), 1), stride),
            np.repeat(anchors, rows * columns, axis=0), np.full((len(cells), 1), scale),
        ))  # fmt: skip
    joined = (np.concatenate(column).astype(np.float32) for column in zip(*parts, strict=True))
    return tuple(joined)


def _scores(parts: dict[str, Array], output: OutputContract, ops: Ops) -> Array:
    """[B, N, C], one column a name."""
    objectness = parts.get("objectness")
    if objectness is not None and output.activation == "sigmoid":
        objectness = ops.sigmoid(objectness)
    if output.score == "objectness":
        if objectness is None:
            raise TensorError(f"the declaration {output.convention!r} names no objectness")
        return objectness
    scores = parts["scores"]
    if output.activation == "sigmoid":
        scores = ops.sigmoid(scores)
    elif output.activation == "softmax":
        scores = ops.softmax(scores)
    first = output.class_offset + (output.background == "first")
    if output.class_ids is not None:
        scores = ops.take(scores, output.class_ids)
    elif first or output.background == "last":
        scores = ops.columns(scores, first, first + output.classes)
    return scores * objectness if output.score == "objectness*class" else scores


def _given(parts: dict[str, Array], output: OutputContract, ops: Ops) -> tuple[Array, Array]:
    """Scores and class ids [B, N] of rows that carry both; rows that say nothing score 0."""
    scores, labels = parts["score"], parts["label"]
    lowest = output.class_offset + (output.background == "first")
    if output.class_ids is not None:
        table = [-1] * (max(output.class_ids) + 1)
        for index, label in enumerate(output.class_ids):
            table[label] = index
        scores = scores * ops.at_least(labels, 0)
        ids = ops.lookup(ops.integers(labels), table)
        known = ops.at_least(ops.floats(ids), 0)
        ids = ids * ops.integers(known)
    else:
        shifted = labels - np.float32(lowest)
        known = ops.at_least(shifted, 0)
        ids = ops.integers(shifted * known)
    scores = scores * known
    if "count" in parts:
        scores = scores * ops.rows_below(scores, parts["count"])
    if "image" in parts:  # rows of a batch of one; -1 says nothing
        scores = scores * ops.at_least(parts["image"], 0)
    return scores, ids
