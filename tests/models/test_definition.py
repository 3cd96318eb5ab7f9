"""Model definitions: every mistake is an error that says where."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from yolov4sdk import errors
from yolov4sdk.models import build_model, load_definition
from yolov4sdk.models.definition import FOLDER

BASE = yaml.safe_load((FOLDER / "yolov4-csp.yaml").read_text()) | {
    "nc": 2,
    "depth_multiple": 0.2,
    "width_multiple": 0.125,
}


def changed(**changes: object) -> dict:
    return copy.deepcopy(BASE) | changes


def with_layer(index: int, line: object) -> dict:
    data = copy.deepcopy(BASE)
    part, at = ("backbone", index) if index < 11 else ("head", index - 11)
    data[part][at] = line
    return data


def without(key: str) -> dict:
    return {k: v for k, v in BASE.items() if k != key}


BAD = {
    "missing key": (without("anchors"), r"missing keys \['anchors'\]"),
    "unknown key": (changed(width=3), r"unknown keys \['width'\]"),
    "expression as number": (changed(nc="__import__('os').system('true')"), "nc must be"),
    "zero classes": (changed(nc=0), "nc must be"),
    "depth as text": (changed(depth_multiple="1/3"), "depth_multiple must be a number"),
    "negative width": (changed(width_multiple=-1), "width_multiple must be"),
    "unknown module": (with_layer(3, [-1, 1, "os.system", ["ls"]]), r"layer 3 \(os.system\)"),
    "short layer": (with_layer(3, [-1, 1, "Conv"]), "layer 3: expected"),
    "forward reference": (with_layer(3, [5, 1, "Conv", [128, 3, 2]]), "layer 3: from 5 points"),
    "before the first": (with_layer(3, [-9, 1, "Conv", [128, 3, 2]]), "layer 3: from -9"),
    "number 0": (with_layer(3, [-1, 0, "Conv", [128, 3, 2]]), "layer 3: number"),
    "wrong args": (with_layer(3, [-1, 1, "Conv", ["128", 3, 2]]), "layer 3.*args must be"),
    "even kernel": (with_layer(3, [-1, 1, "Conv", [128, 4, 2]]), "kernel must be odd"),
    "upsample bilinear": (
        with_layer(13, [-1, 1, "nn.Upsample", [None, 2, "bilinear"]]),
        "layer 13.*nearest",
    ),
    "concat of unequal strides": (
        with_layer(15, [[-1, 3], 1, "Concat", [1]]),
        "layer 15.*different strides",
    ),
    "two inputs to Conv": (with_layer(12, [[-1, 3], 1, "Conv", [8, 1, 1]]), "takes one input"),
    "Detect args": (with_layer(31, [[22, 26, 30], 1, "Detect", [80, "anchors"]]), "layer 31"),
    "levels in the wrong order": (
        with_layer(31, [[30, 26, 22], 1, "Detect", ["nc", "anchors"]]),
        "smallest stride first",
    ),
    "no Detect": (with_layer(31, [-1, 1, "Conv", [8, 1, 1]]), "must be Detect"),
    "level without anchors": (changed(anchors=[[1, 2], [3, 4]]), "2 lists of anchors"),
    "odd anchors": (changed(anchors=[[1, 2, 3]] * 3), "anchors must be"),
    "unequal anchors": (changed(anchors=[[1, 2], [3, 4], [5, 6, 7, 8]]), "same number"),
    "anchor of zero": (changed(anchors=[[0, 2]] * 3), "all positive"),
    "size off the stride": (changed(input_size=100), "multiples of 32"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_definitions(case: str) -> None:
    data, message = BAD[case]
    with pytest.raises(errors.ModelConfigError, match=message):
        build_model(data)


def test_names_must_fit() -> None:
    with pytest.raises(errors.NamesError, match="nc is 2, but there are 1 names"):
        load_definition(changed(names=["cat"]))
    with pytest.raises(errors.NamesError, match="differ"):
        build_model(BASE, names=["cat", "cat"])


def test_unknown_name_and_bad_files(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelConfigError, match="yolov4-csp-n, yolov4-csp-s"):
        build_model("yolov9")
    with pytest.raises(errors.ModelConfigError, match="no model definition at"):
        build_model(tmp_path / "none.yaml")
    for text in ("a: [", "- 1", "!!python/object/apply:os.system [true]"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(errors.ModelConfigError, match=r"bad\.yaml"):
            build_model(tmp_path / "bad.yaml")


def test_own_yaml(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(changed(names=["cat", "dog"], input_size=320)))
    spec = build_model(file).spec
    assert spec.names == ("cat", "dog") and spec.input_size == (320, 320)
    assert spec.architecture == yaml.safe_load(file.read_text())


NUMBERS = {
    "yolov4-csp-n": [1, 3, 3, 1, 1, 1, 1, 1, 1],
    "yolov4-csp-m": [1, 5, 5, 3, 1, 1, 1, 1, 1],
    "yolov4-csp": [2, 8, 8, 4, 1, 2, 2, 2, 2],
    "yolov4-p5": [1, 3, 15, 15, 7, 1, 3, 3, 3, 3],
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_bottlenecks(name: str) -> None:
    """Scaled by the depth and rounded half to even: 2 x 0.33 -> 1, 8 x 0.33 -> 3."""
    layers = load_definition(name).layers
    assert [layer.number for layer in layers if "CSP" in layer.module] == NUMBERS[name]
