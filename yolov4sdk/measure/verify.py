"""Artefacts against each other: the one comparator of what two graphs say about the same images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ..backends import Outputs, load_backend
from ..contract.contract import Resize
from ..contract.spec import ModelSpec
from ..errors import SettingError, TensorError
from ..imaging.images import read_image
from ..imaging.preprocess import LETTERBOX, letterbox, letterbox_plan
from ..pipeline import Pipeline
from ..results.postprocess import box_iou, nms, suppress

MATCH_IOU: Final = 0.9
"""Two detections match when they overlap by more than this and have the same class."""
CHUNK: Final = 16
"""Images that are in memory at a time."""
REDUCED: Final = {"best", "topk"}
"""Forms of outputs whose rows are a choice among all boxes."""
NEARBY: Final = 0.05
"""How far a box's partner is looked for, in parts of its largest coordinate."""

Rows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]
"""xyxy [M, 4], scores [M], class ids [M] of one image, best first."""


Errors = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Of boxes and of scores."""


class Runner(Protocol):
    """What is compared: any backend, or something else that runs a batch."""

    spec: ModelSpec

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """As `Backend.infer`."""
        ...


@dataclass(frozen=True)
class Agreement:
    """How well outputs agree with a reference.

    The error of b against a is |a-b| / max(1, |a|); of a box, |a| is its largest coordinate.

    Attributes:
        boxes_max, boxes_mean: error of the boxes; of full outputs every box counts.
        scores_max, scores_mean: error of the scores.
        detections: after suppression, on the side that has more.
        unmatched: of them, those without a partner (IoU > 0.9, same class) on the other side.
        images: how many were compared.
    """

    boxes_max: float
    boxes_mean: float
    scores_max: float
    scores_mean: float
    detections: int
    unmatched: int
    images: int

    @property
    def matched(self) -> float:
        """Share of the detections that have a partner; 1.0 where there are none."""
        return 1 - self.unmatched / self.detections if self.detections else 1.0

    def to_dict(self) -> dict[str, float | int]:
        """For JSON."""
        return {**asdict(self), "matched": self.matched}


@dataclass(frozen=True)
class Result:
    """What one graph said about some images.

    Attributes:
        outputs: the arrays.
        form: `ModelSpec.outputs` of the graph.
    """

    outputs: Outputs
    form: str

    @property
    def rows(self) -> int:
        """Boxes an image."""
        return int(self.outputs.boxes.shape[1])


def compare(
    reference: Result,
    other: Result,
    *,
    conf: float = 0.25,
    iou: float = 0.45,
    max_det: int = 300,
) -> Agreement:
    """Compare two results for the same images.

    Full outputs are compared value by value. The rows of a "best" or "topk" graph may come in
    another order where scores nearly tie: each is compared with the closest row of the other side;
    of two such graphs the better half, since near the last row each may have others. A graph with
    suppression inside ("nms") is compared by its detections, those that match.

    Args:
        reference: of any form.
        other: of any form.
        conf, iou, max_det: make detections of the outputs; of a graph with suppression inside
            they are its own.

    Raises:
        TensorError: shapes that cannot belong to the same images and model.
    """
    images = len(reference.outputs.boxes)
    if len(other.outputs.boxes) != images:
        found = len(other.outputs.boxes)
        raise TensorError(f"results for {images} and for {found} images cannot be compared")
    with np.errstate(all="ignore"):  # NaN and infinite values show as errors
        return _compare(reference, other, images, conf=conf, iou=iou, max_det=max_det)


def _compare(reference: Result, other: Result, images: int, **thresholds: Any) -> Agreement:
    k = min((r.rows for r in (reference, other) if r.form in REDUCED), default=None)
    detections = unmatched = 0
    errors: list[Errors] = []
    for image in range(images):
        ours, theirs = (_suppressed(side, image, k, **thresholds) for side in (reference, other))
        pairs = _matches(ours, theirs)
        detections += max(len(ours[1]), len(theirs[1]))
        unmatched += max(len(ours[1]), len(theirs[1])) - len(pairs)
        errors.append(_errors(reference, other, image, (ours, theirs), pairs))
    boxes, scores = (
        np.concatenate([part.reshape(-1) for part in p]) for p in zip(*errors, strict=True)
    )
    return Agreement(
        boxes_max=float(boxes.max(initial=0)),
        boxes_mean=float(boxes.mean()) if boxes.size else 0.0,
        scores_max=float(scores.max(initial=0)),
        scores_mean=float(scores.mean()) if scores.size else 0.0,
        detections=detections,
        unmatched=unmatched,
        images=images,
    )


def compare_artefacts(
    artefacts: Sequence[str | Path | Runner],
    images: Sequence[NDArray[np.uint8] | str | Path],
    *,
    size: tuple[int, int] | None = None,
    conf: float = 0.25,
    iou: float = 0.45,
) -> list[Agreement]:
    """Run artefacts on the same images and compare each with the first.

    Images are read and run a few at a time, so that any number of them fits into memory.

    Args:
        artefacts: files or loaded backends; the first is the reference.
        images: files, or uint8 BGR [H, W, 3] each.
        size: (height, width) of the input for dynamic artefacts; a fixed one decides by itself.
        conf: least score of the detections that are matched.
        iou: overlap above which the lesser of them is suppressed.

    Returns:
        One Agreement for each artefact but the first.

    Raises:
        SettingError: fewer than two artefacts, no images, different classes or fixed sizes.
        ImageError: an image cannot be read.
    """
    if len(artefacts) < 2 or not images:
        raise SettingError("a comparison needs at least two artefacts and one image")
    with ExitStack() as opened:
        loaded = [
            opened.enter_context(load_backend(a)) if isinstance(a, str | Path) else a
            for a in artefacts
        ]
        canvas = common_size([b.spec for b in loaded], size)
        parts: list[list[Agreement]] = []
        for start in range(0, len(images), CHUNK):
            pixels = [
                read_image(image) if isinstance(image, str | Path) else image
                for image in images[start : start + CHUNK]
            ]
            canvases = canvas_batch(pixels, canvas, loaded[0].spec.contract.input.resize)
            reference, *others = [run(backend, canvases) for backend in loaded]
            parts.append([compare(reference, other, conf=conf, iou=iou) for other in others])
    return [merge(column) for column in zip(*parts, strict=True)]


def merge(parts: Sequence[Agreement]) -> Agreement:
    """One agreement for the images of several; means are weighted by the number of images."""
    images = sum(part.images for part in parts)
    return Agreement(
        boxes_max=float(np.max([part.boxes_max for part in parts])),
        boxes_mean=sum(part.boxes_mean * part.images for part in parts) / images,
        scores_max=float(np.max([part.scores_max for part in parts])),
        scores_mean=sum(part.scores_mean * part.images for part in parts) / images,
        detections=sum(part.detections for part in parts),
        unmatched=sum(part.unmatched for part in parts),
        images=images,
    )


def canvas_batch(
    images: Sequence[NDArray[np.uint8]], size: tuple[int, int], resize: Resize = LETTERBOX
) -> NDArray[np.uint8]:
    """Letterbox images [H, W, 3] into one batch, uint8 [B, height, width, 3]."""
    stride = int(np.gcd(*size))  # the size is what counts here; the graphs check their own stride
    plans = [letterbox_plan(i.shape[:2], size, stride=stride, resize=resize) for i in images]
    return np.stack([letterbox(i, p, resize=resize) for i, p in zip(images, plans, strict=True)])


def run(runner: Runner, canvases: NDArray[np.uint8], batch: int = 1) -> Result:
    """Run canvases (uint8 BGR [n, H, W, 3]) in batches, and join the outputs.

    A graph of a fixed batch size gets that size.
    """
    pipeline = Pipeline(runner.spec.contract, runner)
    batch = runner.spec.batch or batch
    parts: list[Outputs] = []
    for start in range(0, len(canvases), batch):
        part = canvases[start : start + batch]
        used = len(part)
        boxes, scores, ids = pipeline.run(pipeline.input(part))
        parts.append(Outputs(boxes[:used], scores[:used], None if ids is None else ids[:used]))
    ids_parts = [part.class_ids for part in parts if part.class_ids is not None]
    joined = Outputs(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate(ids_parts) if ids_parts else None,
    )
    return Result(joined, runner.spec.outputs)


def error(reference: NDArray[np.float32], value: NDArray[np.float32]) -> NDArray[np.float32]:
    """|a - b| / max(1, |a|), by element."""
    result: NDArray[np.float32] = np.abs(reference - value) / np.maximum(1, np.abs(reference))
    return result


def box_error(reference: NDArray[np.float32], value: NDArray[np.float32]) -> NDArray[np.float32]:
    """|a - b| / max(1, |a|), |a| being the largest coordinate of the box; [..., 4] xyxy.

    A corner is the difference of a centre and half a size: its rounding is theirs, however near
    to zero it lies.
    """
    scale = np.maximum(1, np.abs(reference).max(axis=-1, keepdims=True))
    result: NDArray[np.float32] = np.abs(reference - value) / scale
    return result


def common_size(specs: Sequence[ModelSpec], size: tuple[int, int] | None) -> tuple[int, int]:
    """The (height, width) that artefacts of one model can all be given.

    Raises:
        SettingError: different classes, or different fixed sizes.
    """
    if len({spec.names for spec in specs}) != 1:
        raise SettingError("the artefacts have different classes; they are not the same model")
    fixed = {spec.input_size for spec in specs if not spec.dynamic_size}
    if size is not None:
        fixed.add(size)
    if len(fixed) > 1:
        raise SettingError(f"the artefacts take different sizes: {sorted(fixed)}; export one size")
    return fixed.pop() if fixed else specs[0].input_size


def _suppressed(result: Result, image: int, k: int | None, **thresholds: Any) -> Rows:
    """Detections of one image; k: a full output is cut to its best k rows first."""
    boxes, scores, class_ids = result.outputs
    if result.form == "nms":
        thresholds["iou"] = None
    if class_ids is not None:
        return suppress(boxes[image], scores[image], class_ids[image], **thresholds)
    if k is not None:
        return suppress(*_best_rows(result, image, k), **thresholds)
    return nms(boxes[image], scores[image], **thresholds)


def _errors(
    reference: Result,
    other: Result,
    image: int,
    detections: tuple[Rows, Rows],
    pairs: NDArray[np.int64],
) -> Errors:
    """Errors of the boxes and of the scores of one image, each of any shape."""
    (boxes, scores, _), (their_boxes, their_scores, _) = reference.outputs, other.outputs
    forms = {reference.form, other.form}
    if "nms" in forms:
        ours, theirs = detections
        mine, partner = pairs[:, 0], pairs[:, 1]
        return box_error(ours[0][mine], theirs[0][partner]), error(
            ours[1][mine], theirs[1][partner]
        )
    if forms & REDUCED:
        return _closest_errors(reference, other, image)
    if scores.shape != their_scores.shape:
        raise TensorError(
            f"scores {scores.shape} and {their_scores.shape} are of different models or sizes"
        )
    return box_error(boxes[image], their_boxes[image]), error(scores[image], their_scores[image])


def _closest_errors(reference: Result, other: Result, image: int) -> Errors:
    """Errors of each row of the smaller side against its closest row of the larger one."""
    small, large = sorted((reference, other), key=lambda side: side.rows)
    both_cut = small.form in REDUCED and large.form in REDUCED
    rows = _used_rows(small, image, small.rows)
    partners = _used_rows(large, image, large.rows)
    if both_cut:
        rows = tuple(part[: (len(part) + 1) // 2] for part in rows)  # type: ignore[assignment]
    classes = None
    if small.outputs.class_ids is None and large.outputs.class_ids is None:
        classes = [side.outputs.scores[image][_order(side, image)] for side in (small, large)]
    boxes = np.full(len(rows[1]), np.inf, np.float32)
    scores = boxes.copy()
    if len(partners[1]) == 0:
        return boxes, scores
    order = np.argsort(partners[0][:, 0])  # by their left edge, to look at those nearby only
    partners = tuple(part[order] for part in partners)  # type: ignore[assignment]
    left = partners[0][:, 0]
    for i, (box, score, class_id) in enumerate(zip(*rows, strict=True)):
        reach = NEARBY * max(1, float(np.abs(box).max()))
        first, last = np.searchsorted(left, (box[0] - reach, box[0] + reach))
        near = slice(first, last) if first < last else slice(None)
        box_errors = box_error(partners[0][near], box).max(axis=1)
        score_errors = error(partners[1][near], score)
        closest = np.argmin(box_errors + score_errors + (partners[2][near] != class_id))
        boxes[i], scores[i] = box_errors[closest], score_errors[closest]
        if classes is not None:
            wanted, found = classes[0][i], classes[1][order][near][closest]
            scores[i] = error(wanted, found).max()
    return boxes, scores


def _used_rows(result: Result, image: int, k: int) -> Rows:
    """The best k rows of a full output, or the rows of a reduced one that are in use."""
    boxes, scores, class_ids = result.outputs
    if class_ids is None:
        return _best_rows(result, image, k)
    used = scores[image] != 0  # NaN counts as used, and shows as an error
    return boxes[image][used], scores[image][used], class_ids[image][used]


def _best_rows(result: Result, image: int, k: int) -> Rows:
    """The k boxes of a full output with the highest scores, each with its best class."""
    boxes, scores = result.outputs.boxes[image], result.outputs.scores[image]
    order = _order(result, image)[:k]
    return boxes[order], scores[order].max(axis=1), scores[order].argmax(axis=1)


def _order(result: Result, image: int) -> NDArray[np.int64]:
    """The rows of a full output by their best class, best first."""
    return np.argsort(-result.outputs.scores[image].max(axis=1), kind="stable")


def _matches(ours: Rows, theirs: Rows) -> NDArray[np.int64]:
    """Index pairs [M, 2] of detections that are partners, each used once, best first."""
    fits = (box_iou(ours[0], theirs[0]) > MATCH_IOU) & (ours[2][:, None] == theirs[2][None])
    free = np.ones(len(theirs[0]), bool)
    pairs = []
    for i, row in enumerate(fits):
        partners = np.flatnonzero(row & free)
        if len(partners):
            free[partners[0]] = False
            pairs.append((i, partners[0]))
    return np.asarray(pairs, np.int64).reshape(-1, 2)
