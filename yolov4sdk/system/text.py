"""Texts of other programs in UTF-8 or UTF-16, or refused; lists of names; what an error says."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_text(data: bytes) -> str:
    """Bytes of a text file to text; a byte order mark decides, else it is UTF-8.

    UTF-16 without a mark is known by its zero bytes. An 8-bit encoding (Latin-1, cp1252) cannot be
    told from its likes, so it is refused, not guessed.

    Raises:
        ValueError: says what is wrong and how to save the file.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None and b"\0" in data[:200]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"line {line} is not {(encoding or 'utf-8').removesuffix('-sig').upper()} text (byte "
            f"0x{data[error.start]:02x}); save the file as UTF-8, such as with "
            "`iconv -f latin1 -t utf-8`"
        ) from error


def lines_of(text: str) -> list[str]:
    """The lines of a text; only line feeds end one, since names may hold other separators."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def some_of(names: Sequence[str], most: int) -> str:
    """Names in one line, cut after so many; "" for none."""
    text = ", ".join(names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text


def first_line(error: BaseException) -> str:
    """What an error says, without what libraries put behind it: traces, hints, a full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
