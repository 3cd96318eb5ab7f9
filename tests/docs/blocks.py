"""The code blocks of the README and of docs/: found, and their shell lines taken apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]
IDS = [str(page.relative_to(REPOSITORY)) for page in PAGES]

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w+-]*)")
_MARKER = re.compile(r"^\s*<!-- not run: (?P<reason>.+) -->$")
_COMMAND = re.compile(r"^(    )+(?P<text>yolov4sdk .+)$")
SHELL = {"sh", "bash", "shell", "console"}


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: the file.
        line: number of its first line of code, from 1.
        language: as written behind the fence; "sh" for commands that are only indented.
        text: the code, without the indentation of a list item.
        not_run: the reason of a `<!-- not run: REASON -->` on the line before the fence.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def is_shell(self) -> bool:
        bare = not self.language and re.match(r"(yolov4sdk|pip|sh|docker) ", self.text)
        return self.language in SHELL or bool(bare)


def blocks(page: Path) -> list[Block]:
    return list(_blocks(page, page.read_text(encoding="utf-8").splitlines()))


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    marker: str | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if fence := _FENCE.match(line):
            start, indent = number, len(fence["indent"])
            while not lines[number].strip().startswith(fence["fence"]):
                number += 1
            text = "".join(text[indent:] + "\n" for text in lines[start:number])
            yield Block(page, start + 1, fence["language"], text, marker)
            number += 1
        elif command := _COMMAND.match(line):
            yield Block(page, number, "sh", command["text"] + "\n", marker)
        if line.strip():
            found = _MARKER.match(line)
            marker = found["reason"] if found else None


def commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command of shell text; environment, redirections left out."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for token in lexer:
            if set(token) <= set("|&;"):
                yield from _simple(words)
                words = []
            else:
                words.append(token)
        yield from _simple(words)


def _simple(words: list[str]) -> Iterator[list[str]]:
    for i, word in enumerate(words):
        if set(word) <= set("<>"):
            words = words[:i]
            break
    while words and re.match(r"^[A-Z_0-9]+=", words[0]):
        words = words[1:]
    if words:
        yield words
