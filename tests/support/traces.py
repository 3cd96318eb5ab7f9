"""One trace a network and form: torch's exporter takes seconds, and the tests export often."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any


def remembered(trace: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """`export.onnx_export._trace` that keeps what it made in a folder, by everything that goes in.

    The folder may be shared by processes. A network that is traced again is read from its file.
    """
    import onnx_ir as ir

    folder.mkdir(exist_ok=True)

    def traced(model: Any, options: Any, spec: Any) -> Any:
        # how weights are stored is decided after the trace, or seen in their types
        form = replace(options, precision="fp32", half_weights=False)
        grid = (spec.input_size, spec.max_stride, spec.model.grid)
        digest = hashlib.sha256(f"{model}{form}{spec.contract}{grid}".encode())
        for name, tensor in model.state_dict().items():
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().contiguous().numpy().tobytes())
        file = folder / f"{digest.hexdigest()}.onnx"
        if not file.exists():
            made = folder / f"{file.stem}.{id(model)}.part"
            ir.save(trace(model, options, spec), made)
            made.rename(file)
        return ir.load(file)

    return traced
