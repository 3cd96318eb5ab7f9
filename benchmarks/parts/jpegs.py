"""JPEG files of stated sizes, made from the photographs of the repository."""

from __future__ import annotations

import cv2

from ..suite.models import PHOTOGRAPHS

SIZES = {"720p": (720, 1280), "1080p": (1080, 1920), "12 MP": (3000, 4000)}
"""(height, width)"""


def jpegs(size: str, count: int) -> list[bytes]:
    """`count` encoded photographs, different ones in turn; quality 90, as cameras write."""
    height, width = SIZES[size]
    files = sorted(p for p in PHOTOGRAPHS.iterdir() if p.suffix in {".jpg", ".png"})
    made = []
    for path in files[:count]:
        pixels = cv2.resize(cv2.imread(str(path)), (width, height), interpolation=cv2.INTER_CUBIC)
        made.append(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return [made[i % len(made)] for i in range(count)]
