"""OpenVINO on Intel and AMD processors: float32 or bfloat16, from .xml or .onnx files."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..contract.onnx_header import read_onnx_spec
from ..contract.spec import METADATA_KEY, ModelSpec
from ..conventions import decode
from ..errors import BackendError, DeviceError, SpecError
from ..system.cpu import available_cpus
from ..system.openvino_runtime import load_openvino, openvino_core
from .base import Backend, Outputs, SideBySide, check_batch, check_precision

load_openvino("The OpenVINO backend")

PRECISIONS: Final = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
CAPABILITIES: Final = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}


class OpenVinoBackend(SideBySide):
    """See `Backend`.

    The precision is set explicitly (float32 unless asked otherwise): OpenVINO's own default is
    bfloat16 on some processors, which would change answers silently.
    """

    name = "openvino"

    def __init__(
        self,
        model: Path,
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        spec: ModelSpec | None = None,
        streams: int = 1,
    ) -> None:
        """`streams`: batches at a time that the processor's threads are divided for."""
        super().__init__(model, threads or available_cpus())
        check_precision(precision, tuple(PRECISIONS), "OpenVINO")
        self._asked = precision  # of an int8 model, what is not quantised
        self._spec = spec
        self.precision: str = precision or "fp32"
        with openvino_core() as core:
            self._compiled: Any = self._compile(core, model, device, streams)
        if self.spec.precision == "int8":
            self.precision = "int8"  # what is not quantised runs in the precision asked for
        # A request holds buffers and serves one call at a time: each call takes a free one.
        self._free: list[Any] = []
        self._lock = threading.Lock()

    def _compile(self, core: Any, model: Path, device: str, streams: int) -> Any:
        self._target = _target(core, device)
        self.device: str = self._target.lower()
        _check_capability(core, self._target, self.precision)
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.precision],
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        if self._target == "CPU":
            config |= {"INFERENCE_NUM_THREADS": self._threads, "NUM_STREAMS": streams}
        spec = self._spec
        if spec is None and model.suffix == ".onnx":
            spec = read_onnx_spec(model)
        try:
            graph = core.read_model(model)
            spec = spec or spec_of_graph(graph, model)
            self.spec: ModelSpec
            self._graph, self.spec = spec.contract, spec.decoded()
            self._outputs = [output.get_any_name() for output in graph.outputs]
            return core.compile_model(graph, self._target, config)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot load {model}: {_last_line(error)}") from error

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """See `Backend.infer`."""
        check_batch(batch, self.spec)
        taken = self._graph.input
        with self._lock:
            if self._compiled is None:
                raise BackendError("this backend is closed; load the model again")
            request = self._free.pop() if self._free else self._compiled.create_infer_request()
        try:
            request.infer(taken.feeds(np.ascontiguousarray(batch)), share_inputs=True)
            raw = {
                name: request.get_output_tensor(i).data.copy()
                for i, name in enumerate(self._outputs)
            }
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed: {_last_line(error)}") from error
        finally:
            with self._lock:
                self._free.append(request)
        return decode(raw, self._graph, taken.canvas_of(batch.shape))

    def _load_side_by_side(self, count: int) -> Backend:
        # OpenVINO calls it the throughput mode.
        return OpenVinoBackend(
            self._model, "cpu", self._asked, self._threads, self._spec, streams=count
        )

    def close(self) -> None:
        """See `Backend.close`."""
        with self._lock:
            self._free.clear()
            self._compiled = None
        self._close_side_by_side()


def spec_of_graph(graph: Any, path: Path) -> ModelSpec:
    """The ModelSpec in an OpenVINO model; SpecError where there is none."""
    keys = METADATA_KEY.split(".")
    if not graph.has_rt_info(keys):
        raise SpecError(
            f"{path} holds no ModelSpec, so its outputs and classes are unknown; export the model "
            "with `yolov4sdk export --engine openvino`"
        )
    return ModelSpec.from_json(str(graph.get_rt_info(keys).astype(str)))


def _target(core: Any, device: str) -> str:
    if device in ("auto", "cpu"):
        return "CPU"  # an integrated GPU is used only when it is asked for
    target = device.upper()
    if target not in core.available_devices:
        available = ", ".join(name.lower() for name in core.available_devices)
        raise DeviceError(f"OpenVINO has no device {device!r} here; there are {available}")
    return target


def _check_capability(core: Any, target: str, precision: str) -> None:
    offered = core.get_property(target, "OPTIMIZATION_CAPABILITIES")
    if CAPABILITIES[precision] not in offered:
        raise DeviceError(
            f"this {target} has no {precision} arithmetic (it offers {', '.join(offered)}); "
            'use precision="fp32"'
        )


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
