"""Shapes of requests and answers, for validation and the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.requests import HTTPConnection

from yolov4sdk.backends import BackendName, Precision
from yolov4sdk.results.thresholds import Thresholds
from yolov4sdk.system.option import options_of

from .artefacts import NAME
from .flow import DetectOptions
from .problems import Problem
from .registry import ModelInfo

Format = Literal["json", "image", "coco"]


def _declared(name: str, **changes: Any) -> Any:
    """The field of a threshold; `changes` are of pydantic's `Field`."""
    option = next(o for o in options_of(Thresholds) if o.name == name)
    about = option.declared
    limits = {"ge": about.low, "le": about.high, "description": about.help}
    return Field(option.default, **{k: v for k, v in (limits | changes).items() if v is not None})


class DetectQuery(BaseModel):
    """Query parameters of detection."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, pattern=NAME, description="Default: the first model.")
    conf: float = _declared("conf")
    iou: float | None = _declared(
        "iou",
        description="Overlap above which the lesser box goes; 0.45 unless given. A model that "
        "suppresses overlapping boxes in its graph takes none.",
    )
    classes: list[Annotated[str, Field(max_length=4096)]] | None = Field(
        None, max_length=100,
        description="Names or ids, with commas between them or one a parameter.",
        examples=[["person,dog"]],
    )  # fmt: skip
    max_det: int = _declared("max_det", le=3000)
    agnostic: bool = _declared("agnostic")

    @field_validator("classes", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def options(self) -> DetectOptions:
        """For the service."""
        given = ",".join(self.classes or ()).split(",")
        words = [word.strip() for word in given if word.strip()]
        return DetectOptions(self.conf, self.iou, self.max_det, words or None, self.agnostic)


class FormatQuery(DetectQuery):
    """Detection, and the form of its answer."""

    format: Format = Field(
        "json", description="json; image: JPEG with the boxes drawn; coco: result entries."
    )


def once(connection: HTTPConnection) -> None:
    """Raise Problem 422 where the query has a name twice that may stand there once."""
    names = [name for name, _ in connection.query_params.multi_items() if name != "classes"]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Problem(422, "Wrong request", f"query.{twice[0][:80]}: given more than once")


def query_of(connection: HTTPConnection) -> DetectQuery:
    """The query of a request that FastAPI does not read: a WebSocket's.

    Raises:
        Problem, ValidationError: a wrong one.
    """
    once(connection)
    given: dict[str, Any] = dict(connection.query_params)
    if "classes" in given:
        given["classes"] = connection.query_params.getlist("classes")
    return DetectQuery.model_validate(given)


Detecting = Annotated[DetectQuery, Query()]
Formatted = Annotated[FormatQuery, Query()]


class Size(BaseModel):
    """Pixels."""

    height: int
    width: int


class Box(BaseModel):
    """Corners in pixels of the image as it is shown (EXIF orientation applied)."""

    x1: float
    y1: float
    x2: float
    y2: float


class Detection(BaseModel):
    """One object."""

    name: str
    class_id: int
    score: float
    box: Box


class DetectAnswer(BaseModel):
    """What was found in one image, best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "model": "default",
        "image": {"height": 576, "width": 768},
        "detections": [{
            "name": "dog", "class_id": 6, "score": 0.91,
            "box": {"x1": 131.2, "y1": 219.8, "x2": 309.1, "y2": 540.4},
        }],
    }]})  # fmt: skip

    model: str
    image: Size
    detections: list[Detection]


class ProblemBody(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    request_id: str | None = None


class BatchItem(BaseModel):
    """One image of a batch: what was found, or its problem."""

    index: int
    status: int
    image: Size | None = None
    detections: list[Detection] | None = None
    problem: ProblemBody | None = None


class BatchAnswer(BaseModel):
    """The images in the order of the form."""

    model: str
    results: list[BatchItem]


class Model(BaseModel):
    """A loaded model; sizes are [height, width] in pixels."""

    name: str
    default: bool
    state: str
    backend: str
    device: str
    precision: str
    classes: list[str]
    size: list[int] = Field(min_length=2, max_length=2)
    dynamic_size: bool
    batch: int | None
    input_form: str
    outputs: str
    suppressed: bool = Field(description="Whether the graph removes overlapping boxes itself.")
    provenance: dict[str, str]

    @classmethod
    def of(cls, info: ModelInfo) -> Model:
        """As the service knows it."""
        spec = info.spec
        return cls(
            name=info.name, default=info.default, state=info.state, backend=info.backend,
            device=info.device, precision=info.precision, classes=list(spec.names),
            size=list(info.size), dynamic_size=spec.dynamic_size, batch=spec.batch,
            input_form=spec.input_form, outputs=spec.outputs,
            suppressed=spec.contract.output.suppressed, provenance=dict(spec.provenance),
        )  # fmt: skip


class Models(BaseModel):
    """All models, the default one first."""

    models: list[Model]


class LoadRequest(BaseModel):
    """A file in the folder of models, and how to run it."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(min_length=1, max_length=255, examples=["yolov4-csp-s.onnx"])
    backend: BackendName | None = None
    precision: Precision | None = None
    size: int | None = Field(None, ge=32, le=4096, description="Of the input, in pixels.")


_MEANINGS: Final = {
    400: "A form or JSON that is broken.",
    401: "No key, or an unknown one.",
    403: "The key may not do this.",
    404: "No model of this name.",
    408: "The body came too slowly.",
    409: "The default model cannot be unloaded.",
    413: "Too many bytes.",
    415: "Not an image of a known format, or another content type.",
    422: "No image, too many, one that cannot be decoded or has too many pixels, a wrong option.",
    429: "The key's rate is used up; see Retry-After.",
    500: "The runtime failed.",
    503: "The queue is full, or no worker is ready; see Retry-After.",
    504: "It waited longer than the deadline.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route for OpenAPI."""
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in statuses
    }
