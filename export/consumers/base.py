"""What a consumer is, and the parts of which graphs for consumers are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.contract.contract import InputContract, OutputContract, float_input
from yolov4sdk.errors import ExportError
from yolov4sdk.results.postprocess import suppress

from ..adopt.nodes import GraphWriter, Node
from ..options import NMS_CANDIDATES

Rows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]
"""One image: xyxy [M, 4] in pixels of the input, scores [M], class ids [M]."""
Raw = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Wanted:
    """What is fixed for a file.

    Attributes:
        file: name of the model's file.
        names: of the classes.
        taken: what the graph takes.
        output: what the graph gave before it was rewritten.
        rows: how many boxes that were.
        conf, iou, max_det: of the suppression, in the graph or in the configuration.
        labels: name of the file of labels.
    """

    file: str
    names: tuple[str, ...]
    taken: InputContract
    output: OutputContract
    rows: int
    conf: float
    iou: float
    max_det: int
    labels: str

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.taken.size


@dataclass(frozen=True)
class Consumer:
    """A program, or a family of them, that reads detectors by one contract.

    Attributes:
        name: as `--for` calls it.
        title: in messages.
        source: where its rules were read.
        outputs: writes its outputs, which it gives by name.
        read: by its rules from the outputs of one image to candidates: what it looks at before its
            own suppression. The score has to be above the threshold.
        config: the text of its configuration.
        config_suffix: of the configuration's file.
        metadata: of the model's file.
        labels: lines of the file of labels, in the order of the classes.
        resize: how it resizes: names of policies that it can be told; the first is its usual one.
        pad: grey value of its letterbox, None where that is the model's own.
        any_input: whether it can be told of uint8 [B, H, W, 3] too, not of float32 [B, 3, H, W]
            only.
        conf, iou, max_det: its usual thresholds.
        fixed: whether the thresholds cannot be chosen.
        suppressed: whether its graph suppresses overlapping boxes.
        suppress: its own suppression of what it read.
        suffix: of the model's file.
    """

    name: str
    title: str
    source: str
    outputs: Callable[[Candidates, Wanted], dict[str, Node]]
    read: Callable[[Raw, Wanted], Rows]
    config: Callable[[Wanted], str]
    config_suffix: str
    metadata: Callable[[Wanted], dict[str, str]] = lambda wanted: {}
    labels: Callable[[Wanted], tuple[str, ...]] = lambda wanted: wanted.names
    resize: tuple[str, ...] = ("letterbox",)
    pad: int | None = None
    any_input: bool = False
    conf: float = 0.25
    iou: float = 0.45
    max_det: int = 300
    fixed: bool = False
    suppressed: bool = False
    suppress: Callable[[Rows, Wanted], Rows] = lambda rows, wanted: class_wise(rows, wanted)
    suffix: str = ".onnx"


INPUT = float_input()
"""float32 RGB [B, 3, H, W] in 0..1, which most consumers feed."""


class Candidates:
    """The boxes and scores of a graph, in the forms that consumers want.

    Args:
        writer: into which nodes are written.
        output: what the graph gives.
        rows: how many of them.
        names: of the graph's own outputs, by what they are called before it was rewritten.
    """

    def __init__(
        self, writer: GraphWriter, output: OutputContract, rows: int, names: Mapping[str, str]
    ) -> None:
        self.writer, self._output, self.rows = writer, output, rows
        self._values = {own: writer.value(name) for own, name in names.items()}
        self.boxes, self._scores = self._values["boxes"], self._values["scores"]

    def cxcywh(self) -> Node:
        """Centre and size [B, N, 4]."""
        low = self.writer.columns(self.boxes, 0, 2)
        high = self.writer.columns(self.boxes, 2, 4)
        return self.writer.concat(((low + high) * np.float32(0.5), high - low))

    def per_class(self) -> Node:
        """Scores [B, N, C]; of rows with one class the others are 0."""
        if self._output.per_class:
            return self._scores
        return self._spread(self._scores, self._values["class_ids"])

    def channels_first(self) -> Node:
        """Centre, size and scores [B, 4 + C, N]."""
        joined = self.writer.concat((self.cxcywh(), self.per_class()))
        return self.writer.node("Transpose", joined, perm=[0, 2, 1])

    def best(self) -> tuple[Node, Node]:
        """The best class of each row: scores [B, N] and ids int64 [B, N]."""
        writer = self.writer
        if not self._output.per_class:
            return self._scores, self._values["class_ids"]
        ids = writer.node("ArgMax", self._scores, axis=-1, keepdims=1)
        score = writer.node("GatherElements", self._scores, ids, axis=2)
        return writer.squeeze(score), writer.squeeze(ids)

    def kept(self, wanted: Wanted) -> tuple[Node, Node, Node]:
        """Suppressed rows: boxes [B, K, 4], scores and ids [B, K], best first, zeros to fill up."""
        writer, (scores, ids), boxes = self.writer, self.best(), self.boxes
        keep = min(wanted.max_det, self.rows)
        if self._output.suppressed:
            mask = writer.floats(writer.node("Greater", scores, np.float32(wanted.conf)))
        else:
            boxes, scores, ids = self._top(boxes, scores, ids, min(self.rows, NMS_CANDIDATES))
            mask = self._mask(boxes, scores, ids, wanted)
        boxes, scores, ids = self._top(boxes, scores * mask, ids, keep)
        used = writer.floats(writer.node("Greater", scores, np.float32(0)))
        return boxes * writer.column(used), scores, ids * writer.node("Cast", used, to=7)

    def _top(self, boxes: Node, scores: Node, ids: Node, k: int) -> tuple[Node, Node, Node]:
        writer = self.writer
        best, at = writer.several("TopK", 2, scores, np.array([k], np.int64), axis=1)
        return writer.pick(boxes, at), best, writer.node("GatherElements", ids, at, axis=1)

    def _spread(self, scores: Node, ids: Node) -> Node:
        """Scores and ids [B, N] -> [B, N, C]."""
        classes = np.arange(self._output.classes, dtype=np.int64)
        own = self.writer.node("Equal", self.writer.column(ids), classes)
        return self.writer.floats(own) * self.writer.column(scores)

    def _mask(self, boxes: Node, scores: Node, ids: Node, wanted: Wanted) -> Node:
        """1 for rows that suppression keeps: [B, N]."""
        writer = self.writer
        agnostic = self._output.suppression == "agnostic"
        by_class = (
            writer.node("Unsqueeze", scores, np.array([1], np.int64))
            if agnostic
            else writer.node("Transpose", self._spread(scores, ids), perm=[0, 2, 1])
        )
        chosen = writer.node(
            "NonMaxSuppression", boxes, by_class, np.array([wanted.max_det], np.int64),
            np.array([wanted.iou], np.float32), np.array([wanted.conf], np.float32),
        )  # fmt: skip
        # [S, 3]: image, class, row
        pairs = writer.node("Gather", chosen, np.array([0, 2], np.int64), axis=1)
        count = writer.node("Slice", writer.node("Shape", chosen), *_slice(0, 1))
        ones = writer.node("Expand", np.array([1], np.float32), count)
        return writer.node("ScatterND", scores * np.float32(0), pairs, ones)


def _slice(start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.array([start], np.int64), np.array([stop], np.int64)


def corners(cxcywh: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centre and size [M, 4] -> xyxy."""
    half = cxcywh[:, 2:] / 2
    return np.concatenate((cxcywh[:, :2] - half, cxcywh[:, :2] + half), axis=1)


def above(boxes: Any, scores: Any, ids: Any, conf: float) -> Rows:
    """The rows that score more than `conf`."""
    chosen = scores > conf
    return (
        np.asarray(boxes[chosen], np.float32), np.asarray(scores[chosen], np.float32),
        np.asarray(ids[chosen], np.int64),
    )  # fmt: skip


def best_above(rows: Any, conf: float) -> Rows:
    """Centre, size and scores [N, 4 + C] -> the rows whose best class scores more than `conf`."""
    scores = rows[:, 4:]
    return above(corners(rows[:, :4]), scores.max(axis=1), scores.argmax(axis=1), conf)


def one_image(found: NDArray[Any], name: str) -> NDArray[Any]:
    """The only image of an output.

    Raises:
        ExportError: a batch of another size.
    """
    if found.shape[0] != 1:
        raise ExportError(f"the output {name} holds {found.shape[0]} images instead of one")
    image: NDArray[Any] = found[0]
    return image


def class_wise(rows: Rows, wanted: Wanted) -> Rows:
    """Greedy suppression within each class, which most consumers have."""
    iou = None if wanted.output.suppressed else wanted.iou
    return suppress(*rows, iou=iou, max_det=wanted.max_det)
