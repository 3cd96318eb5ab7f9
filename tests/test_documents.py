"""YAML and JSON from strangers: plain values, or one short error of the caller's kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yolov4sdk.errors import DatasetError, SettingError, SpecError
from yolov4sdk.system import bounds
from yolov4sdk.system.documents import load_yaml, parse_json, plain


def doubling(levels: int) -> str:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels)]
    return "\n".join(lines)


MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{k}: &a{k}\n  <<: [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40)
)
BAD_YAML = {
    "nested lists": ("[" * 3000 + "]" * 3000, "not valid YAML"),
    "nested dashes": ("- " * 3000, "levels inside one another"),
    "nested mappings": ("{a: " * 100 + "1" + "}" * 100, "levels"),
    "aliases": (doubling(30), "aliases counted"),
    "merges": (MERGES, "aliases counted"),
    "a list that holds itself": ("&a [*a]", "an alias that holds itself"),
    "a mapping that holds itself": ("&a {b: *a}", "an alias that holds itself"),
    "a chain of aliases": (
        "- &a0 [x]\n" + "".join(f"- &a{k} [*a{k - 1}]\n" for k in range(1, 100)), "levels"
    ),
    "a long text named often": ("a: &a " + "x" * 90_000 + "\nb: [" + "*a," * 99 + "]", "values"),
    "many values": ("[" + "x," * 200_000 + "]", "more than 100,000 values"),
    "a long number": ("a: " + "9" * 5000, "a number of 5,000 characters"),
    "a number to base 60": ("a: 1" + ":1" * 5000, "a number of 10,001 characters"),
    "a month 99": ("a: 2001-99-99", "month"),
    "a wrong tag": ("a: !!timestamp x", "does not fit its tag"),
    "a wrong bool": ("a: !!bool x", "does not fit its tag"),
    "an object": ("a: !!python/object/apply:os.system [ls]", "could not determine"),
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice .'1' and '3'."),
    "half a character": ('a: "\\ud800"', "not valid YAML"),
    "a control character": ("a: \x07", "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2", "single document"),
    "no UTF-8": (b"a: \xff", "not UTF-8 text"),
    "large": (b"#" * (bounds.YAML_BYTES + 1), "more than 1,048,576 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_YAML)
def test_yaml_that_is_refused(what: str, tmp_path: Path) -> None:
    content, message = BAD_YAML[what]
    file = tmp_path / "x.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=message) as raised:
        load_yaml(file, DatasetError)
    assert len(str(raised.value)) < 600


def test_yaml_that_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("base: &b {a: 1}\nc:\n  <<: *b\n  d: [no, 1.5, ~, 2021-05-01, 0x10]\n")
    found = load_yaml(file, DatasetError)
    assert found["c"] == {"a": 1, "d": [False, 1.5, None, found["c"]["d"][3], 16]}
    texts = load_yaml(file, DatasetError, texts=True)
    assert texts["c"] == {"a": "1", "d": ["no", "1.5", "~", "2021-05-01", "0x10"]}
    names = {"names": {i: f"class number {i}" for i in range(bounds.CLASSES)}}
    file.write_text(json.dumps(names))
    assert len(load_yaml(file, DatasetError)["names"]) == bounds.CLASSES
    file.write_text("")
    assert load_yaml(file, DatasetError) is None


def test_files_that_are_none(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path, "cannot be read"),
        (tmp_path / "none", "there is no file"),
        (tmp_path / ("x" * 300), "cannot be read"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(SettingError, match=message):
            load_yaml(path, SettingError)


BAD_JSON: dict[str, tuple[Any, str]] = {
    "nested": ("[" * 100_000 + "]" * 100_000, "levels inside one another"),
    "nested 100 deep": ("[" * 100 + "]" * 100, "levels inside one another"),
    "many values": ("[" + "0," * 300_000 + "0]", "more than 200,000 values"),
    "NaN": ("[NaN]", "NaN is not a number"),
    "infinite": ('{"a": -Infinity}', "Infinity is not a number"),
    "digits": ("1" + "0" * 5000, "not valid JSON"),
    "half a character": ('"\\ud800"', "not valid JSON"),
    "a number for a text": (5, "must be a text of JSON, got int"),
    "nothing": ("", "not valid JSON"),
}


@pytest.mark.parametrize("what", BAD_JSON)
def test_json_that_is_refused(what: str) -> None:
    content, message = BAD_JSON[what]
    with pytest.raises(SpecError, match=message) as raised:
        parse_json(content, "the text", SpecError)
    assert len(str(raised.value)) < 600


def test_plain_values_only() -> None:
    assert plain({"a": (1, [None, True, 2.5, "x"])}) == {"a": [1, [None, True, 2.5, "x"]]}
    itself: list[Any] = []
    itself.append(itself)
    for value in (object(), {(1, 2): 3}, {1, 2}, b"x", itself):
        with pytest.raises(ValueError):
            plain(value)


def test_brief_is_short_whatever_the_value() -> None:
    tuples: Any = ()
    for _ in range(100):
        tuples = (tuples, tuples)
    for value in (tuples, "x" * 10**6, 10**5000, {"a": "y" * 1000}, [[[[[1]]]]], "\x1b[31m\n"):
        text = bounds.brief(value)
        assert len(text) <= 200 and text.isprintable()
    assert (bounds.brief("cat"), bounds.brief([1, "a"]), bounds.brief(2.5)) == (
        "'cat'", "[1, 'a']", "2.5"
    )  # fmt: skip
