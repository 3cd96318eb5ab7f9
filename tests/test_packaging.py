"""pyproject.toml: the groups and the extras that repeat them, and names that the documents use."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

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


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pyright"), reason="pyright is not installed")
def test_every_public_name_has_a_type() -> None:
    """As pyright sees it, which is what editors show; needs `pip install "pyright[nodejs]"`."""
    command = ["pyright", "--verifytypes", "yolov4sdk", "--ignoreexternal", "--outputjson"]
    done = subprocess.run(
        [*command, "--pythonpath", sys.executable], cwd=REPOSITORY, capture_output=True, text=True
    )
    counts = json.loads(done.stdout)["typeCompleteness"]["exportedSymbolCounts"]
    assert counts["withKnownType"] > 2000
    assert counts["withAmbiguousType"] == counts["withUnknownType"] == 0, done.stdout[-3000:]
