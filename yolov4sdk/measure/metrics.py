"""Figures from detections and labels: COCO's mAP, curves over the confidence, confusion."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.errors import MissingExtraError
from yolov4sdk.results.postprocess import box_iou

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COCO_MAX_DETECTIONS = 100  # per image and class; COCO's evaluation looks at no more
CURVE_IOU = 0.5
CONFUSION_CONF, CONFUSION_IOU = 0.25, 0.45  # the thresholds of use, not those of evaluation
CONFIDENCES = np.linspace(0.0, 1.0, 501)


class Prediction(NamedTuple):
    """What was found in one image, best first.

    Attributes:
        xyxy: float32 [M, 4], pixels of the image's own.
        scores: float32 [M], 0 to 1.
        class_ids: int64 [M].
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


@dataclass(frozen=True)
class CocoMetrics:
    """COCO's figures, 0 to 1; NaN where there is nothing to measure (no such boxes).

    Attributes:
        ap, ap50, ap75: average precision at IoU 0.50 to 0.95, 0.50 and 0.75, mean over classes.
        ap_small, ap_medium, ap_large: `ap` of boxes under 32 x 32, up to 96 x 96, and above.
        ar100: average recall at IoU 0.50 to 0.95 with 100 detections an image and class.
        class_ap, class_ap50, class_ap75: float64 [C], of each class.
        class_sizes: float64 [C, 3], `ap` of small, medium and large boxes of each class.
        precision: float64 [C, 101], precision at IoU 0.50 for recall 0.00, 0.01, ... 1.00.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar100: float
    class_ap: Floats
    class_ap50: Floats
    class_ap75: Floats
    class_sizes: Floats
    precision: Floats


@dataclass(frozen=True)
class Curves:
    """Precision, recall and F1 at IoU 0.5 over the confidence threshold.

    Attributes:
        confidence: float64 [501], 0 to 1.
        precision, recall, f1: float64 [C, 501]; NaN rows for classes without labels.
    """

    confidence: Floats
    precision: Floats
    recall: Floats
    f1: Floats

    @property
    def best(self) -> int:
        """Index of the confidence with the highest F1, mean over the classes."""
        labelled = ~np.isnan(self.f1[:, 0])
        return int(self.f1[labelled].mean(axis=0).argmax()) if labelled.any() else 0


def coco_metrics(
    dataset: DetectionDataset,
    predictions: Sequence[Prediction],
    max_det: int = COCO_MAX_DETECTIONS,
) -> CocoMetrics:
    """COCO's own evaluation (faster-coco-eval, equal to pycocotools), in original pixels.

    Args:
        dataset: the labels; its ignored boxes count neither for nor against.
        predictions: one for each image, in the data set's order.
        max_det: detections looked at, per image and class; images of hundreds of objects
            need more than COCO's 100.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise MissingExtraError("COCO's evaluation", "eval", "faster-coco-eval") from None
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(coco_labels(dataset))
        found = truth.loadRes(coco_results(predictions, max_det))
        evaluation = COCOeval_faster(truth, found, "bbox", print_function=lambda *_: None)
        evaluation.params.maxDets = [1, 10, max_det]
        evaluation.evaluate()
        evaluation.accumulate()
    # Axes: IoU threshold [10], recall [101], class [C], area (all, small, medium, large) [4],
    # detections (1, 10, 100) [3]. -1 marks what has no labels.
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])[..., -1]
    precision = np.where(precision < 0, np.nan, precision)
    classes = range(dataset.nc)
    return CocoMetrics(
        ap=_mean(precision[..., 0]),
        ap50=_mean(precision[0, ..., 0]),
        ap75=_mean(precision[5, ..., 0]),
        ap_small=_mean(precision[..., 1]),
        ap_medium=_mean(precision[..., 2]),
        ap_large=_mean(precision[..., 3]),
        ar100=_mean(np.where(recall < 0, np.nan, recall)[..., 0]),
        class_ap=np.array([_mean(precision[:, :, c, 0]) for c in classes]),
        class_ap50=np.array([_mean(precision[0, :, c, 0]) for c in classes]),
        class_ap75=np.array([_mean(precision[5, :, c, 0]) for c in classes]),
        class_sizes=np.array([[_mean(precision[:, :, c, a]) for a in (1, 2, 3)] for c in classes]),
        precision=precision[0, :, :, 0].T,
    )


def coco_labels(dataset: DetectionDataset) -> dict[str, Any]:
    """The labels as a COCO detection file's content; image ids are indices, class ids stay."""
    annotations: list[dict[str, Any]] = []
    for image in range(len(dataset)):
        for crowd, (xyxy, ids) in enumerate(
            (dataset.boxes_xyxy(image), dataset.ignored_xyxy(image))
        ):
            own = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
            given = dataset.areas[image] if dataset.areas and not crowd else own
            areas = np.where(np.isnan(given), own, given)
            for (x1, y1, x2, y2), class_id, area in zip(
                xyxy.tolist(), ids.tolist(), areas.tolist(), strict=True
            ):
                annotations.append(
                    {
                        "id": len(annotations) + 1,  # COCO's matching takes 0 for "no match"
                        "image_id": image,
                        "category_id": class_id,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": area,
                        "iscrowd": crowd,
                    }
                )
    return {
        "info": {},
        "images": [
            {"id": i, "file_name": path.name, "height": int(h), "width": int(w)}
            for i, (path, (h, w)) in enumerate(zip(dataset.images, dataset.sizes, strict=True))
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(dataset.names)],
        "annotations": annotations,
    }


def coco_results(predictions: Sequence[Prediction], max_det: int = COCO_MAX_DETECTIONS) -> Floats:
    """Detections as COCO's rows (image, x, y, w, h, score, class), float64 [N, 7].

    Those past the `max_det` best of an image and class are left out: the evaluation does not
    read them.
    """
    rows = [np.zeros((0, 7))]
    for image, (xyxy, scores, ids) in enumerate(predictions):
        order = np.lexsort((-scores, ids))  # by class, best first
        rank = np.arange(len(order)) - np.searchsorted(ids[order], ids[order])
        kept = np.sort(order[rank < max_det])
        boxes = xyxy[kept].astype(np.float64)
        rows.append(
            np.column_stack(
                [
                    np.full(len(kept), image),
                    boxes[:, :2],
                    boxes[:, 2:] - boxes[:, :2],
                    scores[kept],
                    ids[kept],
                ]
            )
        )
    return np.concatenate(rows)


def confidence_curves(dataset: DetectionDataset, predictions: Sequence[Prediction]) -> Curves:
    """Precision, recall and F1 of each class at IoU 0.5 for every confidence threshold.

    A detection is right when it is the best one on a box of its class. Detections on ignored
    boxes count for nothing.
    """
    hits, scores, ids = [np.zeros(0, bool)], [np.zeros(0)], [np.zeros(0, np.int64)]
    for image, prediction in enumerate(predictions):
        right, counted = _match_classwise(dataset, image, prediction)
        hits.append(right[counted])
        scores.append(prediction.scores[counted].astype(np.float64))
        ids.append(prediction.class_ids[counted])
    hit, score, class_id = np.concatenate(hits), np.concatenate(scores), np.concatenate(ids)
    labels = dataset.class_counts()
    precision = np.full((dataset.nc, len(CONFIDENCES)), np.nan)
    recall = precision.copy()
    for c in np.flatnonzero(labels):
        mine = class_id == c
        order = np.argsort(score[mine])
        ascending, right = score[mine][order], hit[mine][order].astype(np.int64)
        start = np.searchsorted(ascending, CONFIDENCES)  # detections from here on are kept
        true = np.concatenate([np.cumsum(right[::-1])[::-1], [0]])[start]
        kept = len(ascending) - start
        # Without detections none is wrong: a precision of 1, by convention.
        precision[c] = np.where(kept > 0, true / np.maximum(kept, 1), 1.0)
        recall[c] = true / labels[c]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return Curves(CONFIDENCES, precision, recall, f1)


def confusion_matrix(dataset: DetectionDataset, predictions: Sequence[Prediction]) -> Ints:
    """Which class is taken for which, at confidence 0.25 and IoU 0.45.

    Returns:
        int64 [C + 1, C + 1]: rows are labels, columns detections; the last row is background
        that was detected, the last column boxes that were missed.
    """
    nc = dataset.nc
    matrix = np.zeros((nc + 1, nc + 1), np.int64)
    for image, prediction in enumerate(predictions):
        match = match_image(dataset, image, prediction)
        _, labels = dataset.boxes_xyxy(image)
        for label, found in match.pairs:
            matrix[labels[label], prediction.class_ids[found]] += 1
        matrix[:nc, nc] += np.bincount(labels[match.missed], minlength=nc)
        matrix[nc, :nc] += np.bincount(prediction.class_ids[match.false], minlength=nc)
    return matrix


class Match(NamedTuple):
    """What became of the labels of one image, at confidence 0.25 and IoU 0.45.

    Attributes:
        pairs: (label, detection) that lie on one another, of any classes.
        missed: labels without a detection.
        false: detections without a label.
    """

    pairs: list[tuple[int, int]]
    missed: list[int]
    false: list[int]


def match_image(dataset: DetectionDataset, image: int, prediction: Prediction) -> Match:
    """Pair the labels of an image with the detections above the confidence, by overlap.

    Any class may match; of equal overlaps the right class goes first. Detections on ignored boxes
    count for nothing.
    """
    xyxy, scores, ids = prediction
    sure = np.flatnonzero(scores > CONFUSION_CONF)
    truth, labels = dataset.boxes_xyxy(image)
    overlap = box_iou(truth, xyxy[sure])  # [G, M]
    candidates = np.argwhere(overlap > CONFUSION_IOU)
    free, unused = np.ones(len(labels), bool), np.ones(len(sure), bool)
    same = labels[candidates[:, 0]] == ids[sure][candidates[:, 1]]
    pairs = []
    order = np.lexsort((~same, -overlap[candidates[:, 0], candidates[:, 1]]))
    for g, m in candidates[order]:
        if free[g] and unused[m]:
            free[g] = unused[m] = False
            pairs.append((int(g), int(sure[m])))
    ignored, _ = dataset.ignored_xyxy(image)
    unused &= ~(_covered(xyxy[sure], ignored) > CURVE_IOU)
    return Match(pairs, np.flatnonzero(free).tolist(), sure[unused].tolist())


def _match_classwise(
    dataset: DetectionDataset, image: int, prediction: Prediction
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each detection whether it is right, and whether it counts at all."""
    xyxy, scores, ids = prediction
    truth, labels = dataset.boxes_xyxy(image)
    overlap = box_iou(xyxy, truth)
    overlap[ids[:, None] != labels[None, :]] = 0
    right = np.zeros(len(ids), bool)
    taken = np.zeros(len(labels), bool)
    candidates = np.flatnonzero((overlap >= CURVE_IOU).any(axis=1))
    for m in candidates[np.argsort(-scores[candidates], kind="stable")]:
        best = np.where(taken, 0, overlap[m]).argmax()
        if not taken[best] and overlap[m, best] >= CURVE_IOU:
            right[m] = taken[best] = True
    ignored, ignored_ids = dataset.ignored_xyxy(image)
    excused = np.zeros(len(ids), bool)
    for c in np.unique(ignored_ids):
        mine = ids == c
        excused[mine] = _covered(xyxy[mine], ignored[ignored_ids == c]) >= CURVE_IOU
    return right, right | ~excused


def _covered(xyxy: NDArray[np.float32], regions: NDArray[np.float32]) -> NDArray[np.float32]:
    """[M]: the largest part of each box that one of the regions covers, as COCO does for crowds."""
    if not len(regions):
        return np.zeros(len(xyxy), np.float32)
    low = np.maximum(xyxy[:, None, :2], regions[None, :, :2])
    high = np.minimum(xyxy[:, None, 2:], regions[None, :, 2:])
    inside = np.prod(np.maximum(high - low, 0), axis=2)  # [M, R]
    area = np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)
    result: NDArray[np.float32] = (inside / np.maximum(area, 1e-9)[:, None]).max(axis=1)
    return result


def _mean(values: Floats) -> float:
    """The mean of what is not NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
