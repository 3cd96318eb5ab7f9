"""What holds a detector back, in words: each finding with the option that helps.

Thresholds are constants with their reasons. They say what is worth a look, not what is proven.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.imaging.images import read_image
from yolov4sdk.measure.evaluation import EvaluationResult
from yolov4sdk.measure.metrics import Prediction, coco_metrics
from yolov4sdk.measure.mistakes import confusions, find_mistakes
from yolov4sdk.measure.plots import new_figure
from yolov4sdk.system.text import some_of

Kind = Literal["names", "boxes", "small", "updates", "classes", "unlike"]

# Names: with all classes taken as one, AP50 changes by a few points where names are right (another
# mean, another order). Six look-alike classes whose class loss had not moved had an AP50 of 0.39 at
# an AR100 of 0.81.
_NAMES_GAP, _NAMES_SHARE = 0.1, 0.8
# Boxes: published detectors of all sizes have AP75 at 0.7 to 0.85 of AP50 on COCO; a run whose box
# gain was too small had 0.405 of 0.792. Below an AP50 of 0.2 there is too little to tell.
_BOXES_SHARE, _BOXES_LEAST = 0.6, 0.2
# Small: published detectors have 0.4 to 0.55 of large objects' AP on small ones. Under a tenth of
# the labels, or under 20 of them, small objects decide little and are measured badly.
_SMALL_SHARE, _SMALL_LABELS, _SMALL_COUNT = 0.35, 0.1, 20
# Updates: from random weights 80 updates gave AP50 0.00, about 1,000 gave 0.8 on the same kind of
# data; from a trained model a fifth is enough to be useful. A good result needs no more of them.
_UPDATES_SCRATCH, _UPDATES_TUNED, _UPDATES_AP50 = 1000, 200, 0.6
# Classes: fewer boxes than this show a class from too few sides; half of them go to one mosaic.
_FEW_BOXES = 20
# Unlike: shares of classes that differ by a quarter in sum, boxes of another size by half, pictures
# brighter or darker by a fifth of the range; splits drawn from one set differ by a third of these.
_UNLIKE_SHARE, _UNLIKE_SIZE, _UNLIKE_LIGHT, _UNLIKE_BOXES = 0.25, 1.5, 50.0, 50
_LIGHT_IMAGES = 32  # read of each split
_LISTED = 6


class Finding(NamedTuple):
    """One thing that goes wrong: what kind, and a sentence or two that say what helps."""

    kind: Kind
    text: str


class Training(NamedTuple):
    """What is known of the run behind a result.

    Attributes:
        dataset: the training split.
        updates: of the optimizer.
        scratch: whether it started from random weights.
        epochs: of the run.
    """

    dataset: DetectionDataset
    updates: int
    scratch: bool
    epochs: int


@dataclass(frozen=True)
class Diagnosis:
    """Findings, and the figures they rest on.

    Attributes:
        findings: the gravest kinds first; empty where nothing stands out.
        nameless: AP50 with all classes taken as one; NaN without labels.
    """

    findings: tuple[Finding, ...]
    nameless: float

    def paragraph(self) -> str:
        """All of it as one paragraph."""
        if not self.findings:
            return "Diagnosis: nothing stands out."
        return "Diagnosis: " + " ".join(finding.text for finding in self.findings)


def diagnose(result: EvaluationResult, training: Training | None = None) -> Diagnosis:
    """What holds a detector back.

    Args:
        result: of an evaluation at low confidence, as `evaluate` has it.
        training: of a run that has just ended; without it only what the result shows is said.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        ImageError: an image cannot be read.
    """
    nameless = _nameless_ap50(result)
    findings = [*_of_names(result, nameless), *_of_boxes(result), *_of_small(result)]
    if training is not None:
        findings += _of_updates(result, training)
    findings += _of_classes(result, training)
    if training is not None:
        findings += _of_splits(result.dataset, training.dataset)
    return Diagnosis(tuple(findings), nameless)


def _nameless_ap50(result: EvaluationResult) -> float:
    """AP50 with all classes taken as one, each box with its best class only."""
    dataset = result.dataset

    def merged(rows: Sequence[Any]) -> list[Any]:
        return [np.column_stack([np.zeros(len(r)), r[:, 1:]]).astype(np.float32) for r in rows]

    one = replace(
        dataset, names=("object",), boxes=merged(dataset.boxes), ignored=merged(dataset.ignored),
        category_ids={},
    )  # fmt: skip
    return coco_metrics(one, [_best_class(p) for p in result.predictions]).ap50


def _best_class(prediction: Prediction) -> Prediction:
    """The first, best row of each box, as class 0."""
    _, first = np.unique(prediction.xyxy, axis=0, return_index=True)
    kept = np.sort(first)
    ids = np.zeros(len(kept), np.int64)
    return Prediction(prediction.xyxy[kept], prediction.scores[kept], ids)


def _of_names(result: EvaluationResult, nameless: float) -> list[Finding]:
    ap50 = result.ap50
    if not (nameless - ap50 > _NAMES_GAP and ap50 < _NAMES_SHARE * nameless):  # NaN: nothing
        return []
    text = (
        f"Objects are found and called by wrong names: AP50 is {ap50:.2f}, and {nameless:.2f} with "
        "all classes taken as one. "
    )
    pairs = confusions(find_mistakes(result.dataset, result.predictions))[:2]
    if pairs:
        names = [f"{result.names[a]} for {result.names[b]}" for (a, b), _ in pairs]
        text += f"Most often it takes {' and '.join(names)}. "
    return [Finding("names", text + "Train with twice the --class-gain, or more --epochs.")]


def _of_boxes(result: EvaluationResult) -> list[Finding]:
    ap50, ap75 = result.coco.ap50, result.coco.ap75
    if not (ap50 >= _BOXES_LEAST and ap75 < _BOXES_SHARE * ap50):
        return []
    text = (
        f"Boxes are loose: AP75 is {ap75:.2f} of an AP50 of {ap50:.2f}. Train with twice the "
        "--box-gain, more --epochs or a larger --size, and see that the labels are tight."
    )
    return [Finding("boxes", text)]


def _of_small(result: EvaluationResult) -> list[Finding]:
    coco = result.coco
    larger = np.array([coco.ap_medium, coco.ap_large])
    if np.isnan(larger).all() or math.isnan(coco.ap_small):
        return []
    best = float(np.nanmax(larger))
    areas = np.concatenate(
        [
            boxes[:, 3] * boxes[:, 4] * size.prod()
            for boxes, size in zip(result.dataset.boxes, result.dataset.sizes, strict=True)
        ]
    )
    count = int((areas < 32**2).sum())
    many = count >= max(_SMALL_COUNT, _SMALL_LABELS * len(areas))
    if not (many and best > 0 and coco.ap_small < _SMALL_SHARE * best):
        return []
    text = (
        f"Small objects are missed: AP is {coco.ap_small:.2f} under 32 x 32 pixels, which "
        f"{count / len(areas):.0%} of the labels are, and up to {best:.2f} above. A larger --size "
        "in training and detection helps, or detect --tile in large images."
    )
    return [Finding("small", text)]


def _of_updates(result: EvaluationResult, training: Training) -> list[Finding]:
    enough = _UPDATES_SCRATCH if training.scratch else _UPDATES_TUNED
    if training.updates >= enough or result.ap50 >= _UPDATES_AP50:
        return []
    epochs = math.ceil(training.epochs * enough / max(training.updates, 1))
    return [
        Finding(
            "updates",
            f"{training.updates} updates are few: from "
            f"{'random weights' if training.scratch else 'a trained model'} it takes about "
            f"{enough:,}. Train with --epochs {epochs}"
            + (", or leave out --from-scratch." if training.scratch else "."),
        )
    ]


def _of_classes(result: EvaluationResult, training: Training | None) -> list[Finding]:
    found = []
    if training is not None:
        counts = training.dataset.class_counts()
        named = [(n, int(c)) for n, c in zip(training.dataset.names, counts, strict=True)]
        rare = [f"{name} ({count})" for name, count in named if count < _FEW_BOXES]
        if rare:
            found.append(
                f"Classes with fewer than {_FEW_BOXES} training boxes: {some_of(rare, _LISTED)}. "
                "Label more of them, or train without them (--classes)."
            )
    labels = result.dataset.class_counts()
    unseen = [name for name, count in zip(result.names, labels, strict=True) if not count]
    if unseen:
        found.append(
            f"{result.dataset.split} has no box of {some_of(unseen, _LISTED)}: the figures say "
            "nothing about it. Move images of it there."
        )
    return [Finding("classes", " ".join(found))] if found else []


def _of_splits(val: DetectionDataset, train: DetectionDataset) -> list[Finding]:
    """How the splits differ in what they show; overlapping images are another check's matter."""
    counts = [d.class_counts().astype(float) for d in (train, val)]
    if min(c.sum() for c in counts) < _UNLIKE_BOXES:
        return []
    told = []
    shares = [c / c.sum() for c in counts]
    apart = shares[1] - shares[0]
    if np.abs(apart).sum() / 2 > _UNLIKE_SHARE:
        worst = int(np.abs(apart).argmax())
        told.append(
            f"{train.names[worst]} is {shares[0][worst]:.0%} of the boxes in {train.split} and "
            f"{shares[1][worst]:.0%} in {val.split}"
        )
    sides = [
        float(np.median(np.sqrt(np.concatenate(d.boxes)[:, 3:5].prod(1)))) for d in (train, val)
    ]
    if max(sides) > _UNLIKE_SIZE * min(sides):
        told.append(
            f"a box's side is {sides[0]:.0%} of the image in {train.split} and {sides[1]:.0%} in "
            f"{val.split}"
        )
    light = [_light(d) for d in (train, val)]
    if abs(light[0] - light[1]) > _UNLIKE_LIGHT:
        told.append(
            f"the mean brightness is {light[0]:.0f} of 255 in {train.split} and {light[1]:.0f} in "
            f"{val.split}"
        )
    if not told:
        return []
    text = (
        f"{train.split} and {val.split} are unlike each other: {'; '.join(told)}. Draw both from "
        "the same images, or add images like those it will see; --scale and --hsv-v widen what is "
        "learnt."
    )
    return [Finding("unlike", text)]


def _light(dataset: DetectionDataset) -> float:
    """The mean over some images, spread over the set."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, _LIGHT_IMAGES).astype(int))
    return float(np.mean([read_image(dataset.images[i])[::8, ::8].mean() for i in chosen]))


def diagnosis_figure(result: EvaluationResult, diagnosis: Diagnosis) -> Any:
    """The figures a diagnosis rests on as bars, and AP50 of each class over its labels.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(12, 5)
    bars, classes = figure.subplots(1, 2)
    coco = result.coco
    values = {
        "AP50, all as one class": diagnosis.nameless, "AP50": coco.ap50, "AP75": coco.ap75,
        "AP small": coco.ap_small, "AP medium": coco.ap_medium, "AP large": coco.ap_large,
    }  # fmt: skip
    drawn = bars.barh(list(values), np.nan_to_num(list(values.values())), color="tab:blue")
    bars.bar_label(drawn, ["-" if math.isnan(v) else f"{v:.2f}" for v in values.values()])
    bars.invert_yaxis()
    bars.set(title="names, boxes, sizes", xlim=(0, 1.1))
    labels = result.dataset.class_counts()
    classes.scatter(labels, result.coco.class_ap50, color="tab:blue")
    for name, count, ap in zip(result.names, labels, result.coco.class_ap50, strict=True):
        if not math.isnan(ap) and len(result.names) <= 30:
            classes.annotate(name, (count, ap), (4, 2), textcoords="offset points", fontsize=8)
    classes.set(title="classes", xlabel=f"labels in {result.dataset.split}", ylabel="AP50",
                ylim=(-0.02, 1.05))  # fmt: skip
    figure.suptitle(", ".join(f.kind for f in diagnosis.findings) or "nothing stands out")
    return figure
