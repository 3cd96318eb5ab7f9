"""The two halves of a trace, connected."""

from __future__ import annotations

import onnx_ir as ir


def join(model: ir.Model, features: int) -> None:
    """Connect in place what `graph.Halves` keeps apart.

    Args:
        model: inputs images and the feature maps that the head reads; outputs the feature maps
            that the layers make, and boxes and scores.
        features: number of feature maps.
    """
    graph = model.graph
    for read, made in zip(graph.inputs[1:], graph.outputs[:features], strict=True):
        ir.convenience.replace_all_uses_with(read, made)
    del graph.inputs[1:]
    del graph.outputs[:features]
    graph.sort()  # shapes of the feature maps were asked for before any layer


def forget_shapes(model: ir.Model) -> None:
    """Drop the shapes of all intermediate values: they were traced at one size of many."""
    for node in model.graph:
        for output in node.outputs:
            output.shape = None
