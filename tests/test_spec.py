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


def changed(**changes: object) -> str:
    return json.dumps(json.loads(spec().to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object, got list"),
        ("{}", "format version None"),
        (changed(format_version=2), "version 2, this SDK reads 1"),
        (changed(colour="red"), r"unknown fields \['colour'\]"),
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
