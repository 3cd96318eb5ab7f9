"""The table of layers, as TensorRT 10, 11 and RTX write it.

The JSON is shaped as NVIDIA documents the engine inspector and shows it in reports: 10.x has
"Format/Datatype" and "Bindings", 11.x "Datatype", "Format" and "I/O Tensors".
"""

from __future__ import annotations

import json

import pytest

from yolov4sdk.errors import ExportError
from yolov4sdk.tensorrt.layers import (
    check_precision,
    kernels,
    layers_of_json,
    layers_of_log,
    precision_table,
)


def layer(name: str, kind: str, key: str, before: str, after: str, metadata: str = "") -> dict:
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [{"Name": "a", "Dimensions": [1, 3, 8, 8], key: before}],
        "Outputs": [{"Name": "b", "Dimensions": [1, 8, 8, 8], key: after}],
        "Metadata": metadata,
    }


TEN = [
    layer("Reformatting CopyNode for Input Tensor 0 to conv_a", "Reformat", "Format/Datatype",
          "Row major linear FP32", "Channel major FP16 format where channel % 8 == 0"),
    layer("conv_a + PWN(PWN(sigmoid_a), mul_a)", "CaskConvolution", "Format/Datatype",
          "Channel major FP16 format where channel % 8 == 0",
          "Channel major FP16 format where channel % 8 == 0"),
    layer("conv_b", "CaskConvolution", "Format/Datatype", "Row major linear FP32",
          "Row major linear FP32"),
]  # fmt: skip
ELEVEN = [
    layer("__myl_ConvSigm_0", "kgen", "Datatype", "Half", "Half", "[ONNX Layer: conv_a]"),
    layer("conv_b_1", "correlation", "Datatype", "BFloat16", "Float", "[ONNX Layer: conv_b]"),
    {"Name": "s", "LayerType": "signal", "Inputs": [], "Outputs": []},
]


@pytest.mark.parametrize(
    ("entries", "precisions"),
    [
        (TEN, ["fp32 -> fp16", "fp16", "fp32"]),
        (ELEVEN, ["fp16", "bf16 -> fp32", "none"]),
        (["conv_a", "conv_b"], ["none", "none"]),
    ],
    ids=["10", "11", "names only"],
)
def test_json(entries: list, precisions: list[str]) -> None:
    layers = layers_of_json(json.dumps({"Layers": entries, "Bindings": ["images"]}))
    assert [one.precision for one in layers] == precisions


def test_silent_float32_is_an_error() -> None:
    layers = layers_of_json(json.dumps({"Layers": TEN}))
    assert check_precision(layers, ["conv_a"], "fp16", "x") == {"fp16": 1}
    with pytest.raises(ExportError, match="of 2 convolutions 1 in fp16, 1 in fp32"):
        check_precision(layers, ["conv_a", "conv_b"], "fp16", "x")
    with pytest.raises(ExportError, match="none found"):  # a reformat of its input is not the layer
        check_precision(layers[:1], ["conv_a"], "fp16", "x")
    named = layers_of_json(json.dumps({"Layers": ["conv_a"]}))
    with pytest.raises(ExportError, match="1 in none"):
        check_precision(named, ["conv_a"], "fp16", "x")


def test_names_are_whole() -> None:
    layers = layers_of_json(json.dumps({"Layers": ["conv_10", "/m/conv_1 + /m/act"]}))
    assert [one.holds("conv_1") for one in layers] == [False, False]
    assert layers[1].holds("/m/conv_1") and layers[0].holds("conv_10")


def test_int8_is_held_against_what_the_graph_quantises() -> None:
    entries = [
        layer("conv_a", "correlation", "Datatype", "Int8", "Float", "[ONNX Layer: conv_a]"),
        layer("bias", "kgen", "Datatype", "Float", "Half", "[ONNX Layer: conv_a]"),
        layer("conv_b", "correlation", "Datatype", "Half", "Half", "[ONNX Layer: conv_b]"),
    ]
    layers = layers_of_json(json.dumps({"Layers": entries}))
    both = ["conv_a", "conv_b"]
    assert check_precision(layers, both, "int8", "x", {"conv_a"}) == {"int8": 1, "fp16": 1}
    for quantised in (both, ["conv_b"], []):
        with pytest.raises(ExportError, match="1 in int8, 1 in fp16, int8 was asked for"):
            check_precision(layers, both, "int8", "x", quantised)


def test_log() -> None:
    text = (
        "Layers:\n"
        "Name: __myl_CorrSigm_1, LayerType: runtime_fusion, Inputs: [ { Name: a, Dimensions: "
        "[1,4,8,8], Datatype: Half, Format: (NHWC) Channel major format }], Constants: [ { Name: "
        "c, Datatype: Float, Format: x }], Outputs: [ { Name: b, Datatype: Half, Format: x }], "
        "TacticName: t, StreamId: 0, Metadata: [ONNX Layer: n_1][ONNX Layer: n_2]\n"
        "Name: w, LayerType: wait, Inputs: [], Constants: [], Outputs: [], TacticName: , "
        "StreamId: 1, EventId: 1, Metadata: \n\nI/O Tensors:\n Name: images, IOMode: Input"
    )
    fused, wait = layers_of_log(text)
    assert fused.precision == "fp16" and fused.nodes == {"n_1", "n_2"} and fused.holds("n_2")
    assert wait.precision == "none" and kernels([fused, wait]) == 1
    assert precision_table([fused, wait]) == {"fp16": 1}
