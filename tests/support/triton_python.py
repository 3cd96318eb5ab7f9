"""A model of Triton's Python backend in this process, without Triton."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np


class InProcess:
    """One of `export.triton_models`, with a stand-in for the module that Triton gives it.

    Args:
        monkeypatch: pytest's; it puts the stand-in away again.
        name: of the module.
        config: Triton's, as `export.triton_config` writes it.
        folder: with the model's version folders, where the model reads a file.
    """

    def __init__(
        self, monkeypatch: Any, name: str, config: Any, folder: Path | None = None
    ) -> None:
        stand_in = SimpleNamespace(
            get_input_tensor_by_name=lambda request, name: request.get(name),
            Tensor=lambda name, value: SimpleNamespace(name=name, as_numpy=lambda: value),
            InferenceResponse=lambda tensors: {t.name: t.as_numpy() for t in tensors},
        )
        monkeypatch.setitem(sys.modules, "triton_python_backend_utils", stand_in)
        monkeypatch.delitem(sys.modules, f"export.triton_models.{name}", raising=False)
        self._model = import_module(f"export.triton_models.{name}").TritonPythonModel()
        parameters = {
            key: {"string_value": value.string_value} for key, value in config.parameters.items()
        }
        arguments = {
            "model_config": json.dumps({"parameters": parameters}),
            "model_repository": str(folder), "model_version": "1", "model_instance_kind": "CPU",
        }  # fmt: skip
        self._model.initialize(arguments)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of one request."""
        request = {k: SimpleNamespace(as_numpy=lambda v=v: v) for k, v in inputs.items()}  # type: ignore[misc]
        (answer,) = self._model.execute([request])
        return dict(answer)
