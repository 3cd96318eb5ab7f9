"""For each convention: a tiny graph whose outputs hold known boxes, written by its maker's rules.

The encoders follow the makers' documents and not the package's decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 96
BOXES = np.array([[10, 20, 50, 60], [30.5, 5.25, 80, 90], [60, 60, 70, 75]], np.float64)
SCORES = np.array([0.9, 0.75, 0.5])
CLASSES = np.array([1, 0, 2])
NC = 3


@dataclass
class Case:
    """Outputs in the graph's order, and what the file must be told."""

    outputs: dict[str, np.ndarray]
    names: int = NC
    classes: np.ndarray = field(default_factory=lambda: CLASSES)
    inputs: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    image: tuple[str, str, list[int]] = ("images", "float32", [1, 3, SIDE, SIDE])


def f32(array: Any) -> np.ndarray:
    return np.asarray(array, np.float32)


def cxcywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), 1)


def logit(p: Any) -> np.ndarray:
    p = np.clip(np.asarray(p, np.float64), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def cells(strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Column, row and stride of every cell, level by level, row by row."""
    xy, stride = [], []
    for s in strides:
        n = -(-SIDE // s)
        xy += [(x, y) for y in range(n) for x in range(n)]
        stride += [s] * n * n
    return np.array(xy, np.float64), np.array(stride, np.float64)[:, None]


def one_hot(score: np.ndarray, columns: int, at: np.ndarray = CLASSES) -> np.ndarray:
    out = np.zeros((len(score), columns))
    out[np.arange(len(score)), at] = score
    return out


def spread(values: np.ndarray, rows: int, at: list[int]) -> np.ndarray:
    """`values` in the rows `at` of `rows`, zeros elsewhere."""
    out = np.zeros((rows, values.shape[1]))
    out[at] = values
    return out


def yolox(raw: bool) -> Case:
    xy, stride = cells((8, 16, 32))
    at = [5, 40, 150]
    centre = cxcywh(BOXES)
    rows = np.zeros((len(xy), 5 + NC))
    if raw:
        coded = np.concatenate(
            (centre[:, :2] / stride[at] - xy[at], np.log(centre[:, 2:] / stride[at])), 1
        )
    else:
        coded = centre
        rows[:, :4] = 1
    rows[at] = np.concatenate((coded, np.full((3, 1), 0.96), one_hot(SCORES / 0.96, NC)), 1)
    return Case({"output": f32(rows[None])})


def plain(columns: str, transposed: bool = False) -> Case:
    """[B, N, 4 + C] or with objectness, corners or centres."""
    box = cxcywh(BOXES) if "c" in columns else BOXES
    parts = [box]
    score = SCORES
    if "o" in columns:
        parts.append(np.full((3, 1), 0.96))
        score = SCORES / 0.96
    parts.append(one_hot(score, NC))
    rows = spread(np.concatenate(parts, 1), 40, [3, 17, 30])[None]
    return Case({"output0": f32(rows.transpose(0, 2, 1) if transposed else rows)})


def six(filler: float = 0.0) -> Case:
    rows = np.concatenate((BOXES, SCORES[:, None], CLASSES[:, None]), 1)
    rest = np.tile([1, 1, 2, 2, filler, 0], (5, 1)) * (filler > 0)
    return Case({"output0": f32(np.concatenate((rows, rest)))[None]})


def flat(order: str) -> Case:
    parts = {"i": np.zeros((3, 1)), "b": BOXES, "s": SCORES[:, None], "c": CLASSES[:, None]}
    return Case({"output": f32(np.concatenate([parts[letter] for letter in order], 1))})


def one_class() -> Case:
    rows = np.concatenate((cxcywh(BOXES), SCORES[:, None], np.full((3, 1), 0.3)), 1)
    case = Case({"output": f32(spread(rows, 20, [2, 9, 19]))[None]}, names=1)
    case.classes = np.zeros(3, np.int64)
    return case


def four(titles: tuple[str, ...], order: str, **changes: Any) -> Case:
    """Boxes, scores, classes and a count, in the order of the letters b, s, c, n."""
    pad = np.array([[1.0, 2, 3, 4]])
    label = CLASSES + changes.pop("offset", 0)
    fraction = changes.pop("fraction", False)
    boxes = np.concatenate((BOXES, pad)) / (SIDE if fraction else 1)
    if changes.pop("yx", False):
        boxes = boxes[:, [1, 0, 3, 2]]
    values = {
        "b": f32(boxes[None]),
        "s": f32([[*SCORES, 0.8]]),
        "c": np.array([[*label, 0]], changes.pop("dtype", np.int32)),
        "n": np.array(changes.pop("count", [[3]]), changes.pop("count_dtype", np.int32)),
    }
    return Case({n: values[letter] for n, letter in zip(titles, order, strict=True)}, **changes)


def detr(names: tuple[str, str], background: str, softmax: bool = False, **changes: Any) -> Case:
    fractions = cxcywh(BOXES) / SIDE
    columns = NC + (background != "none")
    shift = int(background == "first")
    queries = 6
    scores = np.full((queries, columns), 1e-3)
    for i, (c, s) in enumerate(zip(CLASSES, SCORES, strict=True)):
        scores[i, c + shift] = s
    if background == "last":
        scores[:, -1] = 0.99  # dropped, however sure
    logits = logit(scores)
    if softmax:
        scores[:, -1] = 0
        rest = 1 - scores.sum(1, keepdims=True)
        logits = np.log(np.concatenate((scores[:, :-1], rest), 1))
    boxes = np.full((queries, 4), 0.5)
    boxes[:3] = fractions
    outputs = {"boxes": f32(boxes[None]), "scores": f32(logits[None])}
    return Case({names[0]: outputs["boxes"], names[1]: outputs["scores"]}, **changes)


def rfdetr_coco() -> Case:
    """Slot 3 is "car" (index 2), 1 "person", 90 "toothbrush" (79)."""
    scores = np.full((6, 91), 1e-3)
    for i, (slot, s) in enumerate(zip((3, 1, 90), SCORES, strict=True)):
        scores[i, slot] = s
    boxes = np.full((6, 4), 0.5)
    boxes[:3] = cxcywh(BOXES) / SIDE
    outputs = {"dets": f32(boxes[None]), "labels": f32(logit(scores)[None])}
    return Case(outputs, names=80, classes=np.array([2, 0, 79]))


def nanodet() -> Case:
    xy, stride = cells((8, 16, 32, 64))
    # cells of stride 16 whose corner lies inside each box; distances must be below 7 strides
    n8 = (SIDE // 8) ** 2
    wide = SIDE // 16
    picks = [(2, 2), (3, 3), (4, 4)]
    at = [n8 + y * wide + x for x, y in picks]
    rows = np.zeros((len(xy), NC + 32))
    for row, box, score, c in zip(at, BOXES, SCORES, CLASSES, strict=True):
        px, py = xy[row] * stride[row]
        sides = np.array([px - box[0], py - box[1], box[2] - px, box[3] - py]) / stride[row]
        rows[row, c] = score
        for k, side in enumerate(sides):
            low = int(np.floor(side))
            weights = np.full(8, 1e-12)
            weights[low], weights[min(low + 1, 7)] = 1 - (side - low) + 1e-12, side - low + 1e-12
            rows[row, NC + 8 * k : NC + 8 * k + 8] = np.log(weights)
    return Case({"output": f32(rows[None])})


def paddle() -> Case:
    rows = np.concatenate((CLASSES[:, None], SCORES[:, None], BOXES), 1)
    rows = np.concatenate((rows, [[-1, 0.9, 0, 0, 5, 5]]))
    return Case(
        {"multiclass_nms3_0.tmp_0": f32(rows), "multiclass_nms3_0.tmp_2": np.array([3], np.int32)},
        inputs={"scale_factor": ("float32", [1, 2])},
    )


def ppyoloe() -> Case:
    boxes = spread(BOXES, 30, [1, 12, 29])
    scores = spread(one_hot(SCORES, NC), 30, [1, 12, 29])
    return Case(
        {"boxes": f32(boxes[None]), "scores": f32(scores.T[None])},
        inputs={"scale_factor": ("float32", [1, 2])},
    )


def two(names: tuple[str, str], fraction: bool, extra_axis: bool = False) -> Case:
    boxes = spread(BOXES, 30, [1, 12, 29])[None] / (SIDE if fraction else 1)
    if extra_axis:
        boxes = boxes[:, :, None]
    scores = spread(one_hot(SCORES, NC), 30, [1, 12, 29])[None]
    return Case({names[0]: f32(boxes), names[1]: f32(scores)})


def torchvision(order: str) -> Case:
    values = {"b": f32(BOXES), "s": f32(SCORES), "c": (CLASSES + 1).astype(np.int64)}
    return Case(
        {f"out{i}": values[letter] for i, letter in enumerate(order)},
        image=("image", "float32", [3, SIDE, SIDE]),
    )


def detection_output() -> Case:
    rows = np.concatenate(
        (np.zeros((3, 1)), CLASSES[:, None] + 1, SCORES[:, None], BOXES / SIDE), 1
    )
    rows = np.concatenate((rows, [[-1, 2, 0.9, 0, 0, 1, 1]]))
    return Case({"detection_out": f32(rows[None, None])})


def authors() -> Case:
    return Case(
        {
            "labels": CLASSES[None].astype(np.int64), "boxes": f32(BOXES[None]),
            "scores": f32(SCORES[None]),
        },
        inputs={"orig_target_sizes": ("int64", [1, 2])},
    )  # fmt: skip


HF = ("pred_boxes", "logits")
U8 = ("input", "uint8", [1, 3, SIDE, SIDE])
NHWC = ("input_tensor", "uint8", [1, SIDE, SIDE, 3])
TFLITE = ("x", "float32", [1, SIDE, SIDE, 3])
CASES: dict[str, Callable[[], Case]] = {
    "yolox": lambda: yolox(raw=False),
    "yolox-raw": lambda: yolox(raw=True),
    "yolov8": lambda: plain("c", transposed=True),
    "yolov5": lambda: plain("co"),
    "yolov7-one-class": one_class,
    "yolo-end2end": lambda: six(0.01),
    "yolo-nms": six,
    "deepstream": lambda: six(0.01),
    "yolov7-flat": lambda: flat("ibcs"),
    "efficientnms": lambda: four(
        ("num_dets", "det_boxes", "det_scores", "det_classes"), "nbsc"
    ),
    "yolonas": lambda: four(("n", "b", "s", "c"), "nbsc", image=U8),
    "yolonas-flat": lambda: Case(flat("ibsc").outputs, image=U8),
    "yolonas-raw": lambda: two(("b", "s"), fraction=False),
    "mmdeploy": lambda: Case(
        {
            "dets": f32(np.concatenate((BOXES, SCORES[:, None]), 1)[None]),
            "labels": CLASSES[None].astype(np.int64),
        }
    ),
    "modelapi": lambda: Case(
        {
            "boxes": f32(np.concatenate((BOXES, SCORES[:, None]), 1)[None]),
            "labels": CLASSES[None].astype(np.int64),
        }
    ),
    "paddle": paddle,
    "ppyoloe": ppyoloe,
    "ppyoloe-joined": lambda: plain("x"),
    "nanodet-plus": nanodet,
    "tianxiaomo": lambda: two(("boxes", "confs"), fraction=True, extra_axis=True),
    "torchvision": lambda: torchvision("bsc"),
    "torchvision-rcnn": lambda: torchvision("bcs"),
    "ssd-tf": lambda: four(
        ("detection_boxes", "detection_scores", "detection_classes", "num_detections"), "bscn",
        fraction=True, yx=True, offset=1, dtype=np.float32, count=[3], count_dtype=np.float32,
        names=80, image=NHWC,
    ),
    "ssd-tflite": lambda: four(
        ("a", "b", "c", "d"), "bcsn", fraction=True, yx=True, dtype=np.float32, count=[3],
        count_dtype=np.float32, image=TFLITE,
    ),
    "detection-output": detection_output,
    "rtdetr": authors,
    "dfine": authors,
    "deim": authors,
    "rtdetr-hf": lambda: detr(HF, "none"),
    "deformable-detr": lambda: detr(HF, "none"),
    "detr": lambda: detr(HF, "last", softmax=True),
    "rfdetr": lambda: detr(("dets", "labels"), "last"),
    "rfdetr-background-first": lambda: detr(("dets", "labels"), "first"),
    "rfdetr-coco": rfdetr_coco,
    "libreyolo": lambda: plain("x", transposed=True),
    "libreyolo-rows": lambda: plain("x"),
}  # fmt: skip


def write(case: Case, path: Path) -> Path:
    """A graph that gives the case's outputs whatever the image shows."""
    name, dtype, shape = case.image
    kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}
    nodes = [
        helper.make_node("Cast", [name], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["as_float"], ["peak"], keepdims=0),
        helper.make_node("Mul", ["peak", "zero"], ["nothing"]),
    ]
    inputs = [helper.make_tensor_value_info(name, kinds[dtype], shape)]
    for extra, (kind, dims) in case.inputs.items():
        inputs.append(helper.make_tensor_value_info(extra, kinds[kind], dims))
        nodes += [
            helper.make_node("Cast", [extra], [f"{extra}_f"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", [f"{extra}_f"], [f"{extra}_m"], keepdims=0),
            helper.make_node("Mul", [f"{extra}_m", "nothing"], [f"{extra}_0"]),
        ]
    initializers = [numpy_helper.from_array(np.float32(0), "zero")]
    outputs = []
    for output, array in case.outputs.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        initializers.append(numpy_helper.from_array(array, f"{output}_value"))
        nodes += [
            helper.make_node("Cast", ["nothing"], [f"{output}_0"], to=kind),
            helper.make_node("Add", [f"{output}_value", f"{output}_0"], [output]),
        ]
        outputs.append(helper.make_tensor_value_info(output, kind, array.shape))
    graph = helper.make_graph(nodes, "case", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
