"""GET /openapi.json: the document of the routes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from ..access import rule

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
@rule("everybody")
async def openapi(request: Request) -> dict[str, Any]:
    """The document, with the path prefix that this request came through."""
    document: dict[str, Any] = request.app.openapi()
    if prefix := request.scope.get("root_path", "").rstrip("/"):
        return {**document, "servers": [{"url": prefix}]}
    return document
