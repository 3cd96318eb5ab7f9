"""pyproject.toml: the groups and the extras that repeat them, and names that the documents use."""

from __future__ import annotations

import re
import tomllib

from .conftest import REPOSITORY

DATA = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = DATA["project"]["optional-dependencies"]
PURPOSES = (
    "cpu", "gpu", "openvino", "tensorrt", "images", "video", "track", "eval", "train", "export",
    "quantise", "serve", "cluster",
)  # fmt: skip


def test_the_groups_are_the_extras_of_older_pip() -> None:
    groups = DATA["dependency-groups"]
    product, *tools = EXTRAS["dev"]
    assert EXTRAS["docs"] == groups["docs"]
    assert tools[-1] == "yolov4sdk[docs]" and product.startswith("yolov4sdk[")
    assert [*tools[:-1], {"include-group": "docs"}] == groups["dev"]


def test_extras_name_extras_that_exist() -> None:
    for lines in EXTRAS.values():
        for line in lines:
            if found := re.match(r"yolov4sdk\[([\w,-]+)\]", line):
                assert set(found[1].split(",")) <= set(EXTRAS), line


def test_the_first_extras_are_named_by_purpose_and_explained() -> None:
    assert tuple(EXTRAS)[: len(PURPOSES)] == PURPOSES
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("| to | extra |") :].split("\n\n")[0]
    assert set(re.findall(r"`([\w-]+)`", table)) >= set(PURPOSES)
