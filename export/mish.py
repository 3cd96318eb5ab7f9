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

MishForm = Literal["sigmoid", "softplus"]

Builder = Callable[..., ir.Value]
"""build(op_type, *inputs) makes a node of the same shape as the Mish it is for."""


def _sigmoid_form(x: ir.Value, two: ir.Value, build: Builder) -> ir.Value:
    s = build("Sigmoid", x)
    a = build("Mul", s, build("Sub", two, s))
    return build("Div", build("Mul", x, a), build("Sub", two, a))


def _softplus_form(x: ir.Value, two: ir.Value, build: Builder) -> ir.Value:
    """As the definition says, x tanh(softplus(x)): what a plain export gives."""
    return build("Mul", x, build("Tanh", build("Softplus", x)))


FORMS: Final[dict[MishForm, Callable[[ir.Value, ir.Value, Builder], ir.Value]]] = {
    "sigmoid": _sigmoid_form,
    "softplus": _softplus_form,
}


def expand_mish(model: ir.Model, form: MishForm = "sigmoid") -> int:
    """Replace every Mish operator in place; return how many there were."""
    graph = model.graph
    nodes = [node for node in graph if node.op_type == "Mish"]
    if not nodes:
        return 0
    dtype = nodes[0].outputs[0].dtype
    assert dtype is not None, "the exporter states every type"
    two = ir.val("mish_two", const_value=ir.tensor(np.array(2, dtype.numpy()), name="mish_two"))
    if form == "sigmoid":
        graph.register_initializer(two)
    for node in nodes:
        _replace(graph, node, two, form)
    return len(nodes)


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
