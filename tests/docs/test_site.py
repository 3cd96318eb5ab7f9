"""The site is built without a warning; links of pages outside of it lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import REPOSITORY

OUTSIDE = [REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "examples/images/README.md")]


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason='pip install "yolov4sdk[docs]"'
)
def test_site_builds_strictly(tmp_path: Path) -> None:
    """Dead links and anchors, pages outside the menu and unknown API names are warnings.

    With `-q` mkdocs counts no warnings, so it would not be strict.
    """
    site = tmp_path / "site"
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(site)],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    api = (site / "api.html").read_text(encoding="utf-8")
    for name in ("Detector.infer", "Detections.to_coco", "export_model", "NonFiniteLossError"):
        assert re.search(rf'id="[\w.]*\.{re.escape(name)}"', api), name
    assert (site / "images" / "data-flow.svg").is_file()


@pytest.mark.parametrize("page", OUTSIDE, ids=lambda page: page.name)
def test_relative_links(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
