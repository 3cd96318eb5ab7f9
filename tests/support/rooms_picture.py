"""The picture of the rooms in docs/architecture.md, drawn from the tree.

`python -m tests.support.rooms_picture` writes it.
"""

from __future__ import annotations

import ast
import textwrap
from html import escape

from ..conftest import REPOSITORY
from .rooms import ROOMS, arrows

PICTURE = REPOSITORY / "docs" / "images" / "rooms.svg"
WIDTH, BOX, HEIGHT, FLOOR = 1000, (240, 58), 58, 88
ABOVE = {
    "export": "models into files for other runtimes",
    "train": "data sets into models",
    "serve": "models behind HTTP",
}
"""The packages beside yolov4sdk; each imports it, and none of them another."""

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
font-family="Helvetica, Arial, sans-serif" role="img" aria-labelledby="title">
  <title id="title">The rooms of yolov4sdk, each above those that it imports</title>
  <style>
    .box {{ stroke: #455a64; stroke-width: 1.5; fill: #ffffff; }}
    .line {{ stroke: #78909c; stroke-width: 1.5; fill: none; }}
    .name {{ font-size: 15px; font-weight: bold; text-anchor: middle; }}
    .note {{ font-size: 11px; fill: #37474f; text-anchor: middle; }}
  </style>
  <rect width="{width}" height="{height}" fill="#ffffff"/>
"""


def picture() -> str:
    """The rooms on floors, with lines to the highest of those that each imports, as SVG."""
    below = {name: {other for one, other in arrows() if one == name} for name in ROOMS}
    floors: list[list[str]] = []
    level: dict[str, int] = {}
    for name in ROOMS:  # the lowest first
        level[name] = 1 + max((level[other] for other in below[name]), default=-1)
        floors += [[]] * (level[name] == len(floors))
        floors[level[name]] = [*floors[level[name]], name]
    floors.append(list(ABOVE))
    height = FLOOR * len(floors) - 6
    places = {
        name: (WIDTH * (2 * i + 1) // (2 * len(floor)), height - FLOOR * (number + 1) + 18)
        for number, floor in enumerate(floors)
        for i, name in enumerate(floor)
    }
    lines = [
        _line(places[name], places[other])
        for name in ROOMS
        for other in sorted(_nearest(name, below), key=list(ROOMS).index)
    ]
    boxes = [_box(name, *place) for name, place in places.items()]
    return "\n".join([_HEAD.format(width=WIDTH, height=height), *lines, *boxes, "</svg>\n"])


def _nearest(name: str, below: dict[str, set[str]]) -> set[str]:
    """Those it imports that are not reached through another one (transitive reduction)."""

    def reached(start: str) -> set[str]:
        return below[start].union(*(reached(other) for other in below[start]))

    through = set[str]().union(*(reached(other) for other in below[name]))
    return below[name] - through


def _line(upper: tuple[int, int], lower: tuple[int, int]) -> str:
    (x, y), (end_x, end_y) = (upper[0], upper[1] + HEIGHT), lower
    bend = (end_y - y) // 2
    return (
        f'  <path class="line" d="M{x} {y}C{x} {y + bend} {end_x} {end_y - bend} {end_x} {end_y}"/>'
    )


def _box(name: str, x: int, y: int) -> str:
    fill = ' style="fill: #e8eaf6"' if name in ABOVE else ""
    notes = textwrap.wrap(ABOVE.get(name) or _purpose(name), 38)
    texts = "".join(
        f'\n  <text class="note" x="{x}" y="{y + 36 + 14 * i}">{escape(note)}</text>'
        for i, note in enumerate(notes)
    )
    left, (width, height) = x - BOX[0] // 2, BOX
    return (
        f'  <rect class="box" x="{left}" y="{y}" width="{width}" height="{height}" rx="8"{fill}/>\n'
        f'  <text class="name" x="{x}" y="{y + 19}">{name}</text>{texts}'
    )


def _purpose(name: str) -> str:
    """The first sentence of a room's docstring."""
    path = REPOSITORY / "yolov4sdk" / name / "__init__.py"
    if not path.is_file():
        path = REPOSITORY / "yolov4sdk" / f"{name}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n")[0].rstrip(".")


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
