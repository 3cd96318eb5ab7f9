"""The search for images: order, links, and what is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yolov4sdk.errors import ImageNotFoundError
from yolov4sdk.imaging.sources import expand, natural, search


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(root: Path, *sources: str | Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in expand(sources or [root])]


def test_natural_order(tmp_path: Path) -> None:
    names = ["frame1.jpg", "frame2.jpg", "frame10.jpg", "s2/1.jpg", "s10/1.jpg", "s10/02.jpg"]
    touch(*(tmp_path / name for name in names))
    right = ["frame1.jpg", "frame2.jpg", "frame10.jpg", "s2/1.jpg", "s10/1.jpg", "s10/02.jpg"]
    assert found(tmp_path) == right
    assert found(tmp_path, f"{tmp_path}/*.jpg") == right[:3]
    mixed = [Path("1.jpg"), Path("a.jpg"), Path("a1b.jpg"), Path("²3.jpg"), Path("01.jpg")]
    assert natural(reversed(mixed)) == natural(mixed)


def test_links_and_folders(tmp_path: Path) -> None:
    root = tmp_path / "in"
    touch(root / "d.jpg" / "a.jpg", root / "sub" / "b.jpg", tmp_path / "else" / "deep" / "c.jpg")
    (root / "linked").symlink_to("../else")
    (root / "linked-again").symlink_to("../else/deep")
    (tmp_path / "else" / "back").symlink_to("../in")
    (root / "up").symlink_to("..")
    (root / "same").symlink_to("sub")
    result = search([root])
    names = [path.relative_to(root).as_posix() for path in result.files]
    assert len(names) == len(set(names))
    assert {"d.jpg/a.jpg", "sub/b.jpg"} <= set(names) and len(names) == 3
    (line,) = result.notes()
    assert line.startswith("skipped 4 linked folders") and str(root / "same") in line


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.jpg", "b.jfif", "c.gif", "d.gif", "e.txt", "README")))
    os.mkfifo(tmp_path / "pipe.jpg")
    result = search([tmp_path])
    assert [path.name for path in result.files] == ["a.jpg", "b.jfif"]
    other, special = sorted(result.notes())
    assert other.startswith("skipped 1 that are not regular") and "pipe.jpg" in other
    assert special.startswith("skipped 4 of other kinds")
    assert all(count in special for count in ("2 .gif", "1 .txt", "1 no suffix"))
    glob = search([f"{tmp_path}/*"])
    assert "2 .gif" in glob.notes()[0]


def test_one_file_by_several_names(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").symlink_to("a.jpg")
    assert found(tmp_path) == ["1.jpg", "2.jpg", "a.jpg"]
    touch(tmp_path / "x" / "deep" / "b.jpg", tmp_path / "x" / "a.jpg")
    assert len(expand([tmp_path / "a.jpg", tmp_path / "x" / ".." / "a.jpg"])) == 1
    (tmp_path / "link").symlink_to("x/deep")
    assert len(expand([tmp_path / "a.jpg", tmp_path / "link" / ".." / "a.jpg"])) == 2  # x/a.jpg


def test_nothing_found_says_why(tmp_path: Path) -> None:
    touch(tmp_path / "a.gif")
    with pytest.raises(ImageNotFoundError, match=r"no images in .*1 \.gif"):
        search([tmp_path])
    with pytest.raises(ImageNotFoundError, match="no image, folder or match"):
        search(["x" * 300])
