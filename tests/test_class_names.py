"""What a class name or id means, in the command, in Python and in name files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolov4sdk.cli.options import parse_classes, parse_conf, parse_names
from yolov4sdk.errors import NamesError, UnknownClassError
from yolov4sdk.system.classes import resolve_classes, resolve_conf

ANIMALS = ("cat", "dog", "bee")
SIGNS = ("30", "50", "80")


@pytest.mark.parametrize(
    ("text", "names", "ids"),
    [
        ("dog,2", ANIMALS, [1, 2]),
        (" bee , 0 ", ANIMALS, [2, 0]),
        ("50", SIGNS, [1]),
        ("1,2", ("2", "1"), [1, 0]),  # names, not ids
        ("007", ("007", "7"), [0]),
    ],
)
def test_the_command(text: str, names: tuple[str, ...], ids: list[int]) -> None:
    assert resolve_classes(parse_classes(text) or (), names) == ids


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        (
            "1",
            SIGNS,
            r"no class '1' \(its names are numbers, so numbers mean names here",
        ),
        ("3", ANIMALS, "no class '3'; it has cat, dog, bee"),
        ("dgo", ANIMALS, r"did you mean 'dog'\? It has cat, dog, bee"),
        ("²", ANIMALS, "no class '²'"),
        ("9" * 5000, ANIMALS, "no class"),
        ("cat,", ANIMALS, "no class ''"),
        ("-1", ANIMALS, "no class '-1'"),
    ],
)
def test_the_command_refuses(text: str, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UnknownClassError, match=message):
        resolve_classes(parse_classes(text) or (), names)


def test_python_integers_are_ids() -> None:
    assert resolve_classes([1, np.int64(2)], SIGNS) == [1, 2]
    assert resolve_classes(0, ANIMALS) == [0] and resolve_classes("dog", ANIMALS) == [1]
    for wrong in (True, 50, -1, 1.0, None):
        with pytest.raises(UnknownClassError, match="the model has no class"):
            resolve_classes([wrong], SIGNS)  # type: ignore[list-item]


def test_thresholds_by_class_take_names_that_are_numbers() -> None:
    thresholds = resolve_conf(parse_conf("0.3,50=0.6"), SIGNS)
    np.testing.assert_allclose(thresholds, [0.3, 0.6, 0.3])
    np.testing.assert_allclose(resolve_conf(parse_conf("1=0.6"), ANIMALS, 0.1), [0.1, 0.6, 0.1])


def test_names_in_the_command() -> None:
    names = [f"object {number}" for number in range(80)]
    assert parse_names(",".join(names)) == names
    assert parse_names("a, b ,c") == ["a", "b", "c"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_name_files(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.names"
    file.write_bytes("café\r\n\r\n  thé \nlait".encode(encoding))
    assert parse_names(str(file)) == ["café", "thé", "lait"]


def test_name_files_that_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.names"
    file.write_bytes("lait\ncafé\n".encode("latin-1"))
    with pytest.raises(NamesError, match=r"a\.names cannot be read: line 2 is not UTF-8 text"):
        parse_names(str(file))
    with pytest.raises(NamesError, match="no file of class names"):
        parse_names(str(tmp_path / "none.names"))
