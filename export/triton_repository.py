"""A model repository for NVIDIA Triton: networks, and an ensemble that gives final boxes."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.contract.safetensors_header import check_file
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import ExportError, SettingError

from .api import export_model
from .options import TritonOptions
from .triton_config import (
    boxes_config,
    check_against_session,
    decode_config,
    ensemble_config,
    network_config,
    parse,
    to_text,
)

RUNTIMES: Final = ("tensorrt", "onnx", "python")
"""What can run the network, the fastest first: the ensemble takes the first that is written."""


@dataclass(frozen=True)
class Repository:
    """What was written.

    Attributes:
        path: the folder for `tritonserver --model-repository`.
        ensemble: the model that takes encoded images and gives final boxes.
        networks: the models that take letterboxed images.
        spec: of the network.
    """

    path: Path
    ensemble: str
    networks: tuple[str, ...]
    spec: ModelSpec

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.path), "ensemble": self.ensemble, "networks": list(self.networks),
        }  # fmt: skip


def write_repository(
    model: str | Path,
    output: str | Path,
    *,
    name: str | None = None,
    runtimes: Sequence[str] = ("onnx",),
    plan: str | Path | None = None,
    options: TritonOptions | None = None,
    **export_options: Any,
) -> Repository:
    """Write a Triton model repository.

    `NAME_onnx`, `NAME_tensorrt` and `NAME_python` are the network in each runtime, `NAME` is an
    ensemble of decoding, the fastest of these and NMS: it takes encoded images and gives boxes in
    their pixels. Decoding, NMS and `NAME_python` run in Triton's Python backend and need yolov4sdk
    in its Python.

    Args:
        model: a native checkpoint (.safetensors), exported here, or an .onnx file of the SDK with
            any batch size.
        output: the folder; models of the same names in it are an error.
        name: of the ensemble; default: the file's name.
        runtimes: of "onnx", "tensorrt", "python".
        plan: the TensorRT engine of the same graph, for "tensorrt"; it fits the GPU model and the
            TensorRT version that built it, so build it where Triton runs.
        options: batching, queues and thresholds.
        export_options: fields of `ExportOptions`, for a checkpoint.

    Raises:
        SettingError: a wrong option, no plan for "tensorrt", a fixed batch.
        ExportError: the folder holds such models already, or a configuration that does not say
            what the graph says; nothing was kept.
        MissingExtraError: tritonclient, or what an export needs, is not installed.
    """
    model, output, options = Path(model), Path(output), options or TritonOptions()
    name = name or model.stem
    _check_runtimes(runtimes, plan, model)
    output.mkdir(parents=True, exist_ok=True)
    # Beside the models, so that the last step is a rename; Triton ignores no folder, but it
    # reads a repository when it starts or is asked to, and this one is gone by then.
    with tempfile.TemporaryDirectory(prefix=".writing.", dir=output) as folder:
        work = Path(folder)
        graph = _graph(model, work, export_options)
        spec = read_onnx_spec(graph)
        if spec.batch is not None:
            raise SettingError(
                f"{graph.name} takes batches of exactly {spec.batch}, and Triton makes its own; "
                "export it with `--batch dynamic`"
            )
        made = work / "models"
        networks = []
        for runtime in RUNTIMES:
            if runtime in runtimes:
                file = graph
                if runtime == "tensorrt":
                    assert plan is not None
                    file = Path(plan)
                    _check_plan(file, spec)
                networks.append(_network(made, f"{name}_{runtime}", runtime, file, spec, options))
        steps = (f"{name}_decode", networks[0], f"{name}_boxes")
        _python_model(made, decode_config(steps[0], spec, options), "decode")
        _python_model(made, boxes_config(steps[2], spec, options), "boxes")
        _place(made, ensemble_config(name, steps, spec, options))
        _check_networks(made, networks, graph)
        _move(made, output)
    return Repository(output, name, tuple(networks), spec)


def _check_runtimes(runtimes: Sequence[str], plan: str | Path | None, model: Path) -> None:
    unknown = sorted(set(runtimes) - set(RUNTIMES))
    if unknown or not runtimes:
        raise SettingError(f"runtimes are some of {', '.join(RUNTIMES)}, got {list(runtimes)}")
    if (plan is None) == ("tensorrt" in runtimes):
        raise SettingError(
            "the tensorrt runtime and a plan go together; build the plan on the GPU that will "
            f"serve: `yolov4sdk export {model.name} --engine trt --batch dynamic`"
        )
    if plan is not None:
        check_file(plan)


def _check_plan(plan: Path, spec: ModelSpec) -> None:
    """Raise ExportError where the sidecar of an engine of the SDK tells of another graph."""
    sidecar = plan.with_name(plan.name + ".json")
    if not sidecar.is_file():
        return
    try:
        told = json.loads(sidecar.read_text(encoding="utf-8"))
        built = ModelSpec.from_json(json.dumps(told["spec"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{sidecar} does not describe an engine: {error}") from error
    fields = ("names", "input_form", "outputs", "topk", "dynamic_size", "input_size")
    wrong = [f for f in fields if getattr(built, f) != getattr(spec, f)]
    if wrong:
        raise ExportError(
            f"{plan.name} was built from another graph: its {', '.join(wrong)} differ; build it "
            "from the same checkpoint with the same options"
        )
    if told.get("weights"):
        raise ExportError(
            f"{plan.name} has its weights in {told['weights']}; Triton needs a whole one"
        )


def _graph(model: Path, work: Path, options: dict[str, Any]) -> Path:
    """The ONNX file: `model` itself, or a checkpoint exported for any batch size."""
    if model.suffix.lower() == ".onnx":
        if options:
            raise SettingError(
                f"{model.name} is exported already; {', '.join(sorted(options))} cannot change it"
            )
        return model
    return export_model(model, "onnx", work / "model.onnx", **{**options, "batch": None}).path


def _network(
    made: Path, name: str, runtime: str, file: Path, spec: ModelSpec, options: TritonOptions
) -> str:
    config = network_config(name, runtime, spec, options)
    if runtime == "python":
        _python_model(made, config, "network")
    else:
        _place(made, config)
    target = made / name / "1" / ("model.plan" if runtime == "tensorrt" else "model.onnx")
    shutil.copyfile(file, target)
    return name


def _python_model(made: Path, config: Any, source: str) -> None:
    version = _place(made, config)
    text = (files("export.triton_models") / f"{source}.py").read_text(encoding="utf-8")
    (version / "model.py").write_text(text, encoding="utf-8")


def _place(made: Path, config: Any) -> Path:
    """Write a model's folder with its configuration; returns the folder of version 1."""
    version = made / str(config.name) / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(to_text(config), encoding="utf-8")
    return version


def _check_networks(made: Path, networks: Sequence[str], graph: Path) -> None:
    """Every network's configuration, as it lies on the disk, against the graph itself."""
    import_module("yolov4sdk.backends.onnxruntime_backend")  # says what to install when missing
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    for name in networks:
        check_against_session(parse((made / name / "config.pbtxt").read_text()), session)


def _move(made: Path, output: Path) -> None:
    models = sorted(made.iterdir())
    if there := [model.name for model in models if (output / model.name).exists()]:
        raise ExportError(
            f"{output} holds {', '.join(there)} already; remove them or give another name"
        )
    for model in models:
        model.replace(output / model.name)
