"""/livez, /readyz and /metrics, for those who run the service."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from ..access import rule
from ..problems import Problem
from ..schemas import problems
from ..service import Service

router = APIRouter(tags=["operation"])


@router.get("/livez", response_class=PlainTextResponse)
@rule("everybody")
async def livez() -> str:
    """200 while the process answers; restart it when it does not."""
    return "live"


@router.get("/readyz", response_class=PlainTextResponse, responses=problems(503))
@rule("everybody")
async def readyz(request: Request) -> str:
    """200 when requests should be sent here: models warm, a worker alive, not draining."""
    service: Service = request.app.state.service
    if not service.ready:
        why = "it is being stopped" if service.draining else "no worker is ready"
        raise Problem(503, "Not ready", why, {"Retry-After": "1"})
    return "ready"


@router.get("/metrics", response_class=PlainTextResponse)
@rule("everybody")
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    service: Service = request.app.state.service
    service.observe()
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
