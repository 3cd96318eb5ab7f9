"""Changes to good files: of bytes, of texts, of values in documents, of the opcodes of pickles."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import zipfile
from itertools import pairwise
from random import Random
from typing import Any

LARGE = [
    0, 1, -1, 127, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64,
    -(2**63), 10**12, 10**30,
]  # fmt: skip
TOKENS = [
    *map(str, LARGE), "9" * 5000, "1e999", "-1e999", "1e-400", ".inf", ".nan", "nan", "NaN", "inf",
    "Infinity", "0x7fffffffffffffff", "1:1:1:1", "", "~", "null", "true", "[]", "{}", "''", "- -",
    "&a [*a]", "*a", "!!python/object/apply:os.system [touch canary]", "!!timestamp x", "<<: *a",
    "\u202e", "\ud7ff", "\x00", "\x1b[31m", "x" * 3000, "[" * 200, "{" * 200, "a: " * 100,
    "\n[net]\n", "\n[yolo]\n", "=", "#", ";", ",", "\\ud800",
]  # fmt: skip


def change_bytes(rng: Random, data: bytes) -> bytes:
    """A few bytes changed, moved, repeated or left out."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not changed:
            return b""
        at = rng.randrange(len(changed))
        length = min(rng.choice((1, 2, 4, 8, 16, 200, 5000)), len(changed) - at)
        part = bytes(changed[at : at + length])
        what = rng.randrange(8)
        if what == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif what == 2:
            form = rng.choice(("<I", "<Q", ">I"))
            number = rng.choice(LARGE) % (1 << 8 * struct.calcsize(form))
            changed[at : at + struct.calcsize(form)] = struct.pack(form, number)
        elif what == 3:
            del changed[at : at + length]
        elif what == 4:
            changed[at:at] = part * rng.choice((1, 2, 100))
        elif what == 5:
            del changed[at:]
        elif what == 6:
            changed[at:at] = rng.randbytes(length)
        else:
            to = rng.randrange(len(changed))
            changed[to : to + length] = part
    return bytes(changed)


def change_text(rng: Random, text: str) -> str:
    """A token, a line or a bracket changed."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        lines = text.split("\n")
        tokens = list(re.finditer(r"[\w.+-]+", text))
        line, what = rng.randrange(len(lines)), rng.randrange(7)
        if what <= 2 and tokens:
            found = rng.choice(tokens)
            other = rng.choice((rng.choice(TOKENS), rng.choice(tokens).group()))
            text = text[: found.start()] + other + text[found.end() :]
        elif what == 3:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(TOKENS) + text[at:]
        elif what == 4:
            text = "\n".join(lines[:line] + lines[line + 1 :])
        elif what == 5:
            lines[line:line] = [lines[line]] * rng.choice((1, 2, 2000))
            text = "\n".join(lines)
        else:
            at, deep = rng.randrange(len(text) + 1), rng.choice((3, 100, 5000))
            text = text[:at] + "[" * deep + text[at:] + "]" * rng.choice((0, deep))
    return text


def other_value(rng: Random, value: Any) -> Any:
    """Some value in the place of this one."""
    deep: Any = []
    for _ in range(rng.choice((3, 100))):
        deep = [deep]
    return rng.choice([
        *LARGE, 1e308, float("inf"), float("nan"), -0.5, 1e-300, "", "x" * 5000, "\x1b[2J", None,
        True, [], {}, deep, [value] * 3000, {"a": value}, [value, value], str(value), [[]] * 50,
    ])  # fmt: skip


def change_value(rng: Random, value: Any) -> Any:
    """A document in which one value is another, is missing, or is there twice."""
    if isinstance(value, dict) and value and rng.random() < 0.92:
        key = rng.choice(list(value))
        if rng.random() < 0.08:
            return {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.05:
            return {**value, rng.choice(("x", "__proto__", "", key * 2)): value[key]}
        return {**value, key: change_value(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.92:
        at = rng.randrange(len(value))
        if rng.random() < 0.1:
            return value[:at] + value[at + 1 :]
        if rng.random() < 0.1:
            return value[:at] + [value[at]] * rng.choice((2, 50, 3000)) + value[at + 1 :]
        return [*value[:at], change_value(rng, value[at]), *value[at + 1 :]]
    return other_value(rng, value)


GLOBALS = [
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"c__builtin__\ngetattr\n", b"cposix\nsystem\n",
    b"ctorch\nload\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n",
    b"c_codecs\nencode\n", b"cmodels.yolo\nModel\n", b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"cbuiltins\nset\n",
]  # fmt: skip
CALL = b"cos\nsystem\n(X\x0c\x00\x00\x00touch canaryt"


def change_pickle(rng: Random, data: bytes) -> bytes:
    """A pickle with some of its opcodes changed, moved, repeated or left out."""
    starts = [at for _, _, at in pickletools.genops(data) if at is not None] + [len(data)]
    steps = [data[a:b] for a, b in pairwise(starts)]
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, to = rng.randrange(len(steps)), rng.randrange(len(steps))
        what = rng.randrange(9)
        if what == 0:
            del steps[at]
        elif what == 1:
            steps[at:at] = [steps[at]] * rng.choice((1, 50, 20_000))
        elif what == 2:
            steps[at], steps[to] = steps[to], steps[at]
        elif what == 3:
            steps[at] = steps[to]
        elif what == 4:
            value = rng.choice(LARGE)
            number = pickle.encode_long(value)
            steps[at] = rng.choice((
                pickle.LONG1 + bytes([len(number)]) + number,
                pickle.BINFLOAT + struct.pack(">d", rng.choice((float("nan"), 1e308, -0.0))),
                pickle.BINUNICODE + struct.pack("<I", value % 2**32),
                pickle.LONG_BINGET + struct.pack("<I", rng.randrange(300)),
                pickle.LONG_BINPUT + struct.pack("<I", value % 2**32),
            ))  # fmt: skip
        elif what == 5:
            steps[at:at] = [rng.choice(GLOBALS)]
        elif what == 6:
            steps[at:at] = [CALL, rng.choice((b"R", b"\x81", b"o", b"b"))]
        elif what == 7:
            code = rng.choice(pickletools.opcodes).code.encode("latin1")
            steps[at:at] = [code + rng.randbytes(rng.choice((0, 1, 4, 8)))]
        else:
            steps[at] = change_bytes(rng, steps[at])
        if not steps:
            return b"."
    return b"".join(steps)


def change_zip(rng: Random, data: bytes) -> bytes:
    """A checkpoint whose pickle, entries or bytes are changed; the checksums are right again."""
    if rng.random() < 0.2:
        return change_bytes(rng, data)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            content, name = old.read(info), info.filename
            if name.endswith("data.pkl"):
                content = change_pickle(rng, content)
            elif rng.random() < 0.03:
                content = change_bytes(rng, content)
            if rng.random() < 0.01:
                name += "x"
            if rng.random() > 0.01:
                new.writestr(name, content)
    return out.getvalue()
