"""The ASGI application: `uvicorn serve.app:app`, or `create_app(settings)` to embed it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from yolov4sdk import __version__
from yolov4sdk.errors import YOLOv4Error

from .access import Access
from .bodies import Bodies
from .drain import Drain
from .keys import Keys
from .middleware import REQUEST_ID, Edge, Problems, problem_response
from .origins import Origins
from .problems import Problem
from .routes import routes
from .schemas import DetectAnswer, ProblemBody
from .service import Service
from .settings import Settings, load_settings
from .tracing import Tracing

DESCRIPTION = """Scaled-YOLOv4 object detection.

Errors are `application/problem+json` (RFC 9457) with the request's id, which every answer carries
in `X-Request-ID`. 503 and 429 say in `Retry-After` when to try again."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service as an ASGI application; its service starts with the lifespan.

    Args:
        settings: None is the environment's and the file's.

    Returns:
        An application whose `state.service` is the `Service`.

    Raises:
        YOLOv4Error: a wrong setting, or a model file that is missing or no artefact.
    """
    settings = settings or load_settings()
    service, keys = Service(settings), Keys(settings.api_keys)
    tracing = Tracing() if settings.telemetry else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Drain(service, settings.drain_delay):
            try:
                await service.start()
            except YOLOv4Error as error:
                service.failure = str(error)
                raise
            yield
            await service.stop()
            if tracing:
                await asyncio.to_thread(tracing.flush)

    app = FastAPI(
        title="yolov4sdk", version=__version__, description=DESCRIPTION, lifespan=lifespan,
        # its own routes for these are open to everybody and load scripts from elsewhere
        openapi_url=None, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.service, app.state.keys, app.state.streams = service, keys, 0
    app.router.routes.extend(routes())
    _add_handlers(app)
    _describe(app, settings)
    # The last one added is the outermost.
    app.add_middleware(Bodies, settings=settings)
    app.add_middleware(
        Access, routes=app.router.routes, keys=keys, refuse=lambda model: service.refuse(model)
    )
    app.add_middleware(Origins, settings=settings)
    app.add_middleware(Problems)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", REQUEST_ID],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )  # fmt: skip
    app.add_middleware(Edge, service=service)
    if tracing:
        app.add_middleware(tracing.middleware, tracer_provider=tracing.provider)
    return app


def _add_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return problem_response(error, request.scope)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        problem = Problem(error.status_code, headers=error.headers)
        return problem_response(problem, request.scope)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        wrong = [
            f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}"
            for entry in error.errors()[:8]
        ]
        return problem_response(Problem(422, "Wrong request", "; ".join(wrong)), request.scope)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; the log and the metrics do


def _describe(app: FastAPI, settings: Settings) -> None:
    """Problems instead of FastAPI's own validation errors in the OpenAPI document, and limits."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        if "securitySchemes" not in components:  # FastAPI makes the document once
            form = document["paths"]["/v1/detect/batch"]["post"]["requestBody"]["content"]
            files = form["multipart/form-data"]["schema"]["properties"]["files"]
            files["maxItems"] = settings.max_files
            template = "#/components/schemas/{model}"
            for model in (ProblemBody, DetectAnswer):
                schema = model.model_json_schema(ref_template=template)
                schemas |= schema.pop("$defs", {})
                schemas[model.__name__] = schema
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def __getattr__(name: str) -> Any:
    """Make `app` when a server asks for it: importing this file reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .logs import configure

    try:
        settings = load_settings()
        configure(settings)
        return create_app(settings)
    except YOLOv4Error as error:
        raise SystemExit(f"error: {error}") from None
