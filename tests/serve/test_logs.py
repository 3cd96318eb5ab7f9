"""Log lines: for people on a terminal, JSON elsewhere, or as the setting says."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from serve.logs import configure
from serve.settings import Settings


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    names = ("yolov4sdk", "uvicorn", "uvicorn.error", "uvicorn.access")
    kept = [
        (log, log.handlers, log.propagate, log.level, log.disabled)
        for log in map(logging.getLogger, names)
    ]
    yield
    for log, handlers, propagate, level, disabled in kept:
        log.handlers, log.propagate, log.disabled = handlers, propagate, disabled
        log.setLevel(level)


@pytest.mark.parametrize(
    ("form", "terminal", "is_json"),
    [
        ("auto", True, False), ("auto", False, True), ("text", False, False), ("json", True, True),
    ],
)  # fmt: skip
def test_form(monkeypatch: pytest.MonkeyPatch, form: str, terminal: bool, is_json: bool) -> None:
    stream = Stream(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    configure(Settings(log_format=form))
    logging.getLogger("yolov4sdk.serve").info("started", extra={"fields": {"models": 2}})
    line = stream.getvalue()
    if is_json:
        assert json.loads(line)["models"] == 2
    else:
        assert line.endswith("INFO    started\n")
