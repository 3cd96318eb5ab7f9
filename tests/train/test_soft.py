"""Soft labels: scores as targets, and boxes that are not to be judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.synthetic import quick, write_dataset
from train.augment import Augmentation
from train.groups import LossSettings
from train.loader import TrainLoader, TrainSet
from train.loss import DetectionLoss
from train.main import resume, train
from yolov4sdk.datasets import load_dataset

ANCHORS = torch.tensor([[[2.0, 2]], [[2, 2]], [[2, 2]]])
SIZES = (16, 8, 4)
BOX = [0, 1, 0.53, 0.53, 0.25, 0.25]  # image, class, centre, size: 2 cells of the middle level


def maps() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 1, n, n, 8, generator=generator).requires_grad_() for n in SIZES]


def loss_of(raw: list[torch.Tensor], rows: list[list[float]], **changes: float):
    settings = replace(LossSettings(), **changes)
    parts = DetectionLoss(ANCHORS, settings)(raw, torch.tensor(rows), 1.0)
    parts.total.backward()
    return parts


@pytest.mark.parametrize("focal", [0.0, 1.5])
def test_a_score_of_one_is_a_hard_label(focal: float) -> None:
    hard, soft = maps(), maps()
    one, other = loss_of(hard, [BOX], focal=focal), loss_of(soft, [[*BOX, 1.0]], focal=focal)
    assert one.total.item() == pytest.approx(other.total.item(), rel=1e-6)
    for a, b in zip(hard, soft, strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-8)


def test_a_score_weighs_the_losses_and_is_the_objectness_target() -> None:
    whole, half = maps(), maps()
    one, other = loss_of(whole, [[*BOX, 1.0]]), loss_of(half, [[*BOX, 0.5]])
    assert other.box.item() == pytest.approx(one.box.item() / 2, rel=1e-6)
    assert other.classes.item() == pytest.approx(one.classes.item() / 2, rel=1e-6)
    # BCE's gradient is sigmoid - target, over the number of cells: the target has halved
    settings = DetectionLoss(ANCHORS, LossSettings())
    for level, balance in enumerate((4.0, 1.0, 0.4)):
        cells = 2 * SIZES[level] ** 2
        unit = whole[level].detach()[..., 4].sigmoid()
        target, halved = (
            unit - m[level].grad[..., 4] * cells / (balance * 2) for m in (whole, half)
        )
        assert torch.allclose(halved, target / 2, atol=1e-4)
    assert settings is not None


def test_a_box_not_to_be_judged_has_no_objectness_gradient_inside() -> None:
    raw = maps()
    parts = loss_of(raw, [[*BOX, 0.0]])
    assert (parts.matches, parts.box.item(), parts.classes.item()) == (0, 0, 0)
    silent = [m.grad[..., 4] == 0 for m in raw]
    # sides of 0.25: 4 cells of the finest level, 2, 1; all within four times the anchor of 2 cells
    for level, expected in enumerate((4, 2, 1)):
        assert int(silent[level][0].sum()) == expected**2
        assert not silent[level][1].any()  # the other image
    rows, columns = silent[0][0, 0].nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min()) == (6, 9, 6)


def test_a_true_object_inside_such_a_box_is_still_learnt() -> None:
    raw = maps()
    large = [0, 2, 0.5, 0.5, 0.5, 0.5, 0.0]
    parts = loss_of(raw, [[*BOX, 1.0], large])
    assert parts.matches > 0
    alone = loss_of(maps(), [[*BOX, 1.0]])
    assert parts.box.item() == alone.box.item()
    assert raw[1].grad[0, 0, 4, 4, 4] != 0


def soft_data(folder):
    """A data set whose labels have scores; in each file the first box is not to be judged."""
    data = write_dataset(folder, train=6, val=2)
    for number, file in enumerate(sorted((folder / "labels" / "train").iterdir())):
        lines = file.read_text().splitlines()
        scores = [
            0.0 if i == 0 and len(lines) > 1 else 0.4 + number / 10 for i in range(len(lines))
        ]
        text = "\n".join(f"{line} {s:g}" for line, s in zip(lines, scores, strict=True))
        file.write_text(text)
    return data


def test_scores_travel_through_mosaics(tmp_path) -> None:
    dataset = load_dataset(soft_data(tmp_path), "train")
    assert dataset.report.ignored > 0
    batches = list(TrainLoader(TrainSet(dataset, 64, Augmentation()), 6, seed=0).epoch(0))
    scores = batches[0].targets[:, 6]
    known = {0.0, *(round(float(s), 4) for row in dataset.scores for s in row)}
    assert {round(float(s), 4) for s in scores} <= known
    assert (scores == 0).any() and (scores > 0).any()


def test_crowd_boxes_come_only_where_they_are_asked_for(tmp_path) -> None:
    dataset = replace(load_dataset(soft_data(tmp_path), "train"), scores=[])
    for asked, columns in ((False, 6), (True, 7)):
        train_set = TrainSet(dataset, 64, Augmentation.none(), ignored_regions=asked)
        (batch,) = TrainLoader(train_set, 6, seed=0).epoch(0)
        assert batch.targets.shape[1] == columns
    assert np.isclose(batch.targets[:, 6].min(), 0)


def test_a_run_on_soft_labels_ends(tmp_path) -> None:
    assert train(quick(soft_data(tmp_path / "data"), tmp_path / "run", epochs=1)).finished
    assert resume(tmp_path / "run").finished
