"""The exported form of Mish equals Mish, everywhere and in half precision."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from export.mish import FORMS, MishForm, expand_mish, mish_before_concat

EDGES = [0.0, -0.0, 1e-30, -1e-30, 5, -5, 17, -17, 20, -20, 88, -88, 104, -104, 6e4, -6e4]


def session(form: MishForm) -> onnxruntime.InferenceSession:
    """A graph of one Mish, expanded."""
    shape = ir.Shape(["n"])
    x = ir.val("x", ir.DataType.FLOAT, shape)
    node = ir.node("Mish", [x])
    node.outputs[0].name = "y"
    node.outputs[0].dtype, node.outputs[0].shape = ir.DataType.FLOAT, shape
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 18}, name="mish")
    model = ir.Model(graph, ir_version=10)
    assert expand_mish(model, form) == 1
    assert expand_mish(model, form) == 0
    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())


@pytest.mark.parametrize("form", FORMS)
def test_equals_mish(form: MishForm) -> None:
    x = np.concatenate((EDGES, np.linspace(-30, 30, 10_001))).astype(np.float32)
    (y,) = session(form).run(None, {"x": x})
    expected = F.mish(torch.from_numpy(x).double()).numpy()
    # The sigmoid of ONNX Runtime has an absolute error of 1e-7, which x multiplies.
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-6)


@given(st.floats(-65504, 65504, width=16))
def test_safe_in_float16(value: float) -> None:
    """Step by step in float16, as a half graph runs on a GPU: finite, and close to Mish."""
    x = torch.tensor(value, dtype=torch.float16)
    s = x.sigmoid()
    a = s * (2 - s)
    y = (x * a) / (2 - a)
    expected = F.mish(x.double())
    assert torch.isfinite(y)
    assert abs(float(y) - float(expected)) <= 4e-3 * abs(float(expected)) + 1e-5


def joined(shared: bool) -> ir.Model:
    """y = Mish(Concat(a, b)); shared: the concatenation is read by z = Neg as well."""
    inputs = [ir.val(name, ir.DataType.FLOAT, ir.Shape([2, 3])) for name in "ab"]
    axis = {"axis": 1}
    nodes = [ir.node("Concat", inputs, attributes=axis, name="join")]
    nodes.append(ir.node("Mish", nodes[0].outputs, name="mish"))
    if shared:
        nodes.append(ir.node("Neg", nodes[0].outputs))
    for name, node in zip("cyz", nodes, strict=False):
        node.outputs[0].name, node.outputs[0].dtype = name, ir.DataType.FLOAT
        node.outputs[0].shape = ir.Shape([2, 6])
    outputs = [node.outputs[0] for node in nodes[1:]]
    graph = ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": 18}, name="joined")
    return ir.Model(graph, ir_version=10)


def test_mish_moves_before_a_concatenation() -> None:
    model = joined(shared=False)
    assert mish_before_concat(model) == 1
    assert [node.op_type for node in model.graph] == ["Mish", "Mish", "Concat"]
    assert expand_mish(model) == 2
    values = np.random.default_rng(0).normal(0, 3, (2, 2, 3)).astype(np.float32)
    found = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(
        ["y"], dict(zip("ab", values, strict=True))
    )[0]
    expected = F.mish(torch.from_numpy(np.concatenate(list(values), axis=1))).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_mish_stays_where_the_concatenation_has_other_readers() -> None:
    model = joined(shared=True)
    assert mish_before_concat(model) == 0
    assert [node.op_type for node in model.graph] == ["Concat", "Mish", "Neg"]
