"""The detection loss: boxes (GIoU or CIoU), objectness, classes.

Sources: Scaled-YOLOv4 2011.08036, GIoU 1902.09630, CIoU 1911.08287, focal loss 1708.02002.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.groups import LossSettings
from train.matching import LevelMatches, match
from train.soft import judged, split
from yolov4sdk.errors import SettingError

_EPSILON = 1e-7  # against division by zero; well under the tolerance of any figure printed
_FOCAL_ALPHA = 0.25  # the focal loss paper's weight of the positive class
# Objectness weight of each level, smallest stride first: the many cells of a fine map are mostly
# background, so their mean is small and needs more weight. Keyed by the number of levels.
BALANCE = {3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.4, 0.1), 5: (4.0, 1.0, 0.5, 0.4, 0.1)}
_MANY_LEVELS_OBJECTNESS = 1.4  # objectness gain factor of models with four or more levels


@dataclass(frozen=True)
class LossParts:
    """A loss and what it is made of.

    Attributes:
        total: scalar with a gradient: the sum of the parts times the batch size.
        box, objectness, classes: detached scalars that carry their gains.
        matches: number of matches over all levels.
    """

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor
    matches: int

    def values(self) -> Tensor:
        """Box, objectness, classes and their sum as a detached float32 [4]."""
        return torch.stack(
            [self.box, self.objectness, self.classes, self.box + self.objectness + self.classes]
        )


def paired_iou(predicted: Tensor, target: Tensor, kind: str) -> Tensor:
    """GIoU or CIoU of box pairs.

    Args:
        predicted, target: [M, 4] centre x, y, width, height in one unit.
        kind: "giou" or "ciou".

    Returns:
        [M], at most 1; GIoU is above -1, CIoU above about -1.5. Finite for sides of zero.
    """
    half_p, half_t = predicted[:, 2:] / 2, target[:, 2:] / 2
    low_p, high_p = predicted[:, :2] - half_p, predicted[:, :2] + half_p
    low_t, high_t = target[:, :2] - half_t, target[:, :2] + half_t
    overlap = (torch.minimum(high_p, high_t) - torch.maximum(low_p, low_t)).clamp(min=0).prod(1)
    union = predicted[:, 2:].prod(1) + target[:, 2:].prod(1) - overlap + _EPSILON
    iou = overlap / union
    hull = torch.maximum(high_p, high_t) - torch.minimum(low_p, low_t)  # [M, 2]
    if kind == "giou":
        hull_area = hull.prod(1) + _EPSILON
        return iou - (hull_area - union) / hull_area
    diagonal = hull.square().sum(1) + _EPSILON
    distance = (predicted[:, :2] - target[:, :2]).square().sum(1)
    # atan2, not atan(w / h): its gradient stays finite when a height is zero
    angle_p = torch.atan2(predicted[:, 2], predicted[:, 3] + _EPSILON)
    angle_t = torch.atan2(target[:, 2], target[:, 3] + _EPSILON)
    shape = (4 / math.pi**2) * (angle_t - angle_p).square()
    with torch.no_grad():
        alpha = shape / (shape - iou + 1 + _EPSILON)
    return iou - distance / diagonal - alpha * shape


def cross_entropy(
    logits: Tensor, target: Tensor, gamma: float, each: Tensor | None = None
) -> Tensor:
    """Mean binary cross-entropy, or focal loss when `gamma` > 0; soft targets are allowed.

    `each` holds a factor for every element; the mean is still over all of them.
    """
    if gamma == 0:
        return F.binary_cross_entropy_with_logits(logits, target, each)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    miss = (target * (1 - p) + (1 - target) * p).clamp(min=0)  # 1 - p_t
    weight = target * _FOCAL_ALPHA + (1 - target) * (1 - _FOCAL_ALPHA)
    return _mean(loss * weight * miss.pow(gamma), each)


def _mean(loss: Tensor, each: Tensor | None) -> Tensor:
    return (loss if each is None else loss * each).mean()


class DetectionLoss:
    """The loss of a batch, given raw maps and targets.

    Args:
        anchors: [levels, na, 2] in stride units, smallest stride first.
        settings: gains and variants.
        global_count: turns a rank's match count (float32 scalar) into the mean over ranks; under
            several processes it makes the averaged gradient that of the whole batch. None: as is.

    Raises:
        SettingError: for a number of levels without a known balance.
    """

    def __init__(
        self,
        anchors: Tensor,
        settings: LossSettings,
        global_count: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        levels = anchors.shape[0]
        if levels not in BALANCE:
            raise SettingError(
                f"the loss knows the level balance of {sorted(BALANCE)} levels, not of {levels}"
            )
        self.anchors = anchors.detach().float().cpu()
        self.settings = settings
        self._global_count = global_count
        scale = 3 / levels
        many = _MANY_LEVELS_OBJECTNESS if levels >= 4 else 1.0
        self._box_gain = settings.box_gain * scale
        self._objectness_gain = settings.objectness_gain * scale * many
        self._class_gain = settings.class_gain * scale

    def __call__(self, maps: Sequence[Tensor], targets: Tensor, iou_ratio: float) -> LossParts:
        """
        Args:
            maps: raw maps, one a level, [B, na, ny, nx, 5 + nc]; any float type.
            targets: float32 [T, 6]: image, class, centre x, y, width, height, normalised; best on
                the CPU, where they are matched while a GPU still computes the maps. A seventh
                column holds the scores of soft labels (see `soft`).
            iou_ratio: 0 for hard objectness targets, 1 for the IoU, or between.

        Returns:
            The loss in float32. Finite for no targets and for logits of any finite size.
        """
        device = maps[0].device
        sizes = [(m.shape[2], m.shape[3]) for m in maps]
        learnt, scores, others = split(targets.float().cpu())
        matches = match(learnt, self.anchors, sizes)
        counts = torch.tensor([float(len(m)) for m in matches]).to(device, non_blocking=True)
        means = (self._global_count(counts) if self._global_count else counts).clamp(min=_EPSILON)
        balance = BALANCE[len(maps)]
        zero = maps[0].new_zeros((), dtype=torch.float32)
        box, objectness, classes = zero, zero, zero
        for level, (raw, matched) in enumerate(zip(maps, matches, strict=True)):
            found = matched.to(device)
            share = counts[level] / means[level]
            target = torch.zeros_like(raw[..., 4], dtype=torch.float32)
            if len(found):
                at = (found.image, found.anchor, found.row, found.column)
                picked = raw[at].float()  # [M, 5 + nc]
                iou = paired_iou(
                    cell_boxes(picked[:, :4], found.anchor_wh), found.box, self.settings.iou
                )
                weight = None if scores is None else scores[matched.target].to(device)
                box = box + _mean(1 - iou, weight) * share
                _fill_objectness(target, matched, iou.detach(), iou_ratio, weight)
                if picked.shape[1] > 6:  # with one class, objectness says all there is to say
                    classes = classes + self._class_loss(picked[:, 5:], found, weight) * share
            mask = None
            if others is not None:
                mask = judged(others, self.anchors[level], target.shape).to(device)
                # what is to be learnt stays so, also inside a box that is not to be judged
                mask = torch.maximum(mask, (target > 0).float())
            entropy = cross_entropy(raw[..., 4].float(), target, self.settings.focal, mask)
            objectness = objectness + entropy * balance[level]
        box = box * self._box_gain
        objectness = objectness * self._objectness_gain
        classes = classes * self._class_gain
        total = (box + objectness + classes) * maps[0].shape[0]
        return LossParts(
            total, box.detach(), objectness.detach(), classes.detach(), sum(map(len, matches))
        )

    def _class_loss(self, logits: Tensor, found: LevelMatches, weight: Tensor | None) -> Tensor:
        off = self.settings.label_smoothing / 2
        target = torch.full_like(logits, off)
        target.scatter_(1, found.target_class[:, None], 1 - off)
        each = None if weight is None else weight[:, None].expand_as(logits)
        return cross_entropy(logits, target, self.settings.focal, each)


def cell_boxes(raw: Tensor, anchor_wh: Tensor) -> Tensor:
    """Raw x, y, w, h [..., 4] as boxes relative to their cells, in stride units."""
    unit = raw.sigmoid()
    return torch.cat([unit[..., :2] * 2 - 0.5, (unit[..., 2:] * 2).square() * anchor_wh], -1)


def _fill_objectness(
    target: Tensor, matched: LevelMatches, iou: Tensor, iou_ratio: float, weight: Tensor | None
) -> None:
    """Write the objectness targets, times the labels' scores, into `target` [B, na, ny, nx].

    Where two targets share a cell and anchor the later one wins; writing both would leave it to
    the order in which threads happen to write.
    """
    cells, last = (t.to(iou.device, non_blocking=True) for t in matched.last_of_cells(target.shape))
    values = (1 - iou_ratio) + iou_ratio * iou.clamp(min=0)
    if weight is not None:
        values = values * weight
    target.view(-1)[cells] = values[last]
