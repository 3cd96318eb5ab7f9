"""The tables of docs/conventions.md are those of the code; each family has its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from yolov4sdk.conventions.declaration import foreign, read_declaration

from ..conftest import REPOSITORY
from .blocks import blocks, commands
from .convention_tables import PAGE, SCHEMA, described, replaced, tables

FAMILIES = REPOSITORY / "docs" / "families.md"


def test_tables_are_true() -> None:
    """If not: `python -m tests.docs.convention_tables`."""
    text = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table: (\S+) -->", text)) == set(tables())
    assert replaced(text) == text


def test_every_field_is_described() -> None:
    for kind in SCHEMA.values():
        assert set(kind.__dataclass_fields__) <= set(described(kind)), kind


def test_every_declaration_has_a_family() -> None:
    """Each is adopted by a command of the page, and no other name is."""
    used = set()
    for block in blocks(FAMILIES):
        for words in commands(block.text):
            if words[:2] == ["yolov4sdk", "adopt"] and "--as" in words:
                used.add(words[words.index("--as") + 1])
    named = set(re.findall(r"`--as ([\w-]+)", FAMILIES.read_text(encoding="utf-8")))
    assert used | named == set(foreign())


def test_a_family_has_four_commands() -> None:
    """From a published file to a served model: adopt, detect, val, serve."""
    for section in FAMILIES.read_text(encoding="utf-8").split("\n## ")[1:]:
        for wanted in ("adopt", "detect", "val", "serve"):
            assert f"\nyolov4sdk {wanted} " in section, section.splitlines()[0]


def test_the_example_is_a_declaration(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    text = next(block.text for block in blocks(PAGE) if block.language == "yaml")
    (tmp_path / "ours.yaml").write_text(text, encoding="utf-8")
    row = read_declaration(tmp_path / "ours.yaml")
    assert (row.name, row.output.box, row.output.unit) == ("ours", "xyxy", "fraction")
    assert row.input is not None and row.input.color == "BGR"
