"""What a detector gets wrong at the thresholds of use: what it misses, confuses and makes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.measure.metrics import Prediction, match_image

Kind = Literal["missed", "confused", "false"]


@dataclass(frozen=True)
class Mistake:
    """One box that is wrong.

    Attributes:
        kind: "missed", a label without a detection; "confused", a detection of another class on
            it; "false", a detection without a label.
        image: index in the data set.
        xyxy: float32 [4], the label's or the false detection's corners in pixels of the image.
        label: the labelled class id, None of a false detection.
        found: the detected class id, None of a missed label.
        score: of the detection, 0 of a missed label.
        share: the part of the image that the box covers.
    """

    kind: Kind
    image: int
    xyxy: NDArray[np.float32]
    label: int | None
    found: int | None
    score: float
    share: float


def find_mistakes(dataset: DetectionDataset, predictions: Sequence[Prediction]) -> list[Mistake]:
    """All mistakes at confidence 0.25 and IoU 0.45, in the order of the images.

    Their counts are those off the diagonal of `metrics.confusion_matrix`.
    """
    mistakes = []
    for image, prediction in enumerate(predictions):
        truth, labels = dataset.boxes_xyxy(image)
        xyxy, scores, ids = prediction
        pixels = float(dataset.sizes[image].prod())

        def share(box: NDArray[np.float32], pixels: float = pixels) -> float:
            return float((box[2] - box[0]) * (box[3] - box[1])) / pixels

        match = match_image(dataset, image, prediction)
        for g in match.missed:
            mistakes.append(
                Mistake("missed", image, truth[g], int(labels[g]), None, 0.0, share(truth[g]))
            )
        for g, m in match.pairs:
            if labels[g] != ids[m]:
                mistakes.append(
                    Mistake(
                        "confused", image, truth[g], int(labels[g]), int(ids[m]), float(scores[m]),
                        share(truth[g]),
                    )
                )  # fmt: skip
        for m in match.false:
            box, found, score = xyxy[m], int(ids[m]), float(scores[m])
            mistakes.append(Mistake("false", image, box, None, found, score, share(box)))
    return mistakes


def worst(mistakes: Sequence[Mistake], kind: Kind, count: int) -> list[Mistake]:
    """The gravest of a kind: missed ones by their share of the image, others by their score."""
    chosen = [mistake for mistake in mistakes if mistake.kind == kind]
    return sorted(chosen, key=lambda m: -(m.share if kind == "missed" else m.score))[:count]


def worst_images(mistakes: Sequence[Mistake], count: int) -> list[tuple[int, list[Mistake]]]:
    """The images with the most mistakes, and these."""
    by_image: dict[int, list[Mistake]] = {}
    for mistake in mistakes:
        by_image.setdefault(mistake.image, []).append(mistake)
    return sorted(by_image.items(), key=lambda item: -len(item[1]))[:count]


def confusions(mistakes: Sequence[Mistake]) -> list[tuple[tuple[int, int], list[Mistake]]]:
    """Pairs (labelled, detected) of class ids with their mistakes, the most frequent first."""
    pairs: dict[tuple[int, int], list[Mistake]] = {}
    for m in mistakes:
        if m.label is not None and m.found is not None:
            pairs.setdefault((m.label, m.found), []).append(m)
    return sorted(pairs.items(), key=lambda item: -len(item[1]))
