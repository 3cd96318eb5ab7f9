"""ModelSpec: strict JSON, and sizes that fit the strides."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolov4sdk import ModelSpec, errors


def spec(**changes: object) -> ModelSpec:
    fields = dict(
        architecture="yolov4-csp",
        names=("cat", "Hündin"),
        strides=(8, 16),
        anchors=(((1.5, 2.0),), ((3.0, 4.0),)),
        input_size=(64, 96),
    )
    return ModelSpec(**(fields | changes))  # type: ignore[arg-type]


@given(
    names=st.lists(st.text(min_size=1), min_size=1, unique=True).map(tuple),
    batch=st.none() | st.integers(1, 64),
    dynamic=st.booleans(),
    architecture=st.just("yolov4-p7")
    | st.just({"nc": 2, "backbone": [[-1, 1, "Conv", [8, 3, 1]]]}),
    topk=st.none() | st.integers(1, 500),
)
def test_json_round_trip(names, batch, dynamic, architecture, topk) -> None:
    original = spec(
        names=names, batch=batch, dynamic_size=dynamic, architecture=architecture,
        topk=topk, outputs="topk" if topk else "full", provenance={"source": "a.pt"},
    )  # fmt: skip
    assert ModelSpec.from_json(original.to_json()) == original
    assert "\n" not in original.to_json()


VERSION_1 = {
    "format_version": 1, "architecture": "yolov4-csp", "names": ["cat", "Hündin"],
    "strides": [8, 16], "anchors": [[[1.5, 2.0]], [[3.0, 4.0]]], "decoding": "scaled",
    "input_size": [64, 96], "dynamic_size": True, "batch": None, "input_form": "float_nchw",
    "outputs": "full", "topk": None, "precision": "fp32", "train_size": None, "provenance": {},
}  # fmt: skip


def changed(**changes: object) -> str:
    return json.dumps(VERSION_1 | changes)


def changed_part(part: str, **changes: object) -> str:
    """Format version 2 with some values of `model`, `contract.input` or `contract.output`."""
    data = json.loads(spec().to_json())
    target = data
    for key in part.split("."):
        target = target[key]
    target.update(changes)
    return json.dumps(data)


def test_version_1_is_read() -> None:
    assert ModelSpec.from_json(json.dumps(VERSION_1)) == spec()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object, got list"),
        ("{}", "format version None"),
        (changed(format_version=3), "version 3, this SDK reads 1 and 2"),
        (changed(hue="red"), r"unknown fields \['hue'\]"),
        ('{"format_version": 1, "names": ["a"]}', "lacks .*'anchors'"),
        (changed(names="cat"), "names must be a list"),
        (changed(names=[]), "non-empty"),
        (changed(names=["a", ""]), "non-empty"),
        (changed(names=["a", "a"]), "given twice"),
        (changed(strides=[8, "16"]), "strides"),
        (changed(anchors=[[[1, 2]]]), "1 levels of anchors for 2 strides"),
        (changed(anchors=3), "wrong type"),
        (changed(decoding="magic"), "decoding must be one of"),
        (changed(outputs="topk"), "does not go with"),
        (changed(dynamic_size="yes"), "true or false"),
        (changed(batch=0), "positive"),
        (changed(provenance={"a": 1}), "strings to strings"),
        (changed(architecture=5), "name or an object"),
        (changed(train_size=0), "positive"),
        (changed_part("contract.input", hue="red"), r"unknown fields \['hue'\] in contract"),
        (changed_part("contract.input", layout="HWC"), "contract.input.layout must be one of"),
        (changed_part("contract.input", mean=[0, 0]), "contract.input.mean must hold 3 values"),
        (changed_part("contract.input", dynamic=1), "contract.input.dynamic must be true or false"),
        (changed_part("contract.input.resize", policy="crop"), "resize.policy must be one of"),
        (changed_part("contract.output", classes=3), "2 class names for outputs of 3 classes"),
        (changed_part("contract.output", rows=0), "rows must be positive"),
        (changed_part("contract.output", tensors=[{"role": "boxes"}]), "a name or a position"),
        (changed_part("contract", batch="1"), "contract.batch must be an integer"),
        (changed_part("model", names=["a", "a"]), "given twice"),
    ],
)
def test_bad_json(text: str, message: str) -> None:
    with pytest.raises(errors.SpecError, match=message):
        ModelSpec.from_json(text)


def test_names_errors_have_their_own_class() -> None:
    with pytest.raises(errors.NamesError):
        spec(names=())


@pytest.mark.parametrize("size", [(100, 96), (0, 16), (16,), (16.0, 16), (-16, 16)])
def test_sizes_that_do_not_fit(size) -> None:
    with pytest.raises(errors.InputSizeError):
        spec().check_size(size)


def test_nearest_sizes_are_named() -> None:
    with pytest.raises(errors.InputSizeError, match=r"\(96, 16\) or \(112, 16\)"):
        spec().check_size((100, 5))
