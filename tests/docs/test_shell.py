"""Every command line of the README and of docs/ names what exists; the cheap ones are run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from yolov4sdk.cli import app
from yolov4sdk.errors import MissingExtraError

from ..conftest import REPOSITORY
from .blocks import IDS, PAGES, Block, blocks, commands
from .sandbox import Sandbox

CHEAP = {"detect", "info", "models"}
"""Commands that are run, on the small models and the bundled photographs."""

ELSEWHERE = ("://", "--ray", "--show")
"""What a command has in a word when it needs more than this machine: it is only parsed."""

FOREIGN = {
    "apt", "cat", "cd", "curl", "docker", "export", "git", "helm", "kubectl", "nvidia-smi",
    "printf", "python3", "ray", "serve", "tar", "tritonserver", ".",
}  # fmt: skip
"""Programs of others, which are not checked."""

GROUP: Any = typer.main.get_command(app)
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
INLINE = re.compile(r"`yolov4sdk ([a-z][^`]*)`")


def resolve(words: list[str]) -> tuple[Any, str, list[str]]:
    """The command that these words behind `yolov4sdk` name, its name, and its own words."""
    command, names = GROUP, ["yolov4sdk"]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]!r} in {' '.join(names)}"
        names.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    return command, " ".join(names), words


def check_ours(words: list[str]) -> None:
    """Parse a command line of ours as the program itself would, without running it."""
    command, name, rest = resolve(words)
    if command is GROUP or "--help" in rest:  # parsing `--install-completion` would do it
        assert set(rest) <= options(command), f"{name} has no {set(rest) - options(command)}"
    else:
        command.make_context(name, list(rest))


def options(command: Any) -> set[str]:
    return {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}


def check_command(words: list[str]) -> None:
    program, rest = words[0].removeprefix(".venv/bin/").removeprefix(".venv-demo/bin/"), words[1:]
    if program == "yolov4sdk":
        check_ours(rest)
    elif "yolov4sdk" in rest and rest[rest.index("yolov4sdk") - 1] == "-m":
        check_ours(rest[rest.index("yolov4sdk") + 1 :])
    elif program == "python" and rest[0] == "-m":
        path = REPOSITORY / rest[1].replace(".", "/")
        files = path.with_suffix(".py"), path / "__main__.py"
        assert rest[1] in {"pip", "venv", "build"} or any(f.is_file() for f in files), words
    elif program in {"python", "sh"}:
        assert (REPOSITORY / rest[0]).is_file(), f"no file {rest[0]}"
    elif program in {"pip", "uv"}:
        for extras in re.findall(r"(?:yolov4sdk|\.)\[([\w,-]+)\]", " ".join(rest)):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), extras
    elif program == "uvicorn":
        module = next(word for word in rest if ":" in word).partition(":")[0]
        assert (REPOSITORY / f"{module.replace('.', '/')}.py").is_file(), module
    else:
        assert program in FOREIGN, f"{program}: not ours; add it to FOREIGN if the page needs it"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_command_lines(page: Path) -> None:
    for block in blocks(page):
        if not block.is_shell:
            continue
        for words in commands(block.text):
            try:
                check_command(words)
            except Exception as error:  # the parser's own errors say what is wrong
                pytest.fail(f"{block}: {' '.join(words)}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_inline_commands(page: Path) -> None:
    for text in INLINE.findall(re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))):
        command, name, _ = resolve(text.split())
        given = set(re.findall(r"(?<!\S)(--[a-z][\w-]*)", text))
        assert given <= options(command), f"{page.name}: {name} has no {given - options(command)}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_inline_benchmarks(page: Path) -> None:
    for command in re.findall(r"`(python -m benchmarks[^`]+)`", page.read_text(encoding="utf-8")):
        check_command(command.split())


def cheap_commands() -> list[tuple[Block, list[str]]]:
    return [
        (block, words)
        for page in PAGES
        for block in blocks(page)
        if block.is_shell and block.not_run is None
        for words in commands(block.text)
        if words[0] == "yolov4sdk"
        and words[1] in CHEAP
        and not any(part in word for word in words for part in ELSEWHERE)
    ]


@pytest.mark.parametrize("words", [pytest.param(w, id=f"{b} {w[1]}") for b, w in cheap_commands()])
def test_cheap_commands_run(words: list[str], sandbox: Sandbox) -> None:
    sandbox.supply(words)
    try:
        assert app(words[1:], standalone_mode=False) in (None, 0)
    except MissingExtraError as error:
        pytest.skip(str(error))


def test_something_is_run() -> None:
    assert len(cheap_commands()) >= 5


@pytest.mark.parametrize(
    "line",
    ["yolov4sdk detect a.jpg --bogus", "yolov4sdk fly", "sh scripts/none", "frobnicate x",
     'pip install "yolov4sdk[none]"', "python -m benchmarks.none", "yolov4sdk val model.onnx"],
)  # fmt: skip
def test_wrong_lines_are_found(line: str) -> None:
    with pytest.raises(Exception, match=r"."):
        check_command(next(commands(line)))
