"""An ONNX file on ONNX Runtime's CPU provider, with and without its optimisations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.backends import Outputs
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.errors import MissingExtraError
from yolov4sdk.imaging.preprocess import to_input

try:
    import onnxruntime
except ImportError as error:
    raise MissingExtraError("Checking an ONNX file", "cpu", "onnxruntime") from error

from .arithmetic import HALF

NODES: Final = 64
"""Results of so many nodes are looked at in one run: of all at once, memory would not hold them."""


class PlainGraph:
    """A `Runner`; without optimisations every operator has its plain kernel."""

    def __init__(self, path: Path | bytes, optimised: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
        )
        model = path if isinstance(path, bytes) else str(path)
        self._session: Any = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        if isinstance(path, Path):
            self.spec = read_onnx_spec(path)

    def __enter__(self) -> PlainGraph:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """As `Backend.infer`."""
        return Outputs(**self.named(batch))

    def named(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """All outputs by name, in their order."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self.results(batch), strict=True))

    def results(self, batch: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """All outputs, in their order."""
        found: Sequence[NDArray[Any]] = self._session.run(
            None, {self._session.get_inputs()[0].name: batch}
        )
        return found


@contextmanager
def rounded_copy(path: Path, precision: str) -> Iterator[Path]:
    """The graph computing on values rounded to a half precision; itself for float32."""
    if precision not in HALF:
        yield path
        return
    from .half_onnx import round_onnx
    from .half_weights import restore_single

    with tempfile.TemporaryDirectory() as folder:
        single, rounded = Path(folder) / "single.onnx", Path(folder) / "rounded.onnx"
        restore_single(path, single)
        round_onnx(single, rounded, precision)
        yield rounded


def first_bad_node(path: Path, graph: PlainGraph, canvases: NDArray[np.uint8]) -> str:
    """The first operator, in the order of computing, whose result is not finite."""
    import onnx

    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    size = graph.spec.batch or 1
    batches = [
        to_input(np.resize(canvases[i : i + size], (size, *canvases.shape[1:])), form, bgr=True)
        for i in range(0, len(canvases), size)
        for form in [graph.spec.contract.input]
    ]
    for start in range(0, len(nodes), NODES):
        part = nodes[start : start + NODES]
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in part)
        with PlainGraph(model.SerializeToString()) as probe:
            runs = [probe.results(batch) for batch in batches]
        for node, *values in zip(part, *runs, strict=True):
            if not all(bool(np.isfinite(v).all()) for v in values if v.dtype.kind == "f"):
                return f"operator {node.name or node.output[0]} ({node.op_type})"
    return "its outputs"
