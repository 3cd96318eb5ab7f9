"""/v1/models: what is loaded; load, swap and unload behind an admin key."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from yolov4sdk.errors import YOLOv4Error

from ..access import rule
from ..artefacts import NAME, served_file
from ..problems import Problem
from ..schemas import LoadRequest, Model, Models, problems
from ..service import Service

router = APIRouter(prefix="/v1/models", tags=["models"])

Name = Annotated[str, Path(pattern=NAME)]
_NAME: Final = {"parameters": {"name": "$request.path.name"}}
_LINKS: Final = {
    "loaded": {"operationId": "get_model", **_NAME},
    "unload": {"operationId": "unload_model", **_NAME},
}
"""Of a loaded model, for those who read the document."""
MOST: Final = 64
"""Models at once; a client with the admin key shall not fill the memory by mistake."""


@router.get("", responses=problems(401, 429))
async def models(request: Request) -> Models:
    """All loaded models, the default one first."""
    service: Service = request.app.state.service
    return Models(models=[Model.of(info) for info in service.models()])


@router.get("/{name}", operation_id="get_model", responses=problems(401, 404, 422, 429, 503))
async def model(request: Request, name: Name) -> Model:
    """One loaded model."""
    service: Service = request.app.state.service
    return Model.of(service.model(name))


@router.put(
    "/{name}",
    operation_id="load_model",
    responses={200: {"links": _LINKS}, **problems(400, 401, 403, 408, 413, 422, 429, 503)},
)
@rule("admin")
async def load(request: Request, name: Name, wanted: LoadRequest) -> Model:
    """Load a model, or swap the one of this name. After a failure the old one serves on."""
    service: Service = request.app.state.service
    path = served_file(service.settings.models_dir, wanted.file)
    if len(service.models()) >= MOST and name not in {info.name for info in service.models()}:
        raise Problem(409, "Too many models", f"at most {MOST} are loaded at once")
    options = {k: v for k, v in wanted.model_dump(exclude={"file"}).items() if v is not None}
    try:
        return Model.of(await service.load(name, path, **options))
    except YOLOv4Error as error:
        reason = str(error).replace(str(path), wanted.file).replace(str(path.parent), "")
        raise Problem(422, "Model not loaded", reason) from None


@router.delete(
    "/{name}",
    status_code=204,
    operation_id="unload_model",
    responses=problems(401, 403, 404, 409, 422, 429, 503),
)
@rule("admin")
async def unload(request: Request, name: Name) -> Response:
    """Take a model out of service; what it accepted is finished."""
    service: Service = request.app.state.service
    await service.unload(name)
    return Response(status_code=204)
