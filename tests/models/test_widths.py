"""Checkpoints whose widths follow the rule of the authors' code, not ours."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from yolov4sdk.models import Model, build_model, load_definition
from yolov4sdk.models.checkpoints import load_checkpoint, save_checkpoint
from yolov4sdk.models.definition import BUILT_IN, FOLDER, Definition
from yolov4sdk.models.official import import_official
from yolov4sdk.models.widths import with_widths_of

from ..support.foreign_checkpoints import foreign_tree, save

WIDTHS = sorted({width or 1.25 for _, _, width in BUILT_IN.values()} | {1.0})
FILES = sorted({file for file, _, _ in BUILT_IN.values()})
OWN = ("Conv", "BottleneckCSP", "BottleneckCSP2", "SPPCSP", "Bottleneck")


def read(file: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((FOLDER / f"{file}.yaml").read_text())
    return data


def theirs(data: dict[str, Any], width: float, classes: int) -> dict[str, Any]:
    """A definition whose widths are those that the authors' parser gives: the stand-in."""
    outputs = len(data["anchors"][0]) // 2 * (classes + 5)
    made = copy.deepcopy(data) | {"width_multiple": 1.0, "divisor": 1, "nc": classes}
    for _from, _number, module, args in [*made["backbone"], *made["head"]]:
        if module in OWN and args[0] != outputs:
            args[0] = math.ceil(args[0] * width / 8) * 8
    return made


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("file", FILES)
def test_every_width_and_class_count(file: str, every: bool) -> None:
    """Where their rule gives other widths than ours, ours are taken from the tensors.

    Networks are built of a few of these unless `every`.
    """
    data, differing = read(file), set()
    for width in WIDTHS:
        ours = load_definition(data | {"width_multiple": width})
        scaled = [ours.channels(layer.args[0]) for layer in ours.layers if layer.module in OWN]
        for classes in range(1, 261):
            stand_in = theirs(data, width, classes)
            lines = [*stand_in["backbone"], *stand_in["head"]]
            if scaled == [line[3][0] for line in lines if line[2] in OWN]:
                continue
            differing.add((width, classes))
            if every or (width in (0.25, 1.25) and classes == 3):
                check(ours, stand_in, classes)
    # With four anchors 3, 11, 27, 59, 123 or 251 classes give a width that the file has.
    anchors = len(data["anchors"][0]) // 2
    widths = {line[3][0] for line in [*data["backbone"], *data["head"]] if line[2] in OWN}
    hit = {n for n in range(1, 261) if anchors * (n + 5) in widths}
    assert differing == {(width, n) for width in WIDTHS if width != 1 for n in hit}
    assert bool(hit) == (anchors == 4)


def check(ours: Definition, stand_in: dict[str, Any], classes: int) -> None:
    names = tuple(f"c{i}" for i in range(classes))
    with torch.device("meta"):
        wanted = build_model(stand_in, names).state_dict()
        fitted = with_widths_of(replace(ours, names=names), wanted)
        assert shapes(Model(fitted).state_dict()) == shapes(wanted)
        assert shapes(build_model(fitted.architecture, names).state_dict()) == shapes(wanted)


def shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in tensors.items()}


def tiny(classes: int) -> dict[str, Any]:
    """Four anchors and a stem of 32, so that 3 classes leave it unscaled."""
    return {
        "nc": classes,
        "depth_multiple": 1.0,
        "width_multiple": 1.25,
        "anchors": [[4, 5, 6, 7, 8, 9, 10, 12], [12, 25, 20, 20, 30, 31, 40, 40]],
        "backbone": [
            [-1, 1, "Conv", [32, 3, 2]],
            [-1, 2, "Bottleneck", [32]],
            [-1, 1, "BottleneckCSP", [16]],
            [-1, 3, "Conv", [24, 3, 1]],
            [-1, 1, "Conv", [16, 3, 2]],
        ],
        "head": [[-1, 1, "SPPCSP", [8]], [[3, 5], 1, "Detect", ["nc", "anchors"]]],
    }


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("plain", [True, False])
def test_a_checkpoint_of_their_rule_is_read(classes: int, plain: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    stored = build_model(theirs(tiny(classes), 1.25, classes)).eval()
    assert stored.model[0].conv.out_channels == (32 if classes == 3 else 40)
    content: Any = stored.state_dict()
    if not plain:  # the file's own words are those of the file that it was trained from
        tree = foreign_tree(stored)
        tree.yaml = tiny(classes)  # type: ignore[attr-defined]
        content = {"model": tree}
    loaded = import_official(
        save(content, tmp_path / "x.pt"), architecture=tiny(classes) if plain else None
    )
    save_checkpoint(loaded, tmp_path / "x.safetensors")
    again = load_checkpoint(tmp_path / "x.safetensors")
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for model in (loaded, again):
            for one, other in zip(model(images), stored(images), strict=True):
                assert torch.equal(one, other)
    architecture = again.spec.architecture
    assert isinstance(architecture, dict)
    if classes == 3:
        assert architecture["width_multiple"] == 1.0
        assert [line[3][0] for line in architecture["backbone"]] == [32, 32, 24, 32, 24]
        assert len(architecture["head"]) == 2
    else:
        assert architecture["width_multiple"] == 1.25


@pytest.mark.slow
def test_p7_of_three_classes(tmp_path: Path) -> None:
    """The real network: 280 million weights, half precision."""
    names = ["a", "b", "c"]
    data = read("yolov4-p7")
    stored = build_model(theirs(data, 1.25, 3), names).half().eval()
    assert stored.model[0].conv.out_channels == 32
    tree = foreign_tree(stored)
    tree.yaml = data | {"nc": 3}  # type: ignore[attr-defined]
    path = save({"model": tree}, tmp_path / "x.pt")
    loaded = import_official(path)
    for key, value in stored.state_dict().items():
        if not key.endswith("anchors"):
            assert torch.equal(loaded.state_dict()[key].to(value.dtype), value), key
    torch.save(stored.state_dict(), path)
    plain = import_official(path, names)
    assert plain.spec.architecture == loaded.spec.architecture and plain.spec.max_stride == 128
