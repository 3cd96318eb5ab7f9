"""The header of PBM, PGM, PPM and PAM files."""

from __future__ import annotations

import re
from typing import Final

_HEAD: Final = 4096  # bytes in which the header ends; comments may be in it
_UNSCALED: Final = {b"P5", b"P6"}  # OpenCV scales P2 and P3 up to a maximum of 255 by itself


def pnm_maximum(data: bytes) -> int | None:
    """The value that means white, where OpenCV would not scale by it; None for other files.

    255 and 65535 are None too: these are the values of 8 and 16 bits.
    """
    kind = data[:2]
    if kind not in (b"P2", b"P3", b"P5", b"P6", b"P7") or data[2:3] not in b" \t\r\n#":
        return None
    head = re.sub(rb"#[^\r\n]*", b"", data[2:_HEAD])
    if kind == b"P7":
        found = re.search(rb"\bMAXVAL\s+(\d{1,5})\b", head)
    else:
        found = re.match(rb"\s+\d+\s+\d+\s+(\d{1,5})\s", head)
    maximum = int(found[1]) if found else 0
    if not 0 < maximum < 65535 or maximum == 255:
        return None
    return maximum if maximum > 255 or kind in (*_UNSCALED, b"P7") else None
