"""Dense distillation: a network of ours learns from another's raw maps, cell by cell.

Where student and teacher have the same levels and anchors, every cell and anchor of one stands for
the same box of the other. Objectness and classes are learnt as soft targets (knowledge
distillation, 1503.02531) and boxes by their overlap, classes and boxes weighted by the teacher's
objectness: where it sees nothing, it says nothing about what.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from train.groups import LossSettings
from train.loss import BALANCE, cell_boxes, paired_iou
from yolov4sdk.models import Model
from yolov4sdk.models.checkpoints import load_checkpoint
from yolov4sdk.models.fast_mish import use_fast_mish
from yolov4sdk.models.fold import fold
from yolov4sdk.models.unfold import read_folded

_EPSILON = 1e-7


def read_teacher(path: str, student: Model, device: torch.device) -> Model | None:
    """The teacher as a folded network, or None where it is not one of ours or does not fit.

    It fits when levels, strides and anchors are the student's and they share a class.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors":
        model = load_checkpoint(path)
    elif suffix == ".onnx":
        from yolov4sdk.errors import ArtefactError

        try:
            model = read_folded(path)
        except (ArtefactError, KeyError, TypeError):  # another's file
            return None
    else:
        return None
    spec, own = model.spec, student.spec
    fits = spec.decoding == own.decoding == "scaled" and spec.strides == own.strides
    if not fits or spec.anchors != own.anchors or not set(spec.names) & set(own.names):
        return None
    if suffix == ".safetensors":
        model = fold(model)
    use_fast_mish(model)
    return model.to(device).eval().requires_grad_(False)


class Distillation:
    """The loss of a student's raw maps against its teacher's.

    Args:
        teacher: from `read_teacher`.
        names: the student's classes. Classes that the teacher lacks are left to the labels; so is
            objectness, unless both know the same classes: a teacher takes for background what it
            does not know.
        settings: the gains of the three parts, and the kind of overlap.
        gain: of the whole.
    """

    def __init__(
        self, teacher: Model, names: Sequence[str], settings: LossSettings, gain: float
    ) -> None:
        self.teacher, self.settings, self.gain = teacher, settings, gain
        own = {name: i for i, name in enumerate(teacher.spec.names)}
        shared = [(i, own[name]) for i, name in enumerate(names) if name in own]
        self._columns = [5 + i for i, _ in shared]
        self._teacher_columns = [5 + j for _, j in shared]
        self._same_classes = set(names) == set(teacher.spec.names)

    def __call__(self, maps: Sequence[Tensor], images: Tensor) -> Tensor:
        """Raw maps [B, na, ny, nx, 5 + nc] of the images -> a scalar with a gradient, float32."""
        with torch.no_grad():
            targets = self.teacher.raw(images)
        balance = BALANCE[len(maps)]
        total = maps[0].new_zeros((), dtype=torch.float32)
        for level, (raw, target) in enumerate(zip(maps, targets, strict=True)):
            anchors = self.teacher.detect.anchors[level].to(raw.device)
            total = total + self._level(raw.float(), target.float(), anchors, balance[level])
        return total * self.gain * 3 / len(maps) * maps[0].shape[0]

    def _level(self, raw: Tensor, target: Tensor, anchors: Tensor, balance: float) -> Tensor:
        settings = self.settings
        sure = target[..., 4].sigmoid()
        weight = sure / (sure.sum() + _EPSILON)
        entropy = F.binary_cross_entropy_with_logits(
            raw[..., self._columns],
            target[..., self._teacher_columns].sigmoid(),
            reduction="none",
        ).mean(-1)
        cells = anchors[:, None, None]
        learnt, told = (cell_boxes(x[..., :4], cells).reshape(-1, 4) for x in (raw, target))
        overlap = paired_iou(learnt, told, settings.iou)
        total = settings.class_gain * (weight * entropy).sum()
        total = total + settings.box_gain * (weight.flatten() * (1 - overlap)).sum()
        if self._same_classes:
            objectness = F.binary_cross_entropy_with_logits(raw[..., 4], sure)
            total = total + settings.objectness_gain * balance * objectness
        return total
