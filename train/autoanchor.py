"""Anchors fitted to a data set: k-means, then a genetic search.

The measure is the one that matching uses (see `train.matching`): a box is recalled when some
anchor differs from it by less than a factor of four on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.matching import ANCHOR_RATIO
from yolov4sdk.errors import DatasetError

GOOD_RECALL = 0.98  # under this, boxes are lost to matching and new anchors are worth having
_MINIMUM_SIDE = 2.0  # pixels; augmentation drops smaller boxes, so they must not draw an anchor
_KMEANS_ROUNDS = 30
_GENERATIONS = 1000
_MUTATION_RATE, _MUTATION_SPREAD = 0.9, 0.1  # share of numbers changed, and by how much
_SAMPLE = 20_000  # boxes; more do not move the result and cost time

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AnchorFit:
    """How well anchors fit boxes.

    Attributes:
        recall: share of boxes with at least one matching anchor ("best possible recall").
        per_box: mean number of matching anchors per box.
        closeness: mean over boxes of min(side / anchor side, its inverse) for the best anchor.
    """

    recall: float
    per_box: float
    closeness: float

    def __str__(self) -> str:
        return (
            f"best possible recall {self.recall:.4f}, {self.per_box:.2f} anchors per box, "
            f"closeness {self.closeness:.3f}"
        )


def _ratios(wh: Array, anchors: Array) -> Array:
    """[N, K]: the worse of both sides' ratios between box and anchor, as a number up to 1."""
    ratio = wh[:, None] / anchors[None]
    return np.asarray(np.minimum(ratio, 1 / ratio).min(2))


def measure(wh: Array, anchors: Array) -> AnchorFit:
    """How well `anchors` [K, 2] fit boxes `wh` [N, 2], both in pixels of the network's input."""
    ratios = _ratios(wh, anchors)
    matched = ratios > 1 / ANCHOR_RATIO
    return AnchorFit(
        recall=float(matched.any(1).mean()),
        per_box=float(matched.sum(1).mean()),
        closeness=float(ratios.max(1).mean()),
    )


def _fitness(wh: Array, anchors: Array) -> float:
    best = _ratios(wh, anchors).max(1)
    return float((best * (best > 1 / ANCHOR_RATIO)).mean())


def _kmeans(wh: Array, count: int, rng: np.random.Generator) -> Array:
    """K-means in logarithms, as ratios matter and not differences; k-means++ start."""
    points = np.log(wh)
    centres = points[rng.integers(len(points))][None]
    for _ in range(count - 1):
        nearest = ((points[:, None] - centres[None]) ** 2).sum(2).min(1) + 1e-9
        pick = rng.choice(len(points), p=nearest / nearest.sum())
        centres = np.concatenate([centres, points[pick][None]])
    for _ in range(_KMEANS_ROUNDS):
        owner = ((points[:, None] - centres[None]) ** 2).sum(2).argmin(1)
        for k in range(count):
            if (owner == k).any():
                centres[k] = points[owner == k].mean(0)
    return np.asarray(np.exp(centres))


def fit_anchors(
    wh: Array, count: int, seed: int = 0, generations: int = _GENERATIONS
) -> tuple[Array, AnchorFit]:
    """Find `count` anchors for boxes.

    Args:
        wh: [N, 2], widths and heights in pixels of the network's input.
        count: anchors over all levels.
        seed: of the search; the same seed gives the same anchors.
        generations: mutations tried; each better one replaces the best.

    Returns:
        Anchors [count, 2] in pixels, by area, and how well they fit all boxes.

    Raises:
        DatasetError: when fewer boxes than anchors are at least 2 pixels wide and high.
    """
    usable = wh[(wh >= _MINIMUM_SIDE).all(1)]
    if len(usable) < count:
        raise DatasetError(
            f"{count} anchors cannot be fitted to {len(usable)} boxes of {_MINIMUM_SIDE:g} px or "
            "more; train with the model's own anchors"
        )
    rng = np.random.default_rng(seed)
    sample = usable
    if len(usable) > _SAMPLE:
        sample = usable[rng.choice(len(usable), _SAMPLE, replace=False)]
    anchors = _kmeans(sample, count, rng)
    best = _fitness(sample, anchors)
    for _ in range(generations):
        change = rng.normal(1, _MUTATION_SPREAD, anchors.shape)
        change[rng.random(anchors.shape) > _MUTATION_RATE] = 1
        tried = np.maximum(anchors * change.clip(0.3, 3), _MINIMUM_SIDE)
        fitness = _fitness(sample, tried)
        if fitness > best:
            anchors, best = tried, fitness
    anchors = anchors[np.argsort(anchors.prod(1))]
    return anchors, measure(usable, anchors)


def by_level(anchors: Array, levels: int) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Sorted anchors [K, 2] as one tuple a level, smallest first, rounded to a tenth of a pixel."""
    rounded = np.round(anchors, 1).reshape(levels, -1, 2)
    return tuple(tuple((float(w), float(h)) for w, h in level) for level in rounded)
