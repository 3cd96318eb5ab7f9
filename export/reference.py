"""The source of an export as its measure: what it says, and how well it knows that itself."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from yolov4sdk.backends import Outputs
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import NonFiniteOutputError
from yolov4sdk.measure.verify import Agreement, Result, compare, run
from yolov4sdk.models import Model
from yolov4sdk.system.memory import available_memory

from .arithmetic import HALF, InDouble, ReversedSums, Rounded

DOUBLE: Final = "float64"
REVERSED: Final = "sums in another order"


@dataclass(frozen=True)
class Measure:
    """The source's outputs for some images, and its own rounding.

    Attributes:
        expected: what a file is compared with.
        rounding: how far the source, computed in the file's precision, is from `expected`.
        against: what `expected` was computed with: `DOUBLE`, or `REVERSED` where memory or the
            source has no float64.
    """

    expected: Result
    rounding: Agreement
    against: str


class Reference(Protocol):
    """The source of an export."""

    def measure(self, canvases: NDArray[np.uint8], precision: str, **thresholds: Any) -> Measure:
        """Run the source.

        Args:
            canvases: uint8 BGR [n, H, W, 3].
            precision: of the file: "fp32", or a key of `HALF`.
            thresholds: conf, iou and max_det of the detections.

        Raises:
            NonFiniteOutputError: the source itself gives NaN or infinite values.
        """
        ...


class TorchReference:
    """A network as it was given, unfolded; a `Runner` of its float32."""

    def __init__(self, model: Model, arithmetic: TorchFunctionMode | None = None) -> None:
        self.spec = full_spec(model.spec)
        self._model, self._arithmetic = model, arithmetic
        self._dtype = torch.float64 if isinstance(arithmetic, InDouble) else torch.float32

    @torch.inference_mode()
    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Float32 RGB [B, 3, H, W] to full outputs."""
        with self._arithmetic or nullcontext():
            boxes, scores = self._model(torch.from_numpy(batch).to(self._dtype))
        return Outputs(boxes.numpy(), scores.numpy())

    def measure(self, canvases: NDArray[np.uint8], precision: str, **thresholds: Any) -> Measure:
        """See `Reference.measure`."""
        with DoubleMemory(self._model) as needed:
            single = self._run(canvases)
        free = available_memory()
        double = free is None or needed.bytes < free / 2
        exact = self._run(canvases, InDouble() if double else ReversedSums())
        rounded = self._run(canvases, Rounded(precision)) if precision in HALF else single
        rounding = compare(exact, rounded, **thresholds)
        return Measure(exact, rounding, DOUBLE if double else REVERSED)

    def _run(
        self, canvases: NDArray[np.uint8], arithmetic: TorchFunctionMode | None = None
    ) -> Result:
        runner = TorchReference(self._model, arithmetic)
        result = run(runner, canvases)
        if not finite(result):
            precision = "half precision" if isinstance(arithmetic, Rounded) else "float32"
            raise NonFiniteOutputError(
                f"the model itself gives NaN or infinite values in {precision}; they begin in "
                f"{self._first_layer(canvases, runner)}. {_REMEDIES[precision]}"
            )
        return result

    def _first_layer(self, canvases: NDArray[np.uint8], runner: TorchReference) -> str:
        """The first module, in the order of computing, whose result is not finite."""
        found: list[str] = []

        def watch(name: str, module: nn.Module) -> Any:
            def look(_: nn.Module, __: Any, output: Any) -> None:
                tensors = output if isinstance(output, list | tuple) else [output]
                values = [x for x in tensors if isinstance(x, Tensor)]
                if not found and not all(bool(x.isfinite().all()) for x in values):
                    found.append(f"layer {name} ({type(module).__name__})")

            return module.register_forward_hook(look)

        named = [(n, m) for n, m in self._model.named_modules() if n]
        hooks = [watch(name, module) for name, module in named]
        try:
            for canvas in canvases:
                run(runner, canvas[None])
        finally:
            for hook in hooks:
                hook.remove()
        return found[0] if found else "the decoding of the head"


_REMEDIES: Final = {
    "float32": "The weights are damaged or belong to another cfg",
    "half precision": "Use --precision fp32 (or bf16 for TensorRT)",
}


class DoubleMemory:
    """Bytes that a float64 run of one image needs, about, seen on a run in float32.

    The largest convolution with its unfolded input (torch multiplies matrices in float64), and
    all maps that later layers read.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._largest, self._kept = 0, dict[int, int]()

    @property
    def bytes(self) -> int:
        """Of the runs inside the `with` statement."""
        return 8 * (self._largest + sum(self._kept.values()))

    def __enter__(self) -> DoubleMemory:
        convolutions = [m for m in self._model.modules() if isinstance(m, nn.Conv2d)]
        self._hooks = [m.register_forward_hook(self._look) for m in convolutions]
        for index in {i for sources in self._model.sources for i in sources if i >= 0}:
            keep = partial(self._keep, index)
            self._hooks.append(self._model.model[index].register_forward_hook(keep))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _look(self, module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        cells = output.shape[2] * output.shape[3]
        column = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
        needed = inputs[0].numel() + cells * (column + 3 * output.shape[1])
        self._largest = max(self._largest, needed)

    def _keep(self, index: int, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._kept[index] = output.numel()


class GraphReference:
    """An ONNX file on ONNX Runtime's CPU provider.

    That has no float64 convolutions. Its optimised kernels are measured against the plain ones,
    which add in another order.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def measure(self, canvases: NDArray[np.uint8], precision: str, **thresholds: Any) -> Measure:
        """See `Reference.measure`."""
        from .plain_graph import PlainGraph, first_bad_node, rounded_copy

        with PlainGraph(self._path) as plain:
            expected = run(plain, canvases)
            if not finite(expected):
                raise NonFiniteOutputError(
                    f"{self._path.name} itself gives NaN or infinite values; they begin in "
                    f"{first_bad_node(self._path, plain, canvases)}. {_REMEDIES['float32']}"
                )
        with rounded_copy(self._path, precision) as path, PlainGraph(path, optimised=True) as graph:
            rounding = compare(expected, run(graph, canvases), **thresholds)
        return Measure(expected, rounding, REVERSED)


def full_spec(spec: ModelSpec) -> ModelSpec:
    """The spec of a network in torch: any size and batch, every box and class."""
    return spec.replace(
        batch=None, dynamic_size=True, input_form="float_nchw", outputs="full", topk=None
    )


def finite(result: Result) -> bool:
    """Whether all values are numbers."""
    return bool(
        np.isfinite(result.outputs.boxes).all() and np.isfinite(result.outputs.scores).all()
    )
