"""The tensors of KServe v2: what is written is read again; what is wrong is told, never a crash."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal

from yolov4sdk.backends.kserve import DTYPES, decode, encode
from yolov4sdk.errors import TensorError

shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
numbers = st.sampled_from(sorted(DTYPES)).flatmap(lambda name: arrays.arrays(DTYPES[name], shapes))
finite = numbers.filter(lambda array: bool(np.isfinite(array).all()))


@given(st.dictionaries(st.text(max_size=20), finite, min_size=1, max_size=3), st.data())
def test_round_trip(tensors: dict[str, Any], data: st.DataObject) -> None:
    binary = data.draw(st.sets(st.sampled_from(sorted(tensors))))
    body, length = encode({"id": "7"}, tensors, "inputs", binary)
    assert (length is not None) == bool(binary)
    header, found = decode(body, None if length is None else str(length), "inputs")
    assert header == {"id": "7"} and list(found) == list(tensors)
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        assert_array_equal(found[name], array)


def test_files_as_bytes() -> None:
    files = np.array([b"\xff\xd8 one", b"", b"three"], object)
    body, length = encode({}, {"images": files}, "inputs", ())
    assert_array_equal(decode(body, str(length), "inputs")[1]["images"], files)
    in_json = {"name": "images", "datatype": "BYTES", "shape": [1], "data": ["/9ggb25l"]}
    found = decode(json.dumps({"inputs": [in_json]}).encode(), None, "inputs")[1]["images"]
    assert list(found) == [b"\xff\xd8 one"]


def test_nan_goes_as_raw_bytes_alone() -> None:
    array = np.array([1, np.nan], np.float32)
    body, length = encode({}, {"x": array}, "outputs", {"x"})
    assert_array_equal(decode(body, str(length), "outputs")[1]["x"], array)
    with pytest.raises(TensorError, match="ask for binary data"):
        encode({}, {"x": array}, "outputs", ())


GOOD = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}
RAW = {"name": "x", "datatype": "FP32", "shape": [1]}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ([], "expected a JSON object"),
        ({}, "a list of at least one tensor"),
        ({"inputs": []}, "a list of at least one tensor"),
        ({"inputs": [7]}, "an object with a name"),
        ({"inputs": [GOOD, GOOD]}, "given twice"),
        ({"inputs": [GOOD | {"datatype": "FP31"}]}, "must be one of BYTES, BOOL"),
        ({"inputs": [GOOD | {"datatype": ["FP32"]}]}, "must be one of"),
        ({"inputs": [GOOD | {"shape": [3]}]}, "2 values came for the shape"),
        ({"inputs": [GOOD | {"shape": [-2]}]}, "a list of up to 8 sizes"),
        ({"inputs": [GOOD | {"shape": [True, 2]}]}, "a list of up to 8 sizes"),
        ({"inputs": [GOOD | {"shape": [1] * 9}]}, "a list of up to 8 sizes"),
        ({"inputs": [GOOD | {"data": [1, "2"]}]}, "not all numbers"),
        ({"inputs": [GOOD | {"data": None}]}, "not all numbers"),
        ({"inputs": [GOOD | {"data": [[1], [2, 3]]}]}, "ragged"),
        ({"inputs": [GOOD | {"datatype": "UINT8", "data": [1, 256]}]}, "holds 0 to 255"),
        ({"inputs": [GOOD | {"datatype": "UINT8", "data": [1, 2.5]}]}, "not all numbers"),
        ({"inputs": [GOOD | {"datatype": "INT64", "data": [1, 2**70]}]}, "not all numbers"),
        ({"inputs": [GOOD | {"datatype": "BYTES", "data": ["a", "?"]}]}, "base64"),
        ({"inputs": [GOOD | {"datatype": "BYTES", "data": [1, 2]}]}, "list of strings"),
        ({"inputs": [GOOD | {"parameters": []}]}, "must be an object"),
        ({"inputs": [GOOD | {"parameters": {"shared_memory_region": "r"}}]}, "not known here"),
        ({"inputs": [GOOD | {"parameters": {"binary_data_size": 8}}]}, "needs either"),
        ({"inputs": [RAW]}, "needs either"),
        ({"inputs": [RAW | {"parameters": {"binary_data_size": 4}}]}, "0 bytes are there"),
        ({"inputs": [RAW | {"parameters": {"binary_data_size": "4"}}]}, "0 bytes are there"),
    ],
)
def test_wrong_messages(message: object, said: str) -> None:
    with pytest.raises(TensorError, match=said):
        decode(json.dumps(message).encode(), None, "inputs")


@pytest.mark.parametrize(
    ("body", "length", "said"),
    [
        (b"", None, "does not start with a JSON object"),
        (b"\xff", None, "does not start with a JSON object"),
        (b"[" * 100_000, None, "does not start with a JSON object"),
        (b'{"inputs": [' + b"1" * 5000 + b"]}", None, "does not start with a JSON object"),
        (b"{}", "3", "a number of bytes up to the body's 2"),
        (b"{}", "-1", "a number of bytes"),
        (b"{}", "²", "a number of bytes"),
    ],
)
def test_wrong_bodies(body: bytes, length: str | None, said: str) -> None:
    with pytest.raises(TensorError, match=said):
        decode(body, length, "inputs")


@pytest.mark.parametrize("raw", [b"\x01", b"\xff\xff\xff\xff", b"\x02\0\0\0a"])
def test_elements_that_are_cut_off(raw: bytes) -> None:
    entry = {"name": "x", "datatype": "BYTES", "shape": [1]}
    entry["parameters"] = {"binary_data_size": len(raw)}
    text = json.dumps({"inputs": [entry]}).encode()
    with pytest.raises(TensorError, match="cut off"):
        decode(text + raw, str(len(text)), "inputs")
    with pytest.raises(TensorError, match="bytes are left"):
        decode(
            json.dumps({"inputs": [GOOD]}).encode() + raw,
            str(len(json.dumps({"inputs": [GOOD]}))),
            "inputs",
        )


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
members = st.fixed_dictionaries(
    {"name": st.just("x") | nested},
    optional={
        "datatype": st.sampled_from([*DTYPES, "BYTES"]) | nested,
        "shape": st.lists(st.integers(-1, 9)) | nested,
        "data": nested,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20)}) | nested,
    },
)


@given(st.lists(members, max_size=3) | nested, st.binary(max_size=24), st.booleans())
def test_any_message_is_read_or_refused(inputs: object, raw: bytes, told: bool) -> None:
    text = json.dumps({"inputs": inputs}).encode()
    try:
        decode(text + raw, str(len(text)) if told else None, "inputs")
    except TensorError as error:
        assert len(str(error)) < 600
