"""The page at `/`: an image in, boxes out, in any browser and without any outside asset."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from ..access import rule
from ..problems import Problem

TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files of the page, each with its media type; nothing else is ever served from the folder."""

# Styles come from the file alone; positions are set by the script through the CSSOM, which is
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


router = APIRouter(include_in_schema=False)

# Read once, at the import: a package that lacks a file is told at the start.
_FOLDER: Final = files("serve") / "static"
_CONTENT: Final = {name: (_FOLDER / name).read_bytes() for name in TYPES}


@router.get("/")
@rule("everybody")
async def index() -> Response:
    """The page."""
    return _answer("index.html")


@router.get("/static/{name}")
@rule("everybody")
async def static(name: str) -> Response:
    """Its style, script and icon."""
    if name not in TYPES:
        raise Problem(404, detail="the page has no such file")
    return _answer(name)


def _answer(name: str) -> Response:
    return Response(_CONTENT[name], media_type=TYPES[name], headers=HEADERS)
