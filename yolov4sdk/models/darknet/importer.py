"""`import_darknet`: from two files to a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ModelConfigError, NamesError
from ...system.bounds import CFG_BYTES
from ...system.files import sha256
from ..definition import load_definition
from ..model import Model
from .graph import Graph, load_graph
from .head import filled
from .native import find_native
from .network import DarknetModel
from .weights import HEADER_KEY, LayerWeights, read_weights


def import_darknet(
    cfg: str | Path,
    weights: str | Path,
    names: Sequence[str] | None = None,
    native: bool = True,
) -> Model:
    """Read a Darknet network.

    A cfg of the native architecture (yolov4-csp, -p5, -p6 and their like with Mish) becomes a
    `Model` with a definition of its own, which trains too; any other becomes a `DarknetModel`.
    Both give what Darknet gives.

    Args:
        cfg: the .cfg.
        weights: the .weights, of either header version.
        names: class names; default: COCO's for 80 classes, otherwise class0, ...
        native: False keeps the graph even where it is of the native architecture.

    Returns:
        The model in evaluation mode, float32; its spec names the source and its SHA-256.

    Raises:
        ModelConfigError: the cfg is wrong or holds what is not supported; names the line.
        NamesError: the count of the names is not that of the classes.
        ArtefactError: missing, empty, truncated, overlong or foreign weights.
    """
    graph = _graph(Path(cfg))
    if names is not None and len(names) != graph.classes:
        raise NamesError(
            f"{cfg} has {graph.classes} classes, but there are {len(names)} names; give one a line"
        )
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(sha256, weights)  # a fifth of a second for 250 MB, beside the rest
        header, values = read_weights(weights, graph.weighted)
        model = _model(graph, values, names, native)
    model.spec = model.spec.replace(
        input_size=graph.size,
        train_size=max(graph.size),
        provenance={
            "source": Path(weights).name,
            "sha256": digest.result(),
            "cfg": Path(cfg).name,
            HEADER_KEY: header.to_text(),
            "licence": "as stated by the source of the weights",
        },
    )
    return model.eval()


def _graph(path: Path) -> Graph:
    if not path.is_file():
        raise ModelConfigError(f"no Darknet cfg at {path}; check the path")
    # Comments may be of any encoding; a key that is not ASCII is unknown anyway.
    with path.open("rb") as file:
        text = file.read(CFG_BYTES + 1).decode("utf-8-sig", errors="replace")
    return load_graph(text, str(path))


def _model(
    graph: Graph, values: Mapping[int, LayerWeights], names: Sequence[str] | None, native: bool
) -> Model:
    found = find_native(graph) if native else None
    with torch.device("meta"):  # the weights come from the file: none are made before
        model = (
            DarknetModel(graph, names)
            if found is None
            else Model(load_definition(found.definition, names))
        )
    state = _graph_state(graph, values) if found is None else found.state_dict(values)
    detect, prefix = model.detect, f"model.{len(model.model) - 1}"
    grid = torch.tensor(filled(model.spec.anchors)).view(detect.nl, 1, detect.na, 1, 1, 2)
    strides = torch.tensor(detect.strides, dtype=torch.float32).view(-1, 1, 1)
    state[f"{prefix}.anchor_grid"] = grid
    state[f"{prefix}.anchors"] = grid.view(detect.nl, detect.na, 2) / strides
    model.load_state_dict(state, assign=True)
    return model


def _graph_state(graph: Graph, values: Mapping[int, LayerWeights]) -> dict[str, Tensor]:
    """The DarknetModel's state_dict, but for the head's anchors."""
    state: dict[str, Tensor] = {}
    levels = {head.sources[0]: level for level, head in enumerate(graph.heads)}
    for index, found in values.items():
        if index in levels:
            key = f"model.{len(graph.layers)}.m.{levels[index]}"
            assert found.bias is not None
            state |= {f"{key}.weight": found.weight, f"{key}.bias": found.bias}
            continue
        key = f"model.{index}"
        if found.bias is None:  # a shortcut's
            state[f"{key}.weight"] = found.weight
            continue
        state[f"{key}.conv.weight"] = found.weight
        if found.scale is None or found.mean is None or found.variance is None:
            state[f"{key}.conv.bias"] = found.bias
            continue
        state[f"{key}.bn.weight"], state[f"{key}.bn.bias"] = found.scale, found.bias
        state[f"{key}.bn.running_mean"] = found.mean
        state[f"{key}.bn.running_var"] = found.variance
        state[f"{key}.bn.num_batches_tracked"] = torch.tensor(0)
    return state
