"""As many colors as there are classes, as far apart as the eye sees them."""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

# BGR. Distinct on photographs and for most kinds of color blindness (Okabe and Ito, 2008).
PALETTE: Final = (
    (0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240),
    (178, 114, 0), (0, 94, 213), (167, 121, 204), (60, 60, 220),
)  # fmt: skip
_LEVELS: Final = np.linspace(0, 255, 18).round()
_LIGHTNESS: Final = (0.45, 0.92)
"""Of the colors added: neither black nor white, which photographs are full of."""
# Oklab, in which equal distances look equal: linear sRGB to cone responses, and these to L, a, b
# (Ottosson, 2020, https://bottosson.github.io/posts/oklab/).
_CONES: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@functools.cache
def palette(count: int) -> tuple[Color, ...]:
    """Colors for `count` classes, the first eight of which are `PALETTE`.

    Each further one is the color of a regular grid that is farthest, in Oklab, from all before it
    (Gonzalez, 1985); when the grid is used up they begin again.
    """
    grid = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS), -1).reshape(-1, 3)
    places = oklab(grid)
    bright = (places[:, 0] > _LIGHTNESS[0]) & (places[:, 0] < _LIGHTNESS[1])
    grid, places = grid[bright], places[bright]
    colors: list[Color] = list(PALETTE)
    nearest = np.full(len(grid), np.inf)
    for known in oklab(np.array(PALETTE)):
        nearest = np.minimum(nearest, np.linalg.norm(places - known, axis=1))
    while len(colors) < min(count, len(grid)):
        i = int(nearest.argmax())
        blue, green, red = (int(v) for v in grid[i])
        colors.append((blue, green, red))
        nearest = np.minimum(nearest, np.linalg.norm(places - places[i], axis=1))
    return tuple(colors[i % len(colors)] for i in range(count))


def ink(ground: Color) -> Color:
    """Black or white, whichever has the higher contrast (WCAG 2.2) on a ground of this color."""
    blue, green, red = (_linear(np.float64(value / 255)) for value in ground)
    luminance = 0.0722 * blue + 0.7152 * green + 0.2126 * red
    bright = (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05)
    return (0, 0, 0) if bright else (255, 255, 255)


def oklab(bgr: NDArray[Any]) -> NDArray[np.float64]:
    """Lightness 0 to 1, a and b of colors [N, 3], blue, green and red in 0 to 255."""
    lab: NDArray[np.float64] = np.cbrt(_linear(bgr[:, ::-1] / 255) @ _CONES.T) @ _LAB.T
    return lab


def _linear(srgb: Any) -> Any:
    """Light of sRGB values 0 to 1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
