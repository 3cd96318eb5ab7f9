"""Non-maximum suppression: the one definition of it, for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError

_FEW: Final = 128  # boxes of which all pairs are compared at once
_LEAST_AREA: Final = np.float32(1e-9)  # boxes without area overlap nothing, and divide nothing

Boxes = NDArray[np.float32]
Confidence = float | NDArray[np.float32]
"""One threshold for all classes, or float32 [C]: one for each."""
Kept = tuple[Boxes, NDArray[np.float32], NDArray[np.int64]]


def nms(
    boxes: Boxes,
    scores: NDArray[np.float32],
    *,
    conf: Confidence = 0.25,
    iou: float | None = 0.45,
    max_det: int = 300,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
    multi_label: bool = False,
) -> Kept:
    """Keep the best boxes of one image.

    Greedy: the best box stays and removes every lesser one of its class that overlaps it by more
    than `iou`. The answer depends only on this image, and on no clock.

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N, C], objectness x class probability, in 0..1.
        conf: candidates score more than this; float32 [C] gives each class its own, which
            is asked of a box's best class.
        iou: intersection over union above which the lesser box goes; None where no box goes for
            its overlap (the graph has suppressed them itself).
        max_det: at most this many are kept.
        classes: class ids to keep; a box's best class is found before this filter.
        agnostic: boxes of different classes remove one another too.
        multi_label: a box is a candidate for every class above `conf`, not only for its best.

    Returns:
        Boxes [M, 4], scores [M], class ids [M], best first; equal scores in the order of the rows.

    Raises:
        SettingError: a threshold outside 0..1, or max_det below 1.
    """
    check_thresholds(conf, iou, max_det)
    rows, ids = _candidates(scores, conf, multi_label)
    return suppress(
        boxes[rows], scores[rows, ids], ids,
        iou=iou, max_det=max_det, classes=classes, agnostic=agnostic,
    )  # fmt: skip


def suppress(
    boxes: Boxes,
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int64],
    *,
    conf: Confidence = 0.0,
    iou: float | None = 0.45,
    max_det: int = 300,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
) -> Kept:
    """`nms` on candidates that have one class each, as reduced graphs give them.

    Args:
        boxes: float32 [K, 4], xyxy.
        scores: float32 [K]; rows that are not above `conf` (of their class) are left out.
        class_ids: int64 [K].
    """
    check_thresholds(conf, iou, max_det)
    least = conf[class_ids] if isinstance(conf, np.ndarray) else conf
    chosen = scores > least
    finite = np.isfinite(boxes)
    if not finite.all():  # which is rare, and to look row by row takes ten times as long
        chosen &= finite.all(axis=1)
    if classes is not None:
        chosen &= np.isin(class_ids, list(classes))
    if not chosen.all():
        boxes, scores, class_ids = boxes[chosen], scores[chosen], class_ids[chosen]
    order = _best_first(scores)
    boxes, scores, class_ids = boxes[order], scores[order], class_ids[order].astype(np.int64)
    if iou is None:
        return boxes[:max_det], scores[:max_det], class_ids[:max_det]
    greedy = _greedy_of_few if len(boxes) <= _FEW else _greedy
    keep = greedy(boxes, None if agnostic else class_ids, iou, max_det)
    return boxes[keep], scores[keep], class_ids[keep]


def check_thresholds(conf: Confidence, iou: float | None, max_det: int) -> None:
    """Raise SettingError unless 0 <= conf <= 1 (each), 0 <= iou <= 1 and max_det >= 1."""
    each = conf.tolist() if isinstance(conf, np.ndarray) else [conf]
    overlap = 0.0 if iou is None else iou
    for name, value in (*(("conf", value) for value in each), ("iou", overlap)):
        if not 0 <= value <= 1:
            raise SettingError(f"{name} must be between 0 and 1, got {value!r}")
    if max_det < 1:
        raise SettingError(f"max_det must be at least 1, got {max_det!r}")


def _candidates(
    scores: NDArray[np.float32], conf: Confidence, multi_label: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and class ids above `conf`, in the order of the rows."""
    rows, ids = np.divmod(np.flatnonzero(scores > conf), scores.shape[1])
    if multi_label:
        return rows, ids
    # Few rows have any class above the threshold: only these are searched for their best.
    rows = rows[np.diff(rows, prepend=-1) > 0]
    ids = scores[rows].argmax(axis=1)
    if isinstance(conf, np.ndarray):  # a lesser class may have been above its own threshold
        best = scores[rows, ids] > conf[ids]
        rows, ids = rows[best], ids[best]
    return rows, ids


def _best_first(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices by falling score, equal ones in their order; of scores of at least 0.

    The bits of such floats, read as integers, have the order of the floats. With the index below
    them they are distinct, so that NumPy's fastest sort, which is not stable, gives a stable order.
    """
    bits = np.ascontiguousarray(scores, np.float32).view(np.int32)
    return _sorted(-bits.astype(np.int64))[0]


def _sorted(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices and values in rising order, equal ones in their order; |keys| < 2^31."""
    packed = (keys << 32) | np.arange(len(keys))
    packed.sort()
    return packed & 0xFFFFFFFF, packed >> 32


def _greedy(
    boxes: Boxes, class_ids: NDArray[np.int64] | None, iou: float, max_det: int
) -> NDArray[np.int64]:
    """Indices that stay, of boxes sorted best first.

    Each box that stays is compared only with the lesser ones of its class, and the work ends with
    max_det of them: the time grows as max_det x N / classes at most. Classes are grouped, not told
    apart by shifted coordinates: a shift costs float32 digits.
    """
    count = len(boxes)
    groups = np.zeros(count, np.int64) if class_ids is None else class_ids
    members, ids = _sorted(groups)  # class by class, each best first
    place = np.empty(count, np.int64)
    place[members] = np.arange(count)
    lasts = np.append(np.flatnonzero(np.diff(ids)) + 1, count)
    ends = np.repeat(lasts, np.diff(lasts, prepend=0))  # of the class at each place
    # (x1, y1, -x2, -y2): the maximum of two is their common part.
    corners = np.ascontiguousarray(boxes[members].T)
    areas = np.maximum((corners[2] - corners[0]) * (corners[3] - corners[1]), _LEAST_AREA)
    corners[2:] *= -1
    alive = np.ones(count, bool)
    kept: list[int] = []
    best = 0
    while len(kept) < max_det and best < count:
        best += int(alive[best:].argmax())  # the next that is left; dead itself when none is
        if not alive[best]:
            break
        kept.append(best)
        at = place[best]
        rest = slice(at + 1, ends[at])
        common = np.maximum(corners[:, rest], corners[:, at, None])
        sides = np.minimum(common[:2] + common[2:], 0)  # both negative where boxes overlap
        shared = sides[0] * sides[1]
        union = areas[rest] + areas[at] - shared
        alive[members[rest][shared / union > iou]] = False
        alive[best] = False
    return np.array(kept, np.int64)


def _greedy_of_few(
    boxes: Boxes, class_ids: NDArray[np.int64] | None, iou: float, max_det: int
) -> NDArray[np.int64]:
    """`_greedy` with one table of all overlaps: a quarter of the time for a hundred boxes."""
    removes = box_iou(boxes, boxes) > iou
    if class_ids is not None:
        removes &= class_ids[:, None] == class_ids
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for best in range(len(boxes)):
        if alive[best]:
            kept.append(best)
            if len(kept) == max_det:
                break
            alive[removes[best]] = False
    return np.array(kept, np.int64)


def box_iou(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """Intersection over union of all pairs, float32 [N, M], of xyxy boxes [N, 4] and [M, 4].

    Boxes without area overlap nothing.
    """
    x1, y1, x2, y2 = (first[:, i, None] for i in range(4))
    u1, v1, u2, v2 = (second[None, :, i] for i in range(4))
    width = np.minimum(x2, u2) - np.maximum(x1, u1)
    height = np.minimum(y2, v2) - np.maximum(y1, v1)
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - intersection
    result: NDArray[np.float32] = intersection / np.maximum(union, _LEAST_AREA)
    return result
