"""Reduced outputs: the best K boxes, or what is left of them after non-maximum suppression.

`best_of_maps` ranks boxes by their best class and keeps all class scores of those that stay, as
several labels a box and thresholds for each class need them. (Pairs of box and class would let one
crowded object fill several rows.) `Suppression` keeps one class a box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from onnxscript import opset18
from torch import Tensor, nn
from torch.nn import functional as F

from yolov4sdk.models.detect import Detect, cxcywh_to_xyxy

from .options import NMS_CANDIDATES, ExportOptions

op: Any = opset18  # its methods are typed for eager arrays, not for symbolic values

Rows = tuple[Tensor, Tensor, Tensor]
"""boxes [B, K, 4] xyxy, scores [B, K], class_ids [B, K] int64; best first."""


def best(boxes: Tensor, scores: Tensor, class_ids: Tensor, k: int) -> Rows:
    """The k rows with the highest scores, of [B, M, 4], [B, M] and [B, M]."""
    top, index = scores.topk(k, dim=1)
    return _rows(boxes, index), top, class_ids.gather(1, index)


def best_of_maps(
    detect: Detect, maps: Sequence[Tensor], k: int, fewest: int
) -> tuple[Tensor, Tensor]:
    """The k boxes with the best scores; unused rows have scores 0.

    Args:
        detect: whose maps they are.
        maps: for each level [B, na, ny, nx, 5+nc].
        k: number of rows.
        fewest: number of boxes at the smallest input that the graph accepts.

    Returns:
        Boxes [B, K, 4] xyxy and scores [B, K, C], best first.
    """
    levels = [detect.decode_parts(x, level) for level, x in enumerate(maps)]
    boxes, objectness, logits = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
    score = objectness * detect.best_class(logits)[0]
    # A TopK of more rows than there are is an error at run time: empty rows fill it up.
    if padding := max(0, k - fewest):
        boxes, logits = (F.pad(x, (0, 0, 0, padding)) for x in (boxes, logits))
        score, objectness = (F.pad(x, (0, padding)) for x in (score, objectness))
    index = score.topk(k, dim=1).indices
    classes = detect.class_scores(_rows(logits, index))
    scores = objectness.gather(1, index).unsqueeze(-1) * classes
    return cxcywh_to_xyxy(_rows(boxes, index)), scores


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows [B, K, n] of values [B, N, n]."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


class Suppression(nn.Module):
    """From every box with its best class to `max_det` rows; unused rows have score 0.

    Args:
        options: thresholds and the number of rows.
        classes: number of classes.
        fewest: number of boxes at the smallest input that the graph accepts.
        most: number of boxes at the largest; None is any.
    """

    def __init__(self, options: ExportOptions, classes: int, fewest: int, most: int | None) -> None:
        super().__init__()
        self.options = options
        self.classes = classes
        self.rows = options.max_det
        candidates = NMS_CANDIDATES if most is None else min(NMS_CANDIDATES, most)
        self.candidates = max(self.rows, candidates)
        self.padding = max(0, self.candidates - fewest)

    def forward(self, boxes: Tensor, scores: Tensor, class_ids: Tensor) -> Rows:
        """Boxes [B, N, 4], best scores [B, N] and their classes [B, N] -> K rows."""
        if self.padding:
            boxes = F.pad(boxes, (0, 0, 0, self.padding))
            scores = F.pad(scores, (0, self.padding))
            class_ids = F.pad(class_ids, (0, self.padding))
        boxes, scores, class_ids = best(boxes, scores, class_ids, self.candidates)
        kept = keep_mask(
            boxes,
            scores,
            class_ids,
            self.classes,
            self.options.iou,
            self.options.conf,
            self.options.max_det,
        )
        return best(boxes, scores * kept, class_ids, self.rows)


@torch.library.custom_op("yolov4sdk::keep_mask", mutates_args=())
def keep_mask(
    boxes: Tensor,
    scores: Tensor,
    class_ids: Tensor,
    classes: int,
    iou: float,
    conf: float,
    max_det: int,
) -> Tensor:
    """1 for boxes that class-wise suppression keeps, else 0: float32 [B, K].

    It exists to be traced: torch has no such operator, so it is carried through the trace under
    this name and translated by `keep_mask_to_onnx`.
    """
    raise NotImplementedError("only traced for export; results.postprocess.nms runs in NumPy")


@keep_mask.register_fake
def _(
    boxes: Tensor,
    scores: Tensor,
    class_ids: Tensor,
    classes: int,
    iou: float,
    conf: float,
    max_det: int,
) -> Tensor:
    return torch.empty_like(scores)


def keep_mask_to_onnx(
    boxes: Any, scores: Any, class_ids: Any, classes: int, iou: float, conf: float, max_det: int
) -> Any:
    """`keep_mask` by ONNX NonMaxSuppression, which is class-wise on scores [B, C, K].

    A box scores only in its own class, so its index pair (image, box) occurs once at most.
    """
    ids = op.Constant(value_ints=list(range(classes)))
    own = op.Equal(
        op.Unsqueeze(class_ids, op.Constant(value_ints=[1])),
        op.Unsqueeze(ids, op.Constant(value_ints=[0, 2])),
    )  # [B, C, K]
    zero = op.Constant(value_float=0.0)
    by_class = op.Where(own, op.Unsqueeze(scores, op.Constant(value_ints=[1])), zero)
    selected = op.NonMaxSuppression(
        boxes,
        by_class,
        op.Constant(value_ints=[max_det]),
        op.Constant(value_floats=[iou]),
        op.Constant(value_floats=[conf]),
    )  # [S, 3]: image, class, box
    pairs = op.Gather(selected, op.Constant(value_ints=[0, 2]), axis=1)
    count = op.Gather(op.Shape(selected), op.Constant(value_ints=[0]), axis=0)
    ones = op.Expand(op.Constant(value_float=1.0), count)
    return op.ScatterND(op.Mul(scores, zero), pairs, ones)


TRANSLATIONS: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    torch.ops.yolov4sdk.keep_mask.default: keep_mask_to_onnx,
}
"""For torch.onnx.export's custom_translation_table."""
