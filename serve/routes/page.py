"""The page at `/`: an image in, boxes out, in any browser and without any outside asset."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from yolov4sdk.imaging.palette import ink, palette

from ..access import rule
from ..problems import Problem

_SCRIPTS: Final = ("page.js", "service.js", "view.js", "results.js", "video.js", "files.js")
_PHOTOGRAPHS: Final = ("dog.jpg", "horses.jpg", "chelsea.jpg", "person.jpg", "astronaut.jpg")
TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(_SCRIPTS, "text/javascript; charset=utf-8"),
    **dict.fromkeys(_PHOTOGRAPHS, "image/jpeg"),
}
"""The files of the page, each with its media type; nothing else is ever served from the folder."""

# Styles come only from the file; positions are set by the script through the CSSOM, which is
# allowed. An image that was picked is shown from a blob: address.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


_CLASSES: Final = 300
"""Colors that the page gets; with more classes they begin again."""

router = APIRouter(include_in_schema=False)

# Read once, at the import: a package that lacks a file is told at the start.
_FOLDER: Final = files("serve") / "static"
_CONTENT: Final = {name: (_FOLDER / name).read_bytes() for name in TYPES}


@router.get("/")
@rule("everybody")
async def index() -> Response:
    """The page."""
    return _answer("index.html")


@router.get("/static/palette.json")
@rule("everybody")
async def colors() -> Response:
    """The colors of drawings by class id: of a box, and of the letters on it."""
    return Response(_palette(), media_type="application/json", headers=HEADERS)


@cache
def _palette() -> str:
    def css(color: tuple[int, ...]) -> str:
        return "#" + bytes(reversed(color)).hex()

    return json.dumps([[css(color), css(ink(color))] for color in palette(_CLASSES)])


@router.get("/static/{name}")
@rule("everybody")
async def static(name: str) -> Response:
    """Its style, scripts, icon and example photographs."""
    if name not in TYPES:
        raise Problem(404, detail="the page has no such file")
    return _answer(name)


def _answer(name: str) -> Response:
    return Response(_CONTENT[name], media_type=TYPES[name], headers=HEADERS)
