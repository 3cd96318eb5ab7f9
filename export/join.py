"""Two traced graphs, one behind the other, as one."""

from __future__ import annotations

import onnx_ir as ir

PREFIX = "head."
"""Before the names of the second graph, which the tracer chose without knowing the first."""


def join(front: ir.Model, back: ir.Model) -> ir.Model:
    """Feed the outputs of `front` into the inputs of `back`, in order; `front` is changed."""
    graph, rest = front.graph, back.graph
    for value, source in zip(rest.inputs, graph.outputs, strict=True):
        ir.convenience.replace_all_uses_with(value, source)
    for value in list(rest.initializers.values()):
        del rest.initializers[str(value.name)]
        value.name = PREFIX + str(value.name)
        graph.register_initializer(value)
    results = list(rest.outputs)
    rest.outputs.clear()
    for node in list(rest):
        rest.remove(node)
        node.name = PREFIX + str(node.name)
        for output in node.outputs:
            if output not in results:
                output.name = PREFIX + str(output.name)
        graph.append(node)
    graph.outputs[:] = results
    return front


def forget_shapes(model: ir.Model) -> None:
    """Drop the shapes of all intermediate values: they were traced at one size of many."""
    for node in model.graph:
        for output in node.outputs:
            output.shape = None
