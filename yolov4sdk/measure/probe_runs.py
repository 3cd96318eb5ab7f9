"""Runs of a foreign graph on pictures, read by several declarations at once.

A declaration reads the outputs of a run; those that give the graph the same input share it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ..backends.base import Outputs
from ..contract.contract import GraphContract, InputContract
from ..conventions import decode
from ..errors import YOLOv4Error
from ..imaging.images import read_image
from ..imaging.preprocess import letterbox, letterbox_plan, to_input
from ..results.postprocess import box_iou, suppress
from .classes import SharedClasses
from .metrics import Prediction

Image: TypeAlias = NDArray[np.uint8]
Raw: TypeAlias = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
_MOST: Final = 1000
"""Candidates of a picture that are suppressed: a wrong reading has hundreds of thousands."""
_GREY: Final = 114
_SMALLER: Final = 0.75
SWAP: Final = "color swap"


@dataclass(frozen=True)
class View:
    """A picture seen otherwise.

    Attributes:
        name: in words.
        change: BGR [H, W, 3] -> the same size.
        back: boxes xyxy [N, 4] in it -> boxes in the picture; (height, width) are its sides.
    """

    name: str
    change: Callable[[Image], Image]
    back: Callable[[NDArray[np.float32], int, int], NDArray[np.float32]]


def _mirrored(boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    result = boxes.copy()
    result[:, [0, 2]] = width - boxes[:, [2, 0]]
    return result


def _offset(height: int, width: int) -> tuple[int, int]:
    return height // 12, width // 16


def _shift(image: Image) -> Image:
    down, right = _offset(*image.shape[:2])
    moved = np.full_like(image, _GREY)
    moved[down:, right:] = image[: image.shape[0] - down, : image.shape[1] - right]
    return moved


def _unshifted(boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    down, right = _offset(height, width)
    return boxes - np.array([right, down, right, down], np.float32)


def _shrink(image: Image) -> Image:
    height, width = (max(1, round(side * _SMALLER)) for side in image.shape[:2])
    smaller = np.full_like(image, _GREY)
    smaller[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return smaller


PLAIN: Final = View("plain", lambda image: image, lambda boxes, height, width: boxes)
VIEWS: Final = (
    PLAIN,
    View("mirror", lambda image: np.ascontiguousarray(image[:, ::-1]), _mirrored),
    View("shift", _shift, _unshifted),
    View("scale", _shrink, lambda boxes, height, width: boxes / np.float32(_SMALLER)),
)
"""Beside them the color swap: a run of the plain picture in the other order of channels."""


@dataclass
class Reading:
    """What one declaration makes of the pictures.

    Attributes:
        contract: the declaration with a file's facts.
        found: for each picture its predictions by the name of the view, in the picture's pixels.
        fault: why it cannot be right; empty where nothing speaks against it.
    """

    contract: GraphContract
    found: list[dict[str, Prediction]]
    fault: str = ""


def read_pictures(
    raw: Raw,
    pictures: Sequence[Path],
    contracts: Sequence[GraphContract],
    *,
    views: Sequence[View] = (PLAIN,),
    swap: bool = False,
    conf: float = 0.1,
    iou: float = 0.65,
    shared: SharedClasses | None = None,
    progress: Callable[[], None] = lambda: None,
) -> list[Reading]:
    """The predictions of each declaration on each picture and view.

    Args:
        raw: runs the graph: its inputs by name -> its outputs by name.
        pictures: files; one is in memory at a time.
        contracts: what to read the outputs by.
        views: how the pictures are shown.
        swap: also with the channels in the other order.
        conf: predictions score more than this.
        iou: overlap above which the lesser box goes, where the graph has not done it.
        shared: the classes to keep; None keeps all.
        progress: called after each picture.
    """
    readings = [Reading(contract, []) for contract in contracts]
    inputs = dict.fromkeys(contract.input for contract in contracts)
    if swap:
        inputs |= dict.fromkeys(_swapped(taken) for taken in list(inputs))
    for path in pictures:
        image = read_image(path)
        for reading in readings:
            reading.found.append({})
        for view in views:
            shown = view.change(image)
            for taken in inputs:
                wanted = [(r, view.name) for r in readings if r.contract.input == taken]
                if swap and view is PLAIN:
                    wanted += [(r, SWAP) for r in readings if _swapped(r.contract.input) == taken]
                wanted = [(r, name) for r, name in wanted if not r.fault]
                if wanted:
                    _run(raw, shown, taken, view, wanted, (conf, iou, shared))
        progress()
    return readings


def _swapped(taken: InputContract) -> InputContract:
    return replace(taken, color="BGR" if taken.color == "RGB" else "RGB")


def _run(
    raw: Raw, image: Image, taken: InputContract, view: View,
    wanted: Sequence[tuple[Reading, str]], options: tuple[float, float, SharedClasses | None],
) -> None:  # fmt: skip
    """One run of the graph, for all readings that want it."""
    height, width = image.shape[:2]
    try:
        plan = letterbox_plan(
            (height, width), taken.size, stride=taken.multiple, resize=taken.resize
        )
        canvas = letterbox(image, plan, resize=taken.resize)[None]
        batch = to_input(canvas, taken, bgr=True)
        count = wanted[0][0].contract.batch or 1
        outputs = raw(taken.feeds(np.repeat(batch, count, axis=0)))
    except YOLOv4Error as error:
        for reading, _ in wanted:
            reading.fault = str(error)
        return
    for reading, name in wanted:
        try:
            decoded = decode(outputs, reading.contract, plan.canvas)
            reading.fault = reading.fault or _fault(decoded)
            boxes, scores, ids = _kept(decoded, reading.contract, *options)
        except YOLOv4Error as error:
            reading.fault = str(error)
            continue
        own = plan.to_source(boxes)
        reading.found[-1][name] = Prediction(view.back(own, height, width), scores, ids)


def _fault(outputs: Outputs) -> str:
    """What no detector gives."""
    scores = outputs.scores
    if not np.isfinite(scores).all():
        return "scores are not finite"
    if scores.size and (scores.min() < -1e-3 or scores.max() > 1 + 1e-3):
        return f"scores from {scores.min():.3g} to {scores.max():.3g}, not in 0..1"
    return ""


def _kept(
    outputs: Outputs, contract: GraphContract, conf: float, iou: float,
    shared: SharedClasses | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:  # fmt: skip
    """The first image's candidates above `conf`, suppressed unless the graph has done it."""
    if shared is not None:
        boxes, scores, ids = shared.select(outputs, 0)
    else:
        boxes, scores = outputs.boxes[0], outputs.scores[0]
        ids = None if outputs.class_ids is None else outputs.class_ids[0]
    if ids is None:
        rows, ids = np.nonzero(scores > conf)
        boxes, scores = boxes[rows], scores[rows, ids]
    if len(scores) > _MOST:
        best = np.argpartition(-scores, _MOST)[:_MOST]
        boxes, scores, ids = boxes[best], scores[best], ids[best]
    return suppress(
        boxes, scores, ids, conf=conf, max_det=100,
        iou=1.0 if contract.output.suppressed else iou,
        agnostic=contract.output.suppression == "agnostic",
    )  # fmt: skip


def consistency(found: Sequence[Mapping[str, Prediction]]) -> float:
    """How far the predictions of a picture stay when it is shown otherwise, 0 to 1.

    Of each pair of the plain picture and another view, boxes of one class that overlap by more
    than half are the same one: such a pair adds the root of its scores' product times the overlap
    to the agreement, other boxes half of their score to the disagreement. The result is the
    agreement's share, times a / (1 + a) of the mean agreement a of a pair: few or faint boxes that
    agree say less than many sure ones.
    """
    agreed, differed, pairs = 0.0, 0.0, 0
    for views in found:
        plain = views.get(PLAIN.name)
        for name, other in views.items():
            if plain is None or name == PLAIN.name:
                continue
            same, total = _agreement(plain, other)
            agreed, pairs = agreed + same, pairs + 1
            differed += total
    if not agreed:
        return 0.0
    return agreed / (agreed + differed) * agreed / (agreed + pairs)


def _agreement(first: Prediction, second: Prediction) -> tuple[float, float]:
    """What agrees, and half of the scores of what does not."""
    overlap = box_iou(first.xyxy, second.xyxy)
    overlap[first.class_ids[:, None] != second.class_ids] = 0
    free = np.ones(len(second.scores), bool)
    agreed, left = 0.0, float(second.scores.sum())
    for row, score in enumerate(first.scores.tolist()):  # best first
        shares = np.where(free, overlap[row], 0)
        at = int(shares.argmax()) if shares.size else -1
        if at < 0 or shares[at] <= 0.5:
            left += score
            continue
        free[at] = False
        left -= float(second.scores[at])
        agreed += float(np.sqrt(score * second.scores[at])) * float(shares[at])
    return agreed, max(left, 0.0) / 2
