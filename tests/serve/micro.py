"""A detector made by hand, without torch: a millisecond a picture, which its boxes depend on."""

from __future__ import annotations

from pathlib import Path

from yolov4sdk import ModelSpec
from yolov4sdk.contract.spec import METADATA_KEY

STRIDES = (8, 16, 32)


def write_micro(path: Path) -> Path:
    """Each cell of each level is a box whose corner and score are the mean color of the cell."""
    import onnx
    from onnx import TensorProto, helper

    spec = ModelSpec("micro", ("ant",), STRIDES, (((24.0, 24.0),),) * 3, input_size=(64, 64))
    nodes, levels = [], []
    for stride in STRIDES:
        name = f"level{stride}"
        nodes += [
            helper.make_node(
                "AveragePool", ["images"], [f"{name}.pool"], kernel_shape=[stride] * 2,
                strides=[stride] * 2,
            ),
            helper.make_node("Reshape", [f"{name}.pool", "flat"], [f"{name}.flat"]),
            helper.make_node("Transpose", [f"{name}.flat"], [name], perm=[0, 2, 1]),
        ]  # fmt: skip
        levels.append(name)
    nodes += [
        helper.make_node("Concat", levels, ["colors"], axis=1),
        helper.make_node("ReduceMean", ["colors"], ["scores"], axes=[2], keepdims=1),
        helper.make_node("Slice", ["colors", "zero", "two", "last"], ["corner"]),
        helper.make_node("Mul", ["corner", "scale"], ["first"]),
        helper.make_node("Add", ["first", "side"], ["second"]),
        helper.make_node("Concat", ["first", "second"], ["boxes"], axis=2),
    ]
    constants = [
        helper.make_tensor("flat", TensorProto.INT64, [3], [0, 3, -1]),
        helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
        helper.make_tensor("two", TensorProto.INT64, [1], [2]),
        helper.make_tensor("last", TensorProto.INT64, [1], [2]),
        helper.make_tensor("scale", TensorProto.FLOAT, [1], [40.0]),
        helper.make_tensor("side", TensorProto.FLOAT, [1], [24.0]),
    ]
    graph = helper.make_graph(
        nodes,
        "micro",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, "h", "w"])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["b", "n", 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["b", "n", 1]),
        ],
        constants,
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
