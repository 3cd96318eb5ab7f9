"""A teacher's boxes as soft labels, and its raw maps as targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import make_tiny
from tests.train.synthetic import StopAfter, differences, flatten, quick, write_dataset
from train.checkpoint import STATE_FILE, read_state
from train.distil import Distillation, read_teacher
from train.distributed import World
from train.groups import LossSettings
from train.main import resume, train
from train.teacher import with_teacher
from yolov4sdk import Detector
from yolov4sdk.datasets import load_dataset
from yolov4sdk.errors import SettingError
from yolov4sdk.models.checkpoints import save_checkpoint

CPU = torch.device("cpu")
CONF = 0.6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), train=10, val=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_checkpoint(make_tiny(("disc", "ant"), size=64), file)
    return file


def test_boxes_become_soft_labels_beside_those_of_people(data, teacher, tmp_path) -> None:
    plain = load_dataset(data, "train")
    lines: list[str] = []
    taught = with_teacher(plain, str(teacher), CONF, tmp_path, World(), lines.append)
    with Detector(teacher, conf=CONF / 2) as detector:
        found = [detector(path) for path in plain.images]
    added = unsure = 0
    for i, answer in enumerate(found):
        own = len(plain.boxes[i])
        assert np.array_equal(taught.boxes[i][:own], plain.boxes[i])
        assert (taught.scores[i][:own] == 1).all()
        new = taught.scores[i][own:]
        scores = answer.scores[[name == "disc" for name in answer.labels]]
        assert (new >= CONF).all()
        assert all(np.abs(scores - score).min() < 1e-4 for score in new)
        added += len(new)
        unsure += len(taught.ignored[i])
        xyxy, ids = taught.boxes_xyxy(i)
        assert (ids[own:] == 1).all()  # the data's id of a disc
        for box in xyxy[own:]:
            assert np.abs(answer.xyxy - box).max(1).min() < 1e-2
    assert added and unsure
    assert f"{added} soft labels" in lines[0] and f"{unsure} boxes ignored" in lines[0]
    teacher_is_gone = with_teacher(plain, "gone.onnx", CONF, tmp_path, World(), lines.append)
    assert teacher_is_gone.sha256() == taught.sha256()  # what it said is kept with the run


def test_a_teacher_of_other_classes_is_refused(data, tmp_path) -> None:
    file = tmp_path / "other.safetensors"
    save_checkpoint(make_tiny(("ant", "bee"), size=64), file)
    with pytest.raises(SettingError, match="knows none of the classes box, disc; it knows ant"):
        with_teacher(
            load_dataset(data, "train"), str(file), CONF, tmp_path, World(), lambda _: None
        )


def test_a_student_that_equals_its_teacher_has_nothing_to_learn(teacher) -> None:
    student = make_tiny(("disc", "ant"), size=64)
    read = read_teacher(str(teacher), student, CPU)
    assert read is not None
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    loss = Distillation(read, student.spec.names, LossSettings(), gain=1.0)
    maps = [m.detach().requires_grad_() for m in read.raw(images)]
    loss(maps, images).backward()
    same = max(float(m.grad.abs().max()) for m in maps)
    shifted = [(m.detach() + 1).requires_grad_() for m in maps]
    loss(shifted, images).backward()
    assert same < 1e-4 * min(float(m.grad.abs().max()) for m in shifted)


def test_what_the_teacher_does_not_know_is_left_to_the_labels(teacher) -> None:
    student = make_tiny(("box", "disc", "bar"), size=64)
    read = read_teacher(str(teacher), student, CPU)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = [m.detach().requires_grad_() for m in student.raw(images)]
    Distillation(read, student.spec.names, LossSettings(), gain=1.0)(maps, images).backward()
    for m in maps:
        silent = (m.grad == 0).flatten(0, 3).all(0).tolist()
        assert silent == [False] * 4 + [True, True, False, True]  # objectness, box, disc, bar


def test_a_network_of_another_form_teaches_by_its_boxes_only(tmp_path) -> None:
    student = make_tiny(("disc", "ant"), size=64)
    other = make_tiny(("disc", "ant"), size=64)
    other.spec = other.spec.replace(anchors=tuple(reversed(other.spec.anchors)))
    save_checkpoint(other, tmp_path / "other.safetensors")
    assert read_teacher(str(tmp_path / "other.safetensors"), student, CPU) is None
    assert read_teacher("model.xml", student, CPU) is None


def test_resume_is_bit_exact_with_a_teacher(data, tmp_path) -> None:
    names = ("box", "disc")
    teacher = tmp_path / "teacher.safetensors"
    save_checkpoint(make_tiny(names, size=64), teacher)
    changes = {"weights": str(teacher), "teacher": str(teacher), "teacher_conf": CONF}
    changes |= {"auto_anchor": False}
    whole = quick(data, tmp_path / "whole", **changes)
    assert train(whole).finished
    cut = quick(data, tmp_path / "cut", **changes)
    assert not train(cut, StopAfter(4)).finished
    assert resume(tmp_path / "cut").finished
    states = [flatten(read_state(tmp_path / n / STATE_FILE)) for n in ("whole", "cut")]
    skipped = ("/identity", "/position/sums")
    left, right = ({k: v for k, v in s.items() if not k.startswith(skipped)} for s in states)
    assert not differences(left, right)
    plain = quick(data, tmp_path / "plain", **{**changes, "teacher": None})
    assert train(plain).finished
    untaught = flatten(read_state(tmp_path / "plain" / STATE_FILE))
    assert differences(left, {k: v for k, v in untaught.items() if not k.startswith(skipped)})
