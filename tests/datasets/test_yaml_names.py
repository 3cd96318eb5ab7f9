"""Class names in data.yaml are what is written there; paths are those of their exporters."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolov4sdk.datasets import find_splits, load_dataset
from yolov4sdk.errors import DatasetError

from .conftest import picture

HEAD = "train: images\n"


def names_of(folder: Path, text: str | bytes) -> tuple[str, ...]:
    picture(folder / "images" / "a.jpg")
    (folder / "images" / "a.txt").write_text("0 .5 .5 .4 .4\n")
    data = text if isinstance(text, bytes) else (HEAD + text).encode()
    (folder / "data.yaml").write_bytes(data)
    return load_dataset(folder / "data.yaml").names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [no, off, 1.10, 007, ~, null, 1e3, 0x10, 2024-01-01, 1:30]",
         ("no", "off", "1.10", "007", "~", "null", "1e3", "0x10", "2024-01-01", "1:30")),
        ("names:\n  '1': dog\n  \"0\": cat", ("cat", "dog")),
        ("names: {0: yes, 1: 1_000}", ("yes", "1_000")),
        ("names:\n- 'no'\n- \"~\"", ("no", "~")),
        ("nc: 2\nnames: [30, 50]", ("30", "50")),
        ("nc: 3", ("class0", "class1", "class2")),
        ("names: &n [a, b]\nother: *n", ("a", "b")),
    ],
)  # fmt: skip
def test_names_are_taken_as_written(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    assert names_of(tmp_path, text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "names:\n  0: cat\n  1: dog\n  1: horse",
            r"line 5: the key '1' is there twice .*dog.*hors",
        ),
        ("names:\n  0: cat\n  '0': dog", "'0' is there twice"),
        ("names:\n  0: cat\n  00: dog", "the id 0 twice, for 'cat' and 'dog'"),
        ("names: [a]\nnames: [b]", "'names' is there twice"),
        ("names:\n  0: cat\n  1:", "name of class 1 must be a text, got ''"),
        ("names: [[a], b]", "name of class 0 must be a text"),
        ("names: {yes: a}", "got yes"),
        ("nc: many\nnames: [a]", "nc must be the number"),
        ("names: [" * 3000, "not valid YAML"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        names_of(tmp_path, text)
    assert len(str(caught.value)) < 1000


def test_an_expanding_alias_stays_small(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    with pytest.raises(DatasetError, match="aliases counted") as caught:
        names_of(tmp_path, "\n".join([*lines, "val: *a59", "names: [a]"]))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    assert names_of(tmp_path, (HEAD + "names: [café, 猫]").encode(encoding)) == ("café", "猫")


def test_latin_1_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"line 2 is not UTF-8 text .*0xe9.*iconv"):
        names_of(tmp_path, (HEAD + "names: [café]").encode("latin-1"))


def test_roboflow_paths(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        picture(tmp_path / "ds" / split / "images" / "a.jpg")
        label = tmp_path / "ds" / split / "labels" / "a.txt"
        label.parent.mkdir()
        label.write_text("1 .5 .5 .4 .4\n")
    file = tmp_path / "ds" / "data.yaml"
    file.write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
        "nc: 2\nnames: ['cat', 'dog']\n"
    )
    dataset = load_dataset(file, "val")
    assert dataset.report.class_counts == {"cat": 0, "dog": 1}
    assert dataset.images == [tmp_path / "ds" / "valid" / "images" / "a.jpg"]
    assert any("../valid/images is read as" in note for note in dataset.report.notes)
    assert any("test (../test/images)" in note for note in dataset.report.notes)
    assert find_splits(file) == ["train", "val"]
    with pytest.raises(DatasetError, match="leaves the data set"):
        load_dataset(file, "test")


@pytest.mark.parametrize("path", ["../../etc", "../a/../../etc", "..", "../"])
def test_other_paths_that_leave_are_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "ds").mkdir()
    (tmp_path / "ds" / "data.yaml").write_text(f"train: {path}\nnames: [a]\n")
    with pytest.raises(DatasetError, match="leaves the data set"):
        load_dataset(tmp_path / "ds" / "data.yaml")
