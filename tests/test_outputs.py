"""Results: named after their sources, and nothing of the user's replaced."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_cli import run
from yolov4sdk.detections import Detections
from yolov4sdk.errors import OutputError, SettingError
from yolov4sdk.imaging.images import SUFFIXES
from yolov4sdk.system.files import atomic_write
from yolov4sdk.system.outputs import (
    MANIFEST,
    OutputFiles,
    earlier_results,
    is_result,
    result_names,
)


@pytest.fixture(scope="module")
def model(micro_artefacts: dict[str, Path]) -> Path:
    return micro_artefacts["onnxruntime"]


def write(outputs: OutputFiles, path: Path, text: str) -> None:
    with outputs.writing(path) as temporary:
        temporary.write_text(text)


def test_overwrite_replaces_results_and_nothing_else(tmp_path: Path) -> None:
    files = [tmp_path / "a.txt", tmp_path / "sub" / "b.txt"]
    first = OutputFiles(tmp_path, files)
    for file in files:
        write(first, file, "first")
    with pytest.raises(SettingError, match=r"a\.txt is a result of an earlier run \(so are 1 more"):
        OutputFiles(tmp_path, files)
    again = OutputFiles(tmp_path, files, overwrite=True)
    write(again, files[0], "second")
    assert files[0].read_text() == "second" and is_result(files[0], earlier_results(tmp_path))
    files[1].write_text("corrected by hand")
    with pytest.raises(SettingError, match=r"b\.txt is there already and is not an unchanged"):
        OutputFiles(tmp_path, files, overwrite=True)
    with pytest.raises(SettingError, match="would replace its source"):
        OutputFiles(tmp_path, files, [tmp_path / "sub" / ".." / "a.txt"], overwrite=True)


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    outputs = OutputFiles(tmp_path, [tmp_path / "a.txt"])
    with pytest.raises(OutputError, match="another program"), outputs.writing(tmp_path / "a.txt"):
        (tmp_path / "a.txt").write_text("another's")
    assert (tmp_path / "a.txt").read_text() == "another's"
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", MANIFEST}
    assert not is_result(tmp_path / "a.txt", earlier_results(tmp_path))


def test_a_damaged_manifest_knows_what_is_left(tmp_path: Path) -> None:
    write(OutputFiles(tmp_path, []), tmp_path / "a.txt", "a")
    manifest = tmp_path / MANIFEST
    lines = ["no json", "[1]", '{"file": 3}', '{"file": "x", "bytes": "y", "mtime_ns": 1}']
    manifest.write_text("\n".join([*lines, manifest.read_text(), '{"file": "b']))
    assert is_result(tmp_path / "a.txt", earlier_results(tmp_path))


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["dog.jpg", "dog_png.jpg", "dog.png"], ["dog", "dog_png", "dog_png_2"]),
        (["a/1.jpg", "b/1.jpg"], ["a/1", "b/1"]),
        (["x/v1.1", "x/v1.2"], ["v1.1", "v1.2"]),
        (["d.png", "d.jpg/a.jpg"], ["d_png", "d.jpg/a"]),
        (["a.jpg", "a.jpeg", "a.JPG"], ["a", "a_jpeg", "a_JPG"]),
    ],
)
def test_names(sources: list[str], names: list[str]) -> None:
    assert [n.as_posix() for n in result_names([Path(s) for s in sources], SUFFIXES)] == names


PART = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "a/", "a.jpg/", "b_2/"]),
            st.sampled_from(["a", "a_png", "a_2", "b", "x" * 250]) | PART,
            st.sampled_from(["", ".jpg", ".png", ".PNG", ".txt"]),
        ),
        max_size=12,
    )
)
def test_no_two_names_are_the_same(parts: list[tuple[str, str, str]]) -> None:
    sources = list(dict.fromkeys(Path("".join(part)) for part in parts))
    names = result_names(sources, SUFFIXES)
    assert len(names) == len(sources) == len(set(names))
    pictures = {f"{name}.jpg" for name in names}
    assert not pictures & {str(parent) for name in names for parent in name.parents}


def test_a_long_name_is_written(tmp_path: Path) -> None:
    for name in ("x" * 251 + ".txt", "é" * 125 + ".txt", "y." + "z" * 253):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("a")
        assert (tmp_path / name).read_text() == "a"


def test_a_second_run(capsys, model: Path, photos_dir: Path, tmp_path: Path) -> None:
    """It is refused, `--overwrite` repeats it, and its own pictures are not read."""
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(photos_dir / "dog.jpg", photos / "a.jpg")
    words = ["detect", photos, "-m", model, "-o", photos / "out", "--format", "image,json,yolo"]
    assert run(capsys, *words)[0] == 0
    before = (photos / "out" / "a.jpg").read_bytes()
    code, _, err = run(capsys, *words)
    assert code == 2 and "--overwrite" in err
    code, _, err = run(capsys, *words, "--overwrite")
    assert code == 0 and "1 images" in err and "written by an earlier run" in err
    assert (photos / "out" / "a.jpg").read_bytes() == before
    (record,) = json.loads((photos / "out" / "detections.json").read_text())
    assert record["results"] == {"image": "a.jpg", "yolo": "labels/a.txt"}


def test_names_that_are_no_utf8(capsys, model: Path, photos_dir: Path, tmp_path: Path) -> None:
    shutil.copy(photos_dir / "dog.jpg", os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    out = tmp_path / "out"
    code, _, err = run(
        capsys, "detect", tmp_path, "-m", model, "-o", out, "--format", "json,csv,yolo", "--conf",
        "0.001",
    )  # fmt: skip
    assert code == 0, err
    (record,) = json.loads((out / "detections.json").read_text(encoding="utf-8"))
    assert record["file"] == f"{tmp_path}/caf\\xe9.jpg"
    assert "caf\\xe9.jpg" in (out / "detections.csv").read_text(encoding="utf-8")
    assert (Path(os.fsdecode(os.fsencode(out) + b"/labels/caf\xe9.txt"))).is_file()


def test_the_source_is_never_saved_over(photos_dir: Path, tmp_path: Path) -> None:
    import numpy as np

    shutil.copy(photos_dir / "dog.jpg", tmp_path)
    (tmp_path / "link.jpg").symlink_to("dog.jpg")
    none = Detections(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), ("a",),
        (576, 768),
    )  # fmt: skip
    before = (tmp_path / "dog.jpg").read_bytes()
    for target in ("dog.jpg", "link.jpg"):
        with pytest.raises(SettingError, match="is the source image"):
            none.save(tmp_path / target, tmp_path / "dog.jpg")
    assert (tmp_path / "dog.jpg").read_bytes() == before
    assert none.save(tmp_path / "drawn.jpg", tmp_path / "dog.jpg").is_file()
