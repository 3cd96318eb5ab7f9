"""The native checkpoint: safetensors with the ModelSpec in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..contract.safetensors_header import read_header, spec_of
from ..contract.spec import METADATA_KEY, ModelSpec
from ..errors import ForeignFileError, MissingExtraError, StateDictError
from ..system.files import atomic_write
from .build import build_model
from .model import Model

OPTIONAL_SUFFIX = "num_batches_tracked"
"""Buffers that only torch's cumulative average needs; old checkpoints lack them."""


def save_checkpoint(model: Model, path: str | Path, spec: ModelSpec | None = None) -> None:
    """Write weights and buffers with the spec, whole or not at all.

    Args:
        model: in any mode, on any device, not folded.
        path: ends in .safetensors.
        spec: in place of the model's own.
    """
    save_file = _safetensors().save_file
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, {METADATA_KEY: (spec or model.spec).to_json()})


def load_checkpoint(path: str | Path) -> Model:
    """Rebuild the network and load its weights.

    Returns:
        The model in evaluation mode, float32, on the CPU.

    Raises:
        ArtefactError: missing, empty, truncated or foreign file, no or a wrong ModelSpec.
        StateDictError: the weights do not fit the architecture in the spec.
    """
    header = read_header(path)
    spec = spec_of(header, path)
    with torch.device("meta"):  # the weights come from the file: none are made before
        model = build_model(spec.architecture, spec.names, spec.anchors)
    try:
        tensors = _safetensors().load_file(path)
    except Exception as error:  # safetensors raises its own error type and OSError
        raise ForeignFileError(
            f"{path} is not a readable safetensors file: {str(error)[:200]}"
        ) from error
    check_weights(model, tensors, str(path))
    model.load_state_dict(tensors, assign=True)
    model.spec = spec
    return model.eval()


def load_weights(
    model: Model, tensors: Mapping[str, Tensor], source: str = "weights", strict: bool = True
) -> tuple[list[str], list[str], list[str]]:
    """Copy tensors into a model by key, converting their dtype to the model's.

    Args:
        model: receives the weights.
        tensors: as in a state_dict.
        source: what to call them in the message.
        strict: raise when anything does not fit; otherwise load what fits.

    Returns:
        Keys that are missing, unexpected, misshaped.

    Raises:
        StateDictError: with `strict`, listing all three.
    """
    missing, unexpected, misshaped = check_weights(model, tensors, source, strict)
    with torch.no_grad():
        for key, target in model.state_dict().items():
            if key in tensors and tensors[key].shape == target.shape:
                target.copy_(tensors[key])
    return missing, unexpected, misshaped


def check_weights(
    model: Model, tensors: Mapping[str, Tensor], source: str, strict: bool = True
) -> tuple[list[str], list[str], list[str]]:
    """Keys that are missing, unexpected, misshaped; with `strict` they are an error."""
    own = model.state_dict()
    missing = [k for k in own if k not in tensors and not k.endswith(OPTIONAL_SUFFIX)]
    unexpected = [k for k in tensors if k not in own]
    misshaped = [
        f"{k}: {tuple(tensors[k].shape)} in the file, {tuple(own[k].shape)} in the model"
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    if strict and (missing or unexpected or misshaped):
        raise StateDictError(source, missing, unexpected, misshaped)
    return missing, unexpected, misshaped


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingExtraError("The native checkpoint format", "torch", "safetensors") from error
    return safetensors.torch
