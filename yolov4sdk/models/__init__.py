"""The PyTorch zone: blocks, model definitions, folding and checkpoints."""

from __future__ import annotations

from ..errors import MissingExtraError

try:
    import torch as _torch  # noqa: F401
except ImportError as _error:
    raise MissingExtraError("Models in PyTorch", "torch", "torch") from _error

from .build import build_model
from .definition import BUILT_IN, load_definition
from .fold import fold
from .model import Model

__all__ = ["BUILT_IN", "Model", "build_model", "fold", "load_definition"]
