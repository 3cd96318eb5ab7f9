"""Every Python block of the README and of docs/ runs as it stands, on small models."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from yolov4sdk.errors import MissingExtraError

from .blocks import IDS, PAGES, SHELL, Block, blocks
from .sandbox import Sandbox

NOT_RUN = {
    "docs/engines.md": 1,
    "docs/quantisation.md": 1,
    "docs/training.md": 1,
    "docs/triton.md": 1,
    "docs/video.md": 1,
}
"""Blocks with a `<!-- not run: REASON -->`, by page. Run a block rather than adding to these."""

DATA: dict[str, Callable[[str], Any]] = {
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "json": json.loads,
    "toml": tomllib.loads,
}
LANGUAGES = {"python", *DATA, *SHELL, "text", "dockerfile", "protobuf", ""}
WITH_PYTHON = [(p, i) for p, i in zip(PAGES, IDS, strict=True) if "```python" in p.read_text()]


@pytest.mark.parametrize("page", [p for p, _ in WITH_PYTHON], ids=[i for _, i in WITH_PYTHON])
def test_python_blocks(page: Path, sandbox: Sandbox) -> None:
    """The blocks of a page run one after the other in one namespace."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    lacking = []
    for block in blocks(page):
        if block.language == "python":
            sandbox.supply_python(block.text)
            try:
                run(block, namespace)
            except MissingExtraError as error:
                lacking.append(f"{block}: {error}")
    if lacking:
        pytest.skip("; ".join(lacking))


def run(block: Block, namespace: dict[str, Any]) -> None:
    """Run a block, or its imports alone where it is marked; errors show the page's own lines."""
    tree = ast.parse("\n" * (block.line - 1) + block.text, str(block.page))
    if block.not_run is not None:
        tree.body = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    exec(compile(tree, str(block.page), "exec", dont_inherit=True), namespace)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_data_blocks_are_valid(page: Path) -> None:
    for block in blocks(page):
        if block.language in DATA:
            try:
                DATA[block.language](block.text)
            except (ValueError, yaml.YAMLError) as error:
                pytest.fail(f"{block}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_no_block_escapes(page: Path) -> None:
    """By a language that is not known, or by none at all."""
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block}: language {block.language!r}"
        bare = not block.language and not block.is_shell
        assert not (bare and "import " in block.text), f"{block} looks like Python; say so"


def test_blocks_that_are_not_run() -> None:
    counts = {
        name: sum(block.not_run is not None for block in blocks(page))
        for page, name in zip(PAGES, IDS, strict=True)
    }
    assert {name: n for name, n in counts.items() if n} == NOT_RUN
