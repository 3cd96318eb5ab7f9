"""Mish in operators that runtimes run fast.

The trace keeps Mish as one ONNX operator; here it becomes other, algebraically equal ones. With
e = exp(x), tanh(softplus(x)) = (e^2 + 2e) / (e^2 + 2e + 2). Divided through by (1 + e)^2, with
s = sigmoid(x) and a = s (2 - s), this is a / (2 - a): one exponential, every intermediate value
between 0 and |x| or 2, and no difference of nearly equal numbers, so that it is safe in float16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
import onnx_ir as ir

MishForm = Literal["sigmoid", "softplus", "operator"]

Builder = Callable[..., ir.Value]
"""build(op_type, *inputs) makes a node of the same shape as the Mish it is for."""


def _sigmoid_form(x: ir.Value, two: ir.Value, build: Builder) -> ir.Value:
    s = build("Sigmoid", x)
    a = build("Mul", s, build("Sub", two, s))
    return build("Div", build("Mul", x, a), build("Sub", two, a))


def _softplus_form(x: ir.Value, two: ir.Value, build: Builder) -> ir.Value:
    """As the definition says, x tanh(softplus(x)): what a plain export gives."""
    return build("Mul", x, build("Tanh", build("Softplus", x)))


FORMS: Final[dict[str, Callable[[ir.Value, ir.Value, Builder], ir.Value]]] = {
    "sigmoid": _sigmoid_form,
    "softplus": _softplus_form,
}


def expand_mish(model: ir.Model, form: MishForm = "sigmoid") -> int:
    """Replace every Mish operator in place; return how many there were.

    With "operator" they stay: OpenVINO computes its own Mish inside the convolution before it,
    also where the result is quantised.
    """
    graph = model.graph
    nodes = [node for node in graph if node.op_type == "Mish"]
    if not nodes or form == "operator":
        return len(nodes)
    dtype = nodes[0].outputs[0].dtype
    assert dtype is not None, "the exporter states every type"
    two = ir.val("mish_two", const_value=ir.tensor(np.array(2, dtype.numpy()), name="mish_two"))
    if form == "sigmoid":
        graph.register_initializer(two)
    for node in nodes:
        _replace(graph, node, two, form)
    return len(nodes)


def mish_before_concat(model: ir.Model) -> int:
    """Turn Mish(Concat(a, b)) into Concat(Mish(a), Mish(b)) in place; return how many there were.

    The same values: but now each Mish follows a convolution, of which runtimes make one kernel,
    and what is joined is already activated, and quantised where the graph is.
    """
    graph = model.graph
    count = 0
    for node in [node for node in graph if node.op_type == "Mish"]:
        joined = node.inputs[0]
        concat = joined.producer() if joined is not None else None
        if joined is None or concat is None or concat.op_type != "Concat":
            continue
        if len(joined.uses()) > 1 or joined.is_graph_output():
            continue
        old = node.outputs[0]
        parts = []
        for i, value in enumerate(concat.inputs):
            assert value is not None
            part = ir.node("Mish", [value], name=f"{node.name}_{i}")
            part.outputs[0].name = f"{old.name}.part{i}"
            part.outputs[0].type, part.outputs[0].shape = value.type, value.shape
            parts.append(part)
        together = ir.node(
            "Concat",
            [part.outputs[0] for part in parts],
            attributes=dict(concat.attributes),
            name=f"{node.name}_concat",
        )
        together.outputs[0].type, together.outputs[0].shape = old.type, old.shape
        new = [*parts, together]
        ir.convenience.replace_nodes_and_values(
            graph, node, [node, concat], new, [old], [together.outputs[0]]
        )
        count += 1
    return count


def _replace(graph: ir.Graph, node: ir.Node, two: ir.Value, form: MishForm) -> None:
    old = node.outputs[0]
    new: list[ir.Node] = []

    def build(op_type: str, *inputs: ir.Value) -> ir.Value:
        made: Any = ir.node(op_type, inputs, name=f"{node.name}_{op_type}_{len(new)}")
        made.outputs[0].name = f"{old.name}.{len(new)}"
        made.outputs[0].type, made.outputs[0].shape = old.type, old.shape
        new.append(made)
        value: ir.Value = made.outputs[0]
        return value

    x = node.inputs[0]
    assert x is not None
    result = FORMS[form](x, two, build)
    ir.convenience.replace_nodes_and_values(graph, node, [node], new, [old], [result])
