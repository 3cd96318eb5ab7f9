"""Triton's config.pbtxt for the networks, the steps around them and the ensemble.

Written through Triton's own protobuf, so that what is written can be read. Every model has a queue
that is bounded in length and in time: an overload is refused at once instead of piling up.
"""

from __future__ import annotations

from typing import Any, Final

from yolov4sdk.contract.contract import OUTPUTS, output_shapes
from yolov4sdk.contract.spec import METADATA_KEY, STEP_KEY, ModelSpec
from yolov4sdk.errors import ExportError, MissingExtraError

try:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as pb
except (ImportError, RuntimeError) as error:  # RuntimeError: installed without its gRPC half
    raise MissingExtraError("A Triton repository", "triton", "tritonclient[grpc]") from error

from yolov4sdk.backends.triton_backend import NETWORK_KEY

from .options import TritonOptions

GEOMETRY: Final = 8
"""Numbers of a `Letterbox`: source, resized, pad and canvas, each (height, width)."""
RAW: Final = {"boxes": "raw_boxes", "scores": "raw_scores", "class_ids": "raw_ids"}
"""Output of a network to its name inside the ensemble, where `boxes` are the final ones."""
TYPES: Final = {
    "tensor(float)": pb.TYPE_FP32,
    "tensor(uint8)": pb.TYPE_UINT8,
    "tensor(int64)": pb.TYPE_INT64,
}

DTYPES: Final = {
    "float32": pb.TYPE_FP32, "float16": pb.TYPE_FP16, "uint8": pb.TYPE_UINT8,
    "int64": pb.TYPE_INT64,
}  # fmt: skip


def network_config(name: str, runtime: str, spec: ModelSpec, options: TritonOptions) -> Any:
    """images -> boxes, scores (and class_ids), as the graph has them.

    Args:
        runtime: "onnx", "tensorrt" or "python".
    """
    config = _model(name, options)
    if runtime == "tensorrt":
        config.platform = "tensorrt_plan"
    else:
        config.backend = {"onnx": "onnxruntime", "python": "python"}[runtime]
    config.parameters[METADATA_KEY].string_value = spec.to_json()
    kind, dims = _images(spec)
    images = spec.contract.input.name
    config.input.add(name=images, data_type=kind, dims=dims)
    for output, (data_type, shape) in network_outputs(spec).items():
        config.output.add(name=output, data_type=data_type, dims=shape)
    group = pb.ModelInstanceGroup
    kind_of_group = group.KIND_GPU if runtime == "tensorrt" else group.KIND_AUTO
    config.instance_group.add(count=options.instances, kind=kind_of_group)
    zeros = _concrete(dims, spec)
    for batch in sorted({1, options.max_batch}):  # the smallest and the largest one
        warm = config.model_warmup.add(name=f"batch {batch}", batch_size=batch)
        warm.inputs[images].CopyFrom(
            pb.ModelWarmup.Input(data_type=kind, dims=zeros, zero_data=True)
        )
    return config


def network_outputs(spec: ModelSpec) -> dict[str, tuple[int, list[int]]]:
    """Output name to type and shape without the batch; -1 where the size of the image decides."""
    return {
        name: (DTYPES[OUTPUTS[name]], list(shape))
        for name, shape in output_shapes(spec.contract).items()
    }


def decode_config(name: str, spec: ModelSpec, options: TritonOptions) -> Any:
    """image (an encoded file) -> images, geometry."""
    config = _model(name, options)
    config.backend = "python"
    config.parameters[STEP_KEY].string_value = spec.to_json()
    config.input.add(name="image", data_type=pb.TYPE_STRING, dims=[1])
    kind, dims = _images(spec)
    config.output.add(name="images", data_type=kind, dims=_concrete(dims, spec))
    config.output.add(name="geometry", data_type=pb.TYPE_INT32, dims=[GEOMETRY])
    config.instance_group.add(count=2, kind=pb.ModelInstanceGroup.KIND_CPU)
    return config


def boxes_config(name: str, spec: ModelSpec, options: TritonOptions) -> Any:
    """What the network gives, and geometry -> final boxes."""
    config = _model(name, options)
    config.backend = "python"
    config.parameters[STEP_KEY].string_value = spec.to_json()
    for key in ("conf", "iou", "max_det"):
        config.parameters[key].string_value = str(getattr(options, key))
    for output, (data_type, shape) in network_outputs(spec).items():
        config.input.add(name=RAW[output], data_type=data_type, dims=shape)
    config.input.add(name="geometry", data_type=pb.TYPE_INT32, dims=[GEOMETRY])
    _final_outputs(config, options)
    config.instance_group.add(count=1, kind=pb.ModelInstanceGroup.KIND_CPU)
    return config


def ensemble_config(
    name: str, steps: tuple[str, str, str], spec: ModelSpec, options: TritonOptions
) -> Any:
    """An encoded image -> final boxes; the queues are those of the steps."""
    config = pb.ModelConfig(name=name, platform="ensemble", max_batch_size=options.max_batch)
    config.parameters[NETWORK_KEY].string_value = steps[1]
    config.input.add(name="image", data_type=pb.TYPE_STRING, dims=[1])
    _final_outputs(config, options)
    raw = {output: RAW[output] for output in network_outputs(spec)}
    final = {output.name: output.name for output in config.output}
    for step, inputs, outputs in (
        (steps[0], {"image": "image"}, {"images": "images", "geometry": "geometry"}),
        (steps[1], {spec.contract.input.name: "images"}, raw),
        (steps[2], {**{r: r for r in raw.values()}, "geometry": "geometry"}, final),
    ):
        config.ensemble_scheduling.step.add(
            model_name=step, model_version=-1, input_map=inputs, output_map=outputs
        )
    return config


def to_text(config: Any) -> str:
    """As config.pbtxt."""
    text: str = text_format.MessageToString(config, as_utf8=True)
    return text


def parse(text: str) -> Any:
    """The configuration in a config.pbtxt."""
    return text_format.Parse(text, pb.ModelConfig())


def check_against_session(config: Any, session: Any) -> None:
    """Raise ExportError unless names, types and shapes are those of an ONNX Runtime session."""
    for told, real in (
        (config.input, session.get_inputs()),
        (config.output, session.get_outputs()),
    ):
        written = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in told}
        graph = {
            tensor.name: (
                TYPES.get(tensor.type),
                [dim if isinstance(dim, int) else -1 for dim in tensor.shape[1:]],
            )
            for tensor in real
        }
        if written != graph:
            raise ExportError(
                f"{config.name}: the configuration says {written}, the graph has {graph}; export "
                "the model again with this version"
            )


def _model(name: str, options: TritonOptions) -> Any:
    config = pb.ModelConfig(name=name, max_batch_size=options.max_batch)
    batching = config.dynamic_batching
    batching.max_queue_delay_microseconds = round(options.delay_ms * 1000)
    policy = batching.default_queue_policy
    policy.timeout_action = pb.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = round(options.queue_ms * 1000)
    policy.max_queue_size = options.queue
    return config


def _final_outputs(config: Any, options: TritonOptions) -> None:
    rows = options.max_det
    config.output.add(name="boxes", data_type=pb.TYPE_FP32, dims=[rows, 4])
    config.output.add(name="scores", data_type=pb.TYPE_FP32, dims=[rows])
    config.output.add(name="class_ids", data_type=pb.TYPE_INT64, dims=[rows])
    config.output.add(name="count", data_type=pb.TYPE_INT32, dims=[1])


def _images(spec: ModelSpec) -> tuple[int, list[int]]:
    """Type and shape of the network's input, without the batch."""
    taken = spec.contract.input
    _, *dims = taken.shape(1, (-1, -1) if taken.dynamic else taken.size)
    return DTYPES[taken.dtype], dims


def _concrete(dims: list[int], spec: ModelSpec) -> list[int]:
    """`dims` with the usual size where any is allowed."""
    sizes = iter(spec.input_size)
    return [next(sizes) if dim == -1 else dim for dim in dims]
