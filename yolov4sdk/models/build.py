"""Any network of this package with fresh weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contract.spec import Anchors
from .darknet.network import DarknetModel
from .definition import load_definition
from .model import ARCHITECTURE_KEY, Model


def build_model(
    architecture: str | Path | Mapping[str, Any],
    names: Sequence[str] | None = None,
    anchors: Anchors | None = None,
) -> Model:
    """Build a network with fresh weights; see `load_definition` for the arguments.

    The mapping may also be that of a Darknet graph, as an imported model's spec has it.
    """
    if isinstance(architecture, Mapping) and ARCHITECTURE_KEY in architecture:
        return DarknetModel.from_architecture(architecture, names, anchors)
    return Model(load_definition(architecture, names, anchors))
