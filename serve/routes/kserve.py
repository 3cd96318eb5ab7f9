"""The KServe v2 inference protocol: what Triton's clients speak.

The input `images` takes the network's own tensor (FP32 or UINT8, through `Service.infer`), or
encoded image files as BYTES (through `Service.detect`), which are answered with final boxes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray
from pydantic import ValidationError

from yolov4sdk import Detections, ModelSpec, __version__
from yolov4sdk.backends.kserve import DATATYPES, HEADER_LENGTH, decode, encode
from yolov4sdk.contract.contract import OUTPUTS, output_shapes
from yolov4sdk.contract.spec import METADATA_KEY
from yolov4sdk.errors import TensorError

from ..access import rule
from ..flow import DetectOptions, tensors_of
from ..problems import Problem
from ..registry import ModelInfo
from ..schemas import DetectQuery
from ..service import Service
from ..uploads import until_gone

VERSION: Final = "1"
"""Every model's only version; a swapped model takes the same name and version."""

INLINE: Final = 65_536
"""Bytes of JSON that are parsed at once, in milliseconds."""
JSON_HEAD: Final = 65_536
"""Bytes of JSON before raw bytes at most."""
OPENED: Final = 50_000
"""Lists and objects in a request at most: a batch of 8 nested tensors of 1536 pixels has 37,000."""
IMAGES_MAX: Final = 32
"""Encoded images a request; each takes a place in the queue of its own."""

# Triton's clients add these to requests; they have no meaning for a model without state.
IGNORED: Final = {
    "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "binary_data_output",
}  # fmt: skip
Tensors = dict[str, NDArray[Any]]


# The protocol has an OpenAPI document of its own: not in ours.
router = APIRouter(prefix="/v2", include_in_schema=False)


@router.get("")
@rule("everybody")
async def server() -> JSONResponse:
    """Metadata of the server."""
    return JSONResponse(
        {"name": "yolov4sdk", "version": __version__, "extensions": ["binary_tensor_data"]}
    )


@router.get("/health/live")
@rule("everybody")
async def live() -> JSONResponse:
    """200 while the process answers."""
    return JSONResponse({"live": True})


@router.get("/health/ready")
@rule("everybody")
async def ready(request: Request) -> JSONResponse:
    """200 when requests should be sent here."""
    good = _service(request).ready
    return JSONResponse({"ready": good}, 200 if good else 503)


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model(request: Request, name: str, version: str = VERSION) -> JSONResponse:
    """Metadata of a model; its ModelSpec, device and precision stand in `parameters`."""
    return JSONResponse(_metadata(_model(request, name, version)))


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def model_ready(request: Request, name: str, version: str = VERSION) -> JSONResponse:
    """200 when the model answers."""
    good = _model(request, name, version).state == "ready" and _service(request).ready
    return JSONResponse({"name": name, "ready": good}, 200 if good else 503)


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
@rule(model=lambda path, query: path["name"], large=True)
async def infer(request: Request, name: str, version: str = VERSION) -> Response:
    """Run the network on a tensor, or detect objects in encoded images."""
    info = _model(request, name, version)
    body, length = await request.body(), request.headers.get(HEADER_LENGTH)
    return await until_gone(request, _infer(_service(request), info, body, length))


async def _infer(service: Service, info: ModelInfo, body: bytes, length: str | None) -> Response:
    try:
        asked, inputs = await _read(service, body, length)
        wanted = _Wanted(asked)
        outputs = wanted.select(await _run(service, info, asked, inputs))
        header = {"model_name": info.name, "model_version": VERSION, **wanted.id}
        content, json_length = await asyncio.to_thread(
            encode, header, outputs, "outputs", wanted.binary(outputs)
        )
    except TensorError as error:
        raise Problem(400, "Malformed inference request", str(error)) from error
    if json_length is None:
        return Response(content, media_type="application/json")
    headers = {HEADER_LENGTH: str(json_length)}
    return Response(content, media_type="application/octet-stream", headers=headers)


async def _read(service: Service, body: bytes, length: str | None) -> tuple[Any, Tensors]:
    """The request without its tensors, and these."""
    _check_text(body, length)
    if len(body) <= INLINE or length is not None:
        return decode(body, length, "inputs")
    # A parser holds up all others while it works, in whatever thread: another process has it.
    parsed, payload = await service.parse(body, length)
    return orjson.loads(parsed.header), tensors_of(parsed, payload)


def _check_text(body: bytes, length: str | None) -> None:
    """Refuse JSON that is larger, deeper or of more values than any request, before parsing."""
    if length is not None:
        if not length.isascii() or not length.isdigit() or len(length) > 12:
            raise TensorError(f"{HEADER_LENGTH} must be a number of bytes")
        body = body[: min(int(length), JSON_HEAD + 1)]
        if len(body) > JSON_HEAD:
            raise TensorError(f"the JSON before the raw bytes takes more than {JSON_HEAD:,} bytes")
    if body.count(b"[") + body.count(b"{") > OPENED:
        raise TensorError(f"the JSON has more than {OPENED:,} lists and objects")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _model(request: Request, name: str, version: str) -> ModelInfo:
    info = _service(request).model(name)
    if version != VERSION:
        raise Problem(404, "No such version", f"{name} has only the version {VERSION}")
    return info


def _metadata(info: ModelInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "versions": [VERSION],
        "platform": f"yolov4sdk_{info.backend}",
        "inputs": [_input(info.spec)],
        "outputs": _outputs(info.spec),
        "parameters": {
            METADATA_KEY: info.spec.to_json(),
            "device": info.device,
            "precision": info.precision,
        },
    }


def _input(spec: ModelSpec) -> dict[str, Any]:
    taken = spec.contract.input
    _, *shape = taken.shape(1, (-1, -1) if taken.dynamic else taken.size)
    return _entry(taken.name, taken.dtype, *shape)


def _outputs(spec: ModelSpec) -> list[dict[str, Any]]:
    return [
        _entry(name, OUTPUTS[name], *shape) for name, shape in output_shapes(spec.contract).items()
    ]


def _entry(name: str, dtype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[np.dtype(dtype)], "shape": [-1, *shape]}


async def _run(
    service: Service, info: ModelInfo, asked: Mapping[str, Any], inputs: Tensors
) -> Tensors:
    """The outputs for the one input, a tensor or encoded images."""
    name = info.spec.contract.input.name
    if set(inputs) != {name}:
        raise TensorError(f"the model takes one input, {name!r}; got {sorted(inputs)}")
    images = inputs[name]
    parameters = asked.get("parameters", {})
    if not isinstance(parameters, dict):
        raise TensorError("'parameters' must be an object")
    if images.dtype != object:
        if surplus := sorted(set(parameters) - IGNORED):
            raise TensorError(f"a tensor's request takes no parameters, got {surplus}"[:400])
        outputs = await service.infer(info.name, images)
        return {k: v for k, v in outputs._asdict().items() if v is not None}
    options = _options(parameters)
    files = list(images.ravel())
    if not 1 <= len(files) <= IMAGES_MAX:
        raise TensorError(f"1 to {IMAGES_MAX} images a request, got {len(files)}")
    try:
        async with asyncio.TaskGroup() as group:  # one that fails ends the others
            tasks = [group.create_task(service.detect(info.name, file, options)) for file in files]
    except ExceptionGroup as several:
        raise several.exceptions[0] from several
    return _final_boxes([task.result() for task in tasks])


def _options(parameters: Any) -> DetectOptions:
    """The query parameters of /v1/detect, as parameters of the request."""
    known = set(DetectQuery.model_fields) - {"model"}  # which stands in the path
    given = {name: value for name, value in parameters.items() if name not in IGNORED}
    if unknown := sorted(set(given) - known):
        raise TensorError(f"no parameters {unknown}; there are {sorted(known)}"[:400])
    try:
        return DetectQuery(**given).options()
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in wrong["loc"])
        raise TensorError(f"the parameter {name!r}: {wrong['msg']}") from error


class _Wanted:
    """Which outputs a request asks for, and in which form.

    Attributes:
        id: the request's id as a member of the answer, or nothing.
    """

    def __init__(self, asked: Mapping[str, Any]) -> None:
        name = asked.get("id")
        if name is not None and not (isinstance(name, str) and len(name) <= 200):
            raise TensorError("'id' must be a string of 200 characters at most")
        self.id = {} if name is None else {"id": name}
        parameters = asked.get("parameters", {})
        self._binary = isinstance(parameters, dict) and (
            parameters.get("binary_data_output") is True
        )
        outputs = asked.get("outputs") or []
        if not isinstance(outputs, list):
            raise TensorError("'outputs' must be a list")
        self._outputs = dict(self._one(entry) for entry in outputs)

    def _one(self, entry: Any) -> tuple[str, bool]:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise TensorError("each of 'outputs' must be an object with a name")
        parameters = entry.get("parameters", {})
        if not isinstance(parameters, dict) or set(parameters) - {"binary_data"}:
            raise TensorError(
                f"{entry['name'][:40]!r}: an output's only parameter here is 'binary_data'"
            )
        return entry["name"], parameters.get("binary_data", self._binary) is True

    def select(self, outputs: Tensors) -> Tensors:
        """The outputs that were asked for, all when none was named."""
        if not self._outputs:
            return outputs
        if unknown := sorted(set(self._outputs) - set(outputs)):
            raise TensorError(f"no outputs {unknown}; there are {sorted(outputs)}"[:400])
        return {name: outputs[name] for name in self._outputs}

    def binary(self, outputs: Tensors) -> set[str]:
        """Names of the outputs that go as raw bytes."""
        return {name for name in outputs if self._outputs.get(name, self._binary)}


def _final_boxes(found: list[Detections]) -> Tensors:
    """The detections of several images in arrays; unused rows score 0.

    Returns:
        boxes float32 [B, M, 4], scores float32 [B, M] and class_ids int64 [B, M], where M is the
        most that one image has; num_detections int32 [B]; image_sizes int32 [B, 2] as (height,
        width).
    """
    rows = max(len(one) for one in found)
    boxes = np.zeros((len(found), rows, 4), np.float32)
    scores = np.zeros((len(found), rows), np.float32)
    class_ids = np.zeros((len(found), rows), np.int64)
    for i, one in enumerate(found):
        boxes[i, : len(one)], scores[i, : len(one)] = one.xyxy, one.scores
        class_ids[i, : len(one)] = one.class_ids
    return {
        "boxes": boxes,
        "scores": scores,
        "class_ids": class_ids,
        "num_detections": np.array([len(one) for one in found], np.int32),
        "image_sizes": np.array([one.image_size for one in found], np.int32),
    }
