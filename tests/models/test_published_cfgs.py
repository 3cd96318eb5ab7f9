"""The table of published cfgs in docs/import.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.darknet_nets import cfg_text

from ..conftest import REPOSITORY
from ..support.darknet_family import FAMILY
from ..support.published import documented, outcome, outcomes, table

FOLDERS = os.environ.get("DARKNET_CFGS", "")
PAGE = REPOSITORY / "docs" / "import.md"
OWN = {
    **{name: FAMILY[name]((64, 128)) for name in FAMILY if not name.startswith("weighted")},
    **{
        name: cfg_text(name, (64, 128), width=0.125)
        for name in ("yolov4-csp", "yolov4-p5", "yolov4-p6", "yolov4", "yolov4-tiny-3l")
    },
}
"""Cfgs of the published structure, by the published name."""


@pytest.mark.parametrize("name", OWN)
def test_structures_become_what_the_table_says(name: str) -> None:
    published = documented(PAGE.read_text())
    known = published.get(name, published.get(f"{name}_BDD"))
    assert outcome(OWN[name]) == known


def test_the_table_is_whole() -> None:
    published = documented(PAGE.read_text())
    assert len(published) > 90 and table(published) in PAGE.read_text()


@pytest.mark.skipif(not FOLDERS, reason="DARKNET_CFGS names no folders of published cfgs")
def test_published_texts() -> None:
    found = outcomes(map(Path, FOLDERS.split(os.pathsep)))
    assert found == documented(PAGE.read_text())
