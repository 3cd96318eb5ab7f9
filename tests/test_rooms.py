"""The rooms of yolov4sdk/: which may import which, no circles, sizes, and the page about them."""

from __future__ import annotations

import ast

import pytest

from .conftest import REPOSITORY
from .support.rooms import DOOR, ROOMS, arrows, circle, graph, python_files, room
from .support.rooms_picture import PICTURE, picture

MOST_ROOMS, MOST_ARROWS = 18, 80
FILE_LINES, FUNCTION_LINES = 400, 75
HOUSES = ("yolov4sdk", "export", "serve", "train")


def test_rooms_are_those_of_the_table() -> None:
    assert {room(module) for module in graph()} - DOOR == set(ROOMS)
    print(f"{len(ROOMS)} rooms, {len(arrows())} arrows between them")
    assert len(ROOMS) <= MOST_ROOMS and len(arrows()) <= MOST_ARROWS


def test_rooms_import_what_they_may() -> None:
    allowed = {(one, other) for one, others in ROOMS.items() for other in others.split()}
    surplus = {text for pair, text in arrows().items() if pair not in allowed}
    assert not surplus, "not in the table of tests/test_rooms.py"
    assert allowed == set(arrows()), "an arrow of the table that nothing uses any more"


def test_no_circles() -> None:
    lower = list(ROOMS)
    assert all(lower.index(other) < lower.index(one) for one, other in arrows())
    assert not circle(graph()), "files that import one another"


def test_the_picture_shows_the_tree() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), (
        "draw it again: python -m tests.support.rooms_picture"
    )


def test_the_page_names_every_room() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = {name for name in ROOMS if (REPOSITORY / "yolov4sdk" / f"{name}.py").is_file()}
    missing = {f"`{name}.py`" if name in files else f"`{name}/`" for name in ROOMS}
    assert not {name for name in missing if name not in text}


def test_circles_are_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


@pytest.mark.parametrize("house", HOUSES)
def test_files_and_functions_stay_small(house: str) -> None:
    lines, large, long = 0, [], []
    for path in python_files(house):
        name, text = str(path.relative_to(REPOSITORY)), path.read_text()
        count = len(text.splitlines())
        lines += count
        if count > FILE_LINES:
            large.append(f"{name}: {count} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > FUNCTION_LINES:
                    long.append(f"{name}: {node.name} has {length} lines")
    print(f"{house}: {lines:,} lines")
    assert not large and not long
