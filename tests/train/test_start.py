"""Where a training starts from, and what of it is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.tiny import make_tiny
from tests.train.synthetic import quick, write_dataset
from train.distributed import World
from train.job import prepare
from train.settings import TrainSettings
from train.start import where_from
from yolov4sdk.backends.artefacts import default_model
from yolov4sdk.errors import SettingError
from yolov4sdk.models import Model
from yolov4sdk.models.checkpoints import save_checkpoint
from yolov4sdk.models.unfold import read_folded

CPU = torch.device("cpu")


def rows(model: Model, level: int, class_id: int) -> Tensor:
    """The weights of a class in the head."""
    head = model.detect
    return head.m[level].weight.detach().view(head.na, head.no, -1)[:, 5 + class_id]


def test_a_run_without_a_model_starts_from_the_embedded_one(tmp_path):
    data = write_dataset(tmp_path / "data", train=4, val=2)
    text = data.read_text().replace("0: box", "0: Person")
    data.write_text(text)
    lines: list[str] = []
    settings = quick(data, tmp_path / "run", model=None, auto_anchor=False)
    job = prepare(settings, World(), CPU, lines.append)
    with default_model() as path:
        source = read_folded(path)
    assert lines[0].startswith("starts from the embedded model")
    assert "1 of 2 classes keep what they had learnt: Person" in lines
    assert job.model.spec.architecture == source.spec.architecture
    person = source.spec.names.index("person")
    for level in range(3):
        assert torch.equal(rows(job.model, level, 0), rows(source, level, person))
        assert not torch.equal(rows(job.model, level, 1), rows(source, level, person))
    assert all(p.requires_grad for p in job.model.parameters())


@pytest.mark.parametrize("changes", [{"from_scratch": True}, {"model": "yolov4-csp-n"}])
def test_random_weights_where_they_are_asked_for(changes):
    line = where_from(TrainSettings(data="x").changed(changes))
    assert line.startswith("starts from scratch: yolov4-csp")


def test_classes_go_by_their_names(tmp_path):
    source = make_tiny(("bar", "disc"), size=64)
    save_checkpoint(source, tmp_path / "source.safetensors")
    data = write_dataset(tmp_path / "data", train=4, val=2, classes=3)  # box, disc, bar
    settings = quick(data, tmp_path / "run", weights=str(tmp_path / "source.safetensors"))
    model = prepare(settings, World(), CPU, lambda _: None).model
    for level in range(3):
        assert torch.equal(rows(model, level, 2), rows(source, level, 0))
        assert torch.equal(rows(model, level, 1), rows(source, level, 1))
        head, old = model.detect, source.detect
        boxes = head.m[level].bias.view(head.na, head.no)[:, :5]
        assert torch.equal(boxes, old.m[level].bias.view(old.na, old.no)[:, :5])


def test_two_starts_exclude_each_other():
    with pytest.raises(SettingError, match="exclude each other"):
        TrainSettings(weights="a.safetensors", from_scratch=True)
