"""The loss against numbers of an independent implementation, and its edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.groups import LossSettings
from train.loss import DetectionLoss, paired_iou
from train.matching import match
from train.settings import TrainSettings
from yolov4sdk.errors import SettingError

VARIANTS = [(iou, r, g) for iou in ("giou", "ciou") for r in (0, 1) for g in ("0", "1.5")]


@pytest.fixture(scope="module")
def oracle(shared_dir: Path) -> dict[str, np.ndarray]:
    with np.load(shared_dir / "oracle" / "loss-p5.npz") as file:
        return dict(file)


def _error(value: float, expected: float) -> float:
    return abs(value - expected) / max(1.0, abs(expected))


@pytest.mark.parametrize(("iou", "ratio", "gamma"), VARIANTS)
def test_loss_and_gradients_equal_the_oracle(oracle, iou, ratio, gamma):
    maps = [torch.from_numpy(oracle[f"raw{i}"]).requires_grad_() for i in range(3)]
    loss = DetectionLoss(
        torch.from_numpy(oracle["anchors"]), LossSettings(iou=iou, focal=float(gamma))
    )
    parts = loss(maps, torch.from_numpy(oracle["targets"]), ratio)
    parts.total.backward()
    key = f"{iou}_ratio{ratio}_gamma{gamma}"
    for got, expected in zip([parts.total, *parts.values()], oracle[key], strict=True):
        assert _error(got.item(), float(expected)) < 1e-5
    for raw, expected in zip(maps, oracle[f"{key}_gradnorm"], strict=True):
        assert raw.grad is not None
        assert _error(raw.grad.norm().item(), float(expected)) < 1e-5
        assert raw.grad.norm().item() == pytest.approx(float(expected), rel=1e-3)


def test_matches_equal_the_oracle(oracle):
    maps = [oracle[f"raw{i}"].shape[2:4] for i in range(3)]
    found = match(torch.from_numpy(oracle["targets"]), torch.from_numpy(oracle["anchors"]), maps)
    for i, level in enumerate(found):
        columns = [level.image, level.anchor, level.row, level.column, level.target_class]
        got = np.concatenate([torch.stack(columns, 1).numpy(), level.box.numpy()], 1)
        want = np.concatenate([oracle[f"assign{i}"], oracle[f"assign_box{i}"]], 1)
        assert len(got) == len(want)
        got, want = (a[np.lexsort(a[:, 4::-1].T)] for a in (got, want))
        np.testing.assert_allclose(got, want, atol=1e-5)


def _maps(batch: int, classes: int, fill: float | None = None) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    maps = [torch.randn(batch, 3, n, n, 5 + classes, generator=generator) for n in (8, 4, 2)]
    if fill is not None:
        maps = [torch.full_like(m, fill) for m in maps]
    return [m.requires_grad_() for m in maps]


ANCHORS = torch.tensor(
    [[[1.5, 2], [2, 4], [5, 3]], [[2, 4], [4, 3], [4, 9]], [[4, 3], [6, 7], [14, 12]]]
)
NUMBERS = st.floats(-0.25, 1.25, width=32) | st.sampled_from([0.0, 0.5, 1.0, 1e-7, -0.0])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 1), NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=6),
    classes=st.sampled_from([1, 2, 5]),
    fill=st.sampled_from([None, 0.0, 80.0, -80.0, 3e4, -3e4]),
    iou=st.sampled_from(["giou", "ciou"]),
    gamma=st.sampled_from([0.0, 1.5]),
    ratio=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_loss_and_gradients_are_finite(rows, classes, fill, iou, gamma, ratio):
    targets = torch.tensor([[i, 0, *box] for i, *box in rows]).reshape(-1, 6).float()
    maps = _maps(2, classes, fill)
    parts = DetectionLoss(ANCHORS, LossSettings(iou=iou, focal=gamma))(maps, targets, ratio)
    parts.total.backward()
    assert torch.isfinite(parts.values()).all()
    assert all(m.grad is not None and torch.isfinite(m.grad).all() for m in maps)


def test_no_targets_teach_objectness_only():
    parts = DetectionLoss(ANCHORS, LossSettings())(_maps(2, 3), torch.zeros(0, 6), 1.0)
    assert parts.matches == 0
    assert parts.box == 0
    assert parts.classes == 0
    assert parts.objectness > 0


def test_half_precision_maps_give_a_float32_loss():
    maps = [m.detach().bfloat16().requires_grad_() for m in _maps(1, 2)]
    parts = DetectionLoss(ANCHORS, LossSettings())(
        maps, torch.tensor([[0, 1, 0.5, 0.5, 0.3, 0.3]]), 1
    )
    assert parts.total.dtype == torch.float32


def test_later_target_wins_a_shared_cell():
    """Two boxes on one cell and anchor: the objectness target is the later one's IoU."""
    maps = _maps(1, 1, -1.0)  # at a logit of 0 the entropy is that of any target
    boxes = torch.tensor([[0, 0, 0.31, 0.31, 0.3, 0.3], [0, 0, 0.32, 0.32, 0.5, 0.5]])
    loss = DetectionLoss(ANCHORS, LossSettings())
    both, swapped = (loss(maps, t, 1.0).objectness for t in (boxes, boxes.flip(0)))
    assert both != swapped
    assert both == loss(maps, boxes, 1.0).objectness


def test_a_matched_cell_can_reach_its_box():
    """Every matched centre lies within half a cell of its cell, so decoding can reach it."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.rand(200, 6, generator=generator) * torch.tensor([0, 0, 1, 1, 0.5, 0.5])
    levels = match(targets, ANCHORS, [(8, 8), (4, 4), (2, 2)])
    assert len(levels[0]) > 200  # a box has up to three cells
    for level in levels:
        assert (level.box[:, :2] >= -0.5).all()
        assert (level.box[:, :2] <= 1.5).all()
        cells = torch.stack([level.anchor, level.row, level.column], 1)
        assert (cells >= 0).all()


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 20, width=32)] * 8), min_size=1, max_size=20))
def test_ious_stay_in_their_range(rows):
    pairs = torch.tensor(rows)
    for kind, low in (("giou", -1.01), ("ciou", -2.01)):
        iou = paired_iou(pairs[:, :4], pairs[:, 4:], kind)
        assert ((iou >= low) & (iou <= 1.0001)).all()


def test_equal_boxes_have_iou_one():
    boxes = torch.tensor([[3.0, 4.0, 2.0, 5.0]])
    for kind in ("giou", "ciou"):
        assert paired_iou(boxes, boxes, kind).item() == pytest.approx(1, abs=1e-5)


def test_settings_are_checked():
    with pytest.raises(SettingError, match="giou"):
        LossSettings(iou="diou")
    with pytest.raises(SettingError, match="label_smoothing"):
        LossSettings(label_smoothing=1.0)
    with pytest.raises(SettingError, match="levels"):
        DetectionLoss(torch.ones(2, 3, 2), LossSettings())
    of_80 = LossSettings(class_gain=0.5, class_gain_of_80=True)
    assert TrainSettings(loss=of_80).loss_of(20).class_gain == pytest.approx(0.125)
