"""The page at `/docs`: the routes to read and to try, by Swagger UI from an installed package."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from ..access import rule
from ..problems import Problem

_PACKAGE: Final = "fastapi_offline"
"""It brings Swagger UI's files; nothing of it is run."""
_TYPES: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>yolov4sdk: API</title>
  <link rel="icon" href="static/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
  <main id="swagger-ui"></main>
  <script src="docs/swagger-ui-bundle.js"></script>
  <script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // nothing is sent elsewhere
});
"""
# Swagger UI writes styles into its elements, and its icons are data: addresses.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
@rule("everybody")
async def page() -> Response:
    """The page."""
    _folder()  # an error rather than an empty page
    return Response(_PAGE, media_type="text/html; charset=utf-8", headers=_HEADERS)


@router.get("/docs/{name}")
@rule("everybody")
async def file(name: str) -> Response:
    """Its scripts and its style."""
    if name == "start.js":
        return Response(_START, media_type="text/javascript; charset=utf-8", headers=_HEADERS)
    if name not in _TYPES:
        raise Problem(404, detail="the page has no such file")
    return Response(_content(name), media_type=_TYPES[name], headers=_HEADERS)


def _folder() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise Problem(
            404, "No API page", 'it needs an extra: pip install "yolov4sdk[serve]"; the document '
            "itself is at /openapi.json",
        )  # fmt: skip
    return Path(found.origin).parent / "static"


@cache
def _content(name: str) -> bytes:
    return (_folder() / name).read_bytes()
