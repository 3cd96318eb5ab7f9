"""What is printed: on any terminal, and nothing in it is markup."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_cli import run
from yolov4sdk.cli.console import any_encoding, failed, messages, print_json
from yolov4sdk.system.files import printable


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_letters_that_a_terminal_lacks(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    any_encoding()
    names = ["図.jpg", "😀", "caf\udce9", "\x85é"]
    print_json(names)
    failed(messages(), f"{names[0]} {names[2]}")
    for stream in (out, err):
        stream.flush()
    written: bytes = out.buffer.getvalue()  # type: ignore[attr-defined]
    assert json.loads(written.decode(encoding)) == names
    assert b"failed" in err.buffer.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["run [/1]", "cam [red] 1.jpg", "yolov4sdk[heif]", "[bold]x[/]"])
def test_brackets_stay(capsys: pytest.CaptureFixture[str], text: str) -> None:
    failed(messages(), text)
    assert capsys.readouterr().err == f"failed {text}\n"


def test_bytes_of_names_are_escaped() -> None:
    assert printable(os.fsdecode(b"caf\xe9 \xc3\xa9.jpg")) == "caf\\xe9 é.jpg"
    assert printable(Path("a.jpg")) == "a.jpg"


def test_brackets_in_a_refusal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "detect", tmp_path / "no [/red] such.jpg")
    assert code == 2 and "no [/red] such.jpg" in err


def test_a_file_that_may_not_be_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Wherever the system refuses: one sentence with the name."""

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "data.yaml"))

    monkeypatch.setattr("yolov4sdk.cli.data.load_dataset", closed)
    code, _, err = run(capsys, "data", "check", tmp_path / "data.yaml")
    assert code == 2 and err.count("data.yaml") == 1 and "Permission denied" in err


def test_a_reader_that_has_enough() -> None:
    """`yolov4sdk models | head -1` ends without a word of Python's."""
    process = subprocess.Popen(
        [sys.executable, "-m", "yolov4sdk", "models", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    err = process.stderr.read().decode()
    process.wait(60)
    process.stderr.close()
    assert "Traceback" not in err and "Exception ignored" not in err, err
