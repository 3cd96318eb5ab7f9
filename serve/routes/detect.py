"""POST /v1/detect and /v1/detect/batch."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from yolov4sdk import Detections

from ..access import rule
from ..headers import ACCEPTED
from ..middleware import request_id
from ..problems import Problem
from ..schemas import BatchAnswer, Detecting, Formatted, once, problems
from ..service import Service
from ..uploads import many_images, one_image, until_gone

router = APIRouter(prefix="/v1/detect", tags=["detection"], dependencies=[Depends(once)])

# A PNG of one pixel: the document's example can be sent as it stands.
_PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5E"
    "rkJggg=="
)
_BINARY: Final = {"type": "string", "format": "binary"}
_IMAGE: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": {
    **{accepted.media: {"schema": _BINARY} for accepted in ACCEPTED},
    "application/octet-stream": {"schema": _BINARY},
    "multipart/form-data": {"schema": {
        "type": "object", "required": ["file"], "properties": {"file": _BINARY},
        "additionalProperties": False,
    }},
    "application/json": {
        "schema": {
            "type": "object", "additionalProperties": False, "required": ["image"],
            "properties": {"image": {"type": "string", "format": "byte", "description": "base64"}},
        },
        "example": {"image": _PIXEL},
    },
}}}  # fmt: skip
_IMAGES: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": {
    "multipart/form-data": {"schema": {
        "type": "object", "required": ["files"], "additionalProperties": False,
        "properties": {"files": {"type": "array", "items": _BINARY, "minItems": 1}},
    }},
}}}  # fmt: skip
_ERRORS: Final = problems(400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)


class Json(JSONResponse):
    """JSON by orjson."""

    def render(self, content: Any) -> bytes:
        """Encode."""
        return orjson.dumps(content)


_COCO: Final = {"type": "array", "items": {"type": "object"}}


@router.post(
    "",
    response_class=Json,
    openapi_extra=_IMAGE,
    responses={
        200: {
            "description": "What was found, in the form that was asked for.",
            "links": {"model": {
                "operationId": "get_model", "parameters": {"name": "$response.body#/model"},
            }},
            "content": {
                "application/json": {"schema": {"anyOf": [
                    {"$ref": "#/components/schemas/DetectAnswer"}, _COCO,
                ]}},
                "image/jpeg": {"schema": _BINARY},
            },
        },
        **_ERRORS,
    },
)  # fmt: skip
@rule(model=lambda path, query: query.get("model"), large=True)
async def detect(request: Request, query: Formatted) -> Response:
    """Detect objects in one image: raw body, form field `file`, or JSON with base64.

    `curl --data-binary @photo.jpg -H "Content-Type: image/jpeg" localhost:8000/v1/detect`
    """
    service: Service = request.app.state.service
    name = service.model(query.model).name  # refused before the body is read
    image = await one_image(request, service.settings)

    async def work() -> Response:
        found = await service.detect(name, image, query.options())
        if query.format == "coco":
            return Json(found.to_coco())
        if query.format == "image":
            return Response(await service.draw(image, found), media_type="image/jpeg")
        return Json(answer(name, found))

    return await until_gone(request, work())


@router.post(
    "/batch",
    response_class=Json,
    openapi_extra=_IMAGES,
    responses={200: {"model": BatchAnswer}, **_ERRORS},
)
@rule(model=lambda path, query: query.get("model"), large=True)
async def detect_batch(request: Request, query: Detecting) -> Response:
    """Detect objects in several images; one that fails has its own problem in the answer."""
    service: Service = request.app.state.service
    name = service.model(query.model).name
    options = query.options()
    service.check(name, options)  # wrong for one is wrong for all
    files = await many_images(request, "files", service.settings.max_files)

    async def one(index: int, image: bytes) -> dict[str, Any]:
        try:
            found = await service.detect(name, image, options)
        except Problem as problem:
            body = problem.body(request_id.get())
            return {"index": index, "status": problem.status, "problem": body}
        return {"index": index, "status": 200, **found.to_dict()}

    async def work() -> Response:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(i, file.content)) for i, file in enumerate(files)]
        return Json({"model": name, "results": [task.result() for task in tasks]})

    return await until_gone(request, work())


def answer(model: str, found: Detections) -> dict[str, Any]:
    """A `DetectAnswer`."""
    return {"model": model, **found.to_dict()}
