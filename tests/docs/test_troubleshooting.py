"""The messages and errors that docs/troubleshooting.md quotes are those of the source."""

from __future__ import annotations

import ast
import re
from itertools import chain

import pytest

from yolov4sdk import errors

from ..conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^### `(.+)`$", TEXT, re.MULTILINE)
HOLE = "\0"


@pytest.fixture(scope="module")
def templates() -> list[str]:
    """Each string of the source; NUL stands for what a format puts in."""
    files = chain.from_iterable(
        (REPOSITORY / house).rglob("*.py") for house in ("yolov4sdk", "export", "train", "serve")
    )
    return [text for file in files for text in strings(ast.parse(file.read_text(encoding="utf-8")))]


def strings(tree: ast.AST) -> list[str]:
    return [
        shape(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.Constant)
    ]


def shape(node: ast.JoinedStr | ast.Constant) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values
    )


def is_quoted_from(message: str, templates: list[str]) -> bool:
    """Whether one template has the message's fixed parts, in order and from the beginning on."""
    parts = message.split("…")
    pattern = re.compile("(?s:.*?)".join(map(re.escape, parts)), re.DOTALL)
    return any(pattern.match(template) for template in templates)


def test_there_are_messages() -> None:
    assert len(MESSAGES) > 30 and len(set(MESSAGES)) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_real(message: str, templates: list[str]) -> None:
    assert is_quoted_from(message, templates), message


def test_an_invented_message_is_found(templates: list[str]) -> None:
    assert not is_quoted_from("the model … is too blue; paint it", templates)


def test_errors_are_real() -> None:
    named = set(re.findall(r"`(\w+Error)`", TEXT))
    assert named and all(hasattr(errors, name) for name in named)
