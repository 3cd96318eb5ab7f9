"""The Detector as a Ray Serve deployment: `serve run serve.ray_app:build model=model.onnx`.

For a service that spreads over the nodes of a Ray cluster. On one machine the service of
`serve.app` is faster and does more.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from yolov4sdk import Detections, Detector
from yolov4sdk.errors import ImageError, MissingExtraError, SettingError
from yolov4sdk.imaging.images import decode

try:
    from pydantic import TypeAdapter, ValidationError
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from .access import find
    from .keys import Keys
    from .problems import Problem
    from .settings import API_KEYS, ApiKey
except ImportError as error:
    raise MissingExtraError("The Ray Serve deployment", "ray-serve", "ray[serve]") from error

MAX_BATCH: Final = 8
BATCH_SECONDS: Final = 0.002
MAX_BODY: Final = 20_000_000
OPTIONS: Final = {"replicas": 1, "max_ongoing": 16, "max_queued": 64, "cpus": 1.0, "gpus": 0.0}
"""Of the deployment: copies, requests that a copy works on, requests that wait (more get 503)."""


class DetectorService:
    """POST an encoded image to /v1/detect; the answer is `Detections.to_dict` as JSON.

    With keys, as the service of `serve.app` takes them, 401 without a known one and 429 above its
    rate, which is counted in each replica. 413 a body over 20 MB, 422 no image, 503 (by Ray Serve)
    when the queue is full. One model a replica; requests that come together run as one batch.
    """

    def __init__(
        self, model: str | None, options: dict[str, Any], keys: tuple[ApiKey, ...] = ()
    ) -> None:
        self._detector, self._keys = Detector(model, **options), Keys(keys)
        paths = ("/v1/detect", "/v1/detect/")
        self._routes = [Route(path, self._answer, methods=["POST"]) for path in paths]

    async def __call__(self, request: Request) -> JSONResponse:
        """Answer one request."""
        try:
            self._keys.hit(self._keys.identify(request.headers))  # no route here is open
            matched = find(self._routes, request.scope)
            if matched is None or matched.allow:
                raise Problem(404, detail="POST an image to /v1/detect")
            return await self._answer(request)
        except Problem as problem:
            return JSONResponse(
                problem.body(), problem.status, problem.headers,
                media_type="application/problem+json",
            )  # fmt: skip

    async def _answer(self, request: Request) -> JSONResponse:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                raise Problem(413, detail=f"the body is larger than {MAX_BODY:,} bytes")
        found = await self._detect(bytes(body))
        if isinstance(found, ImageError):
            raise Problem(422, detail=str(found))
        return JSONResponse(found.to_dict())

    @serve.batch(  # type: ignore[untyped-decorator]
        max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_SECONDS
    )
    async def _detect(self, bodies: list[bytes]) -> list[Detections | ImageError]:
        return await asyncio.to_thread(self._run, bodies)

    def _run(self, bodies: list[bytes]) -> list[Detections | ImageError]:
        read: list[Any] = []
        for body in bodies:
            try:
                read.append(decode(body, "the body"))
            except ImageError as error:
                read.append(error)
        found = iter(self._detector([one for one in read if not isinstance(one, ImageError)]))
        return [one if isinstance(one, ImageError) else next(found) for one in read]


def build(arguments: dict[str, Any]) -> Any:
    """The application for `serve run` and `ray.serve.run`.

    Args:
        arguments: model (a path that every node reads; default: the embedded one), `OPTIONS`,
            api_keys (JSON, as the setting of the service; default: the environment variable
            YOLOV4SDK_API_KEYS), and what else `Detector` takes, for example conf. The command line
            gives strings.

    Raises:
        SettingError: an option of the deployment that is not a number, or keys that are not valid.
    """
    given = dict(arguments)
    model = given.pop("model", None)
    try:
        chosen = {key: float(given.pop(key, default)) for key, default in OPTIONS.items()}
    except ValueError as error:
        raise SettingError(f"{', '.join(OPTIONS)} are numbers: {error}") from error
    keys = _keys(given.pop("api_keys", None) or os.environ.get(API_KEYS, "[]"))
    options = {key: _number(value) for key, value in given.items()}
    options.setdefault("threads", max(1, int(chosen["cpus"])))
    deployment = serve.deployment(
        name="detector",
        num_replicas=int(chosen["replicas"]),
        max_ongoing_requests=int(chosen["max_ongoing"]),
        max_queued_requests=int(chosen["max_queued"]),
        ray_actor_options={"num_cpus": chosen["cpus"], "num_gpus": chosen["gpus"]},
    )(DetectorService)
    return deployment.bind(model, options, keys)


def _keys(text: str) -> tuple[ApiKey, ...]:
    try:
        return TypeAdapter(tuple[ApiKey, ...]).validate_json(text)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in wrong["loc"])
        raise SettingError(f"{API_KEYS}: {where} {wrong['msg']}") from None


def _number(value: Any) -> Any:
    """A string of the command line as the number it stands for."""
    for kind in (int, float):
        try:
            return kind(value) if isinstance(value, str) else value
        except ValueError:
            continue
    return value
