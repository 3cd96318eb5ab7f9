"""Text in scripts that OpenCV does not draw right: ordered, shaped and rasterised here.

The order of right-to-left text is that of the Unicode Bidirectional Algorithm (UAX #9), by
python-bidi; glyphs and their places are HarfBuzz's, by uharfbuzz. Fonts are the system's: for each
character the first one that has it.
"""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

logger: logging.Logger = logging.getLogger(__name__)

_OPENCV_5: Final = int(cv2.__version__.split(".")[0]) >= 5
_CJK: Final = ((0x2E80, 0xA4CF), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF))
_FINER: Final = 4
"""Outlines are filled at this many times the size, for smooth edges."""
_CURVE: Final = np.linspace(0, 1, 9)[1:, None]
_CAPITALS: Final = 0.72
"""Height of a capital letter in the size of a font."""
_FOLDERS: Final = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts",),
}
_OTHERS: Final = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
"""Folders of fonts."""
_EMOJI: Final = 0x2600
"""From here on fonts with colors are asked."""
_FIRST: Final = ("notocoloremoji", "notosans-", "notosans", "dejavusans.", "lohit", "loma.")
"""Beginnings of the file names of fonts that are asked first: upright ones without serifs."""
_LAST: Final = ("bold", "italic", "oblique", "mono", "serif", "condensed", "light", "thin")


def drawn_by_opencv(text: str) -> bool:
    """Whether OpenCV itself draws a text right: letters one after the other that it has."""
    limit = 0x590 if _OPENCV_5 else 0x80
    return all(
        ord(c) < limit
        or (_OPENCV_5 and (0x1E00 <= ord(c) < 0x2600 or any(a <= ord(c) <= b for a, b in _CJK)))
        for c in text
    )


@dataclass(frozen=True)
class Picture:
    """A line of text.

    Attributes:
        mask: float32 [H, W], 0 to 1, where there is ink.
        colors: uint8 BGR [H, W, 3] of what has colors of its own (emoji); black elsewhere.
        colored: float32 [H, W], 0 to 1, where these are.
        baseline: rows above the letters' feet.
    """

    mask: NDArray[np.float32]
    colors: NDArray[np.uint8]
    colored: NDArray[np.float32]
    baseline: int


@lru_cache(maxsize=512)
def picture(text: str, capitals: int) -> Picture | None:
    """A line of text with capital letters of this height in pixels.

    None where the packages or the fonts for it are missing, which is logged once.
    """
    try:
        import bidi.algorithm  # noqa: F401
        import uharfbuzz as hb
    except ImportError as error:
        _say(f'labels like {text!r} need {error.name}: pip install "yolov4sdk[text]"')
        return None
    size = capitals / _CAPITALS
    placed: list[tuple[Any, int, float, float]] = []
    x, top, bottom = 0.0, size * 0.95, size * 0.25
    for run, font, right_to_left in _runs(text):
        buffer = hb.Buffer()
        buffer.add_str(run)
        buffer.guess_segment_properties()
        buffer.direction = "rtl" if right_to_left else "ltr"
        hb.shape(font, buffer)
        scale = size / font.face.upem
        for glyph, at in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            place = (x + at.x_offset * scale, at.y_offset * scale)
            placed.append((font, glyph.codepoint, *place))
            if extents := font.get_glyph_extents(glyph.codepoint):
                high = place[1] + extents.y_bearing * scale
                top, bottom = max(top, high), max(bottom, -high - extents.height * scale)
            x += at.x_advance * scale
    height, baseline = int(np.ceil(top) + np.ceil(bottom)), int(np.ceil(top))
    shape = (height, max(1, int(np.ceil(x))))
    ink = np.zeros((shape[0] * _FINER, shape[1] * _FINER), np.uint8)
    colors, colored = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32)
    for font, glyph, left, up in placed:
        if not _bitmap(font, glyph, size, (left, baseline - up), colors, colored):
            _fill(ink, font, glyph, size / font.face.upem, (left, baseline - up))
    mask = cv2.resize(ink, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return Picture(mask, colors, colored, baseline)


def _fill(
    ink: NDArray[np.uint8], font: Any, glyph: int, scale: float, origin: tuple[float, float]
) -> None:
    """Fill a glyph's outline."""
    pen = _Outline()
    font.draw_glyph_with_pen(glyph, pen)
    place = np.array(origin)
    contours = [
        np.rint((np.array(contour) * (scale, -scale) + place) * _FINER * 16).astype(np.int32)
        for contour in pen.contours if len(contour) > 2
    ]  # fmt: skip
    # By itself and not into the whole: where glyphs overlap nothing is left out.
    if contours:
        one = np.zeros_like(ink)
        cv2.fillPoly(one, contours, 255, cv2.LINE_8, 4)
        np.maximum(ink, one, out=ink)


class _Outline:
    """A pen of fontTools' protocol that collects contours as points; curves become lines."""

    def __init__(self) -> None:
        self.contours: list[list[Any]] = []

    def moveTo(self, point: Any) -> None:
        """Begin a contour."""
        self.contours.append([point])

    def lineTo(self, point: Any) -> None:
        """A straight line."""
        self.contours[-1].append(point)

    def qCurveTo(self, control: Any, end: Any) -> None:
        """A quadratic curve of Bézier."""
        start, control, end = (np.array(p, float) for p in (self.contours[-1][-1], control, end))
        t = _CURVE
        self.contours[-1] += list((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end)

    def curveTo(self, first: Any, second: Any, end: Any) -> None:
        """A cubic curve of Bézier."""
        points = (self.contours[-1][-1], first, second, end)
        a, b, c, d = (np.array(p, float) for p in points)
        t = _CURVE
        curve = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
        self.contours[-1] += list(curve)

    def closePath(self) -> None:
        """Contours are closed anyway."""


def _bitmap(
    font: Any, glyph: int, size: float, origin: tuple[float, float], colors: Any, colored: Any
) -> bool:
    """Draw a glyph that is a picture (an emoji as PNG, table CBDT); False where it is none."""
    if not font.face.has_color_png or not (data := font.get_glyph_color_png(glyph).data):
        return False
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    height = max(1, round(size * 1.1))
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    left, top = round(origin[0]), max(0, round(origin[1] - 0.9 * size))
    room = colors[top : top + height, left : left + width]
    image = image[: room.shape[0], : room.shape[1]]
    room[:] = image[..., :3]
    colored[top : top + height, left : left + width] = image[..., 3] / np.float32(255)
    return True


def _runs(text: str) -> Iterator[tuple[str, Any, bool]]:
    """Parts of one direction, one script and one font, from left to right as they are seen."""
    levels = _levels(text)
    fonts: list[Any] = []
    scripts: list[str] = []
    for c in text:
        follows = bool(fonts) and unicodedata.category(c) in ("Mn", "Mc", "Me", "Cf")
        fonts.append(fonts[-1] if follows else _font_for(c))
        letter = unicodedata.category(c)[0] == "L"
        scripts.append(
            unicodedata.name(c, "?").split()[0] if letter else scripts[-1] if scripts else ""
        )
    keys = [(level, id(f), s) for level, f, s in zip(levels, fonts, scripts, strict=True)]
    parts = [[i for i, _ in group] for _, group in groupby(enumerate(keys), key=lambda k: k[1])]
    for level in range(max(levels, default=0), 0, -1):  # UAX #9, rule L2
        parts = _turned(parts, [levels[part[0]] >= level for part in parts])
    for part in parts:
        yield "".join(text[i] for i in part), fonts[part[0]], bool(levels[part[0]] % 2)


def _turned(parts: list[list[int]], high: list[bool]) -> list[list[int]]:
    """Each stretch of what is high in the opposite order."""
    found: list[list[int]] = []
    start = 0
    for is_high, group in groupby(high):
        end = start + len(list(group))
        found += parts[start:end][::-1] if is_high else parts[start:end]
        start = end
    return found


def _levels(text: str) -> list[int]:
    """The embedding level of each character; odd ones run from right to left."""
    from bidi import algorithm

    storage = algorithm.get_empty_storage()
    storage["base_level"] = algorithm.get_base_level(text)
    storage["base_dir"] = ("L", "R")[storage["base_level"]]
    algorithm.get_embedding_levels(text, storage)
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    levels = [character["level"] for character in storage["chars"]]
    # Characters of direction only are left out there; names of classes hardly have them.
    return levels if len(levels) == len(text) else [storage["base_level"]] * len(text)


@cache
def _font_for(character: str) -> Any:
    """The first font of the system that has a character; the first of all where none has it."""
    first, code = None, ord(character)
    for font, characters, colored in _fonts():
        if colored and code < _EMOJI:  # these have digits too
            continue
        if code in characters:
            return font
        first = first or font
    _say(
        f"no font of this system has {character!r}; on Debian: apt install fonts-noto-core "
        "fonts-noto-cjk fonts-noto-color-emoji"
    )
    return first


_read: list[tuple[Any, set[int], bool]] = []
"""Fonts that were opened; others are opened when none of these has a character."""
_waiting: list[Path] | None = None


def _fonts() -> Iterator[tuple[Any, set[int], bool]]:
    global _waiting
    if _waiting is None:
        folders = map(os.path.expanduser, _FOLDERS.get(sys.platform, _OTHERS))
        found = [p for folder in folders for p in Path(folder).rglob("*") if _is_font(p)]
        _waiting = sorted(found, key=_rank, reverse=True)
    yield from _read
    while _waiting:
        import uharfbuzz as hb

        path = _waiting.pop()
        try:
            face = hb.Face(hb.Blob.from_file_path(str(path)))
            _read.append((hb.Font(face), set(face.unicodes), face.has_color_png))
        except Exception as error:  # whatever is wrong with a file of the system
            logger.debug("%s: %s", path, error)
            continue
        yield _read[-1]


def _is_font(path: Path) -> bool:
    return path.suffix.lower() in (".ttf", ".otf", ".ttc", ".otc")


def _rank(path: Path) -> tuple[int, int, str]:
    name = path.name.lower()
    first = next((i for i, start in enumerate(_FIRST) if name.startswith(start)), len(_FIRST))
    return sum(word in name for word in _LAST), first, name


@cache
def _say(sentence: str) -> None:
    logger.warning(sentence)
