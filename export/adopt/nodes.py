"""ONNX nodes that behave like arrays: the arithmetic of a convention, written into a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Constant = NDArray[Any] | np.generic | float | int


class Node:
    """A value of the graph; +, -, * and / write nodes."""

    __array_ufunc__ = None  # array * node is the node's

    def __init__(self, graph: GraphWriter, name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: Node | Constant) -> Node:
        return self.graph.node("Add", self, other)

    def __radd__(self, other: Constant) -> Node:
        return self.graph.node("Add", other, self)

    def __sub__(self, other: Node | Constant) -> Node:
        return self.graph.node("Sub", self, other)

    def __rsub__(self, other: Constant) -> Node:
        return self.graph.node("Sub", other, self)

    def __mul__(self, other: Node | Constant) -> Node:
        return self.graph.node("Mul", self, other)

    def __rmul__(self, other: Constant) -> Node:
        return self.graph.node("Mul", other, self)

    def __truediv__(self, other: Node | Constant) -> Node:
        return self.graph.node("Div", self, other)


class _Operations:
    """See `yolov4sdk.conventions.arithmetic.Ops`."""

    def node(self, kind: str, *inputs: Node | Constant, **attributes: Any) -> Node:
        """Replaced by the writer."""
        raise AssertionError("a writer defines how it writes")

    def several(
        self, kind: str, outputs: int, *inputs: Node | Constant, **attributes: Any
    ) -> list[Node]:
        """Replaced by the writer."""
        raise AssertionError("a writer defines how it writes")

    def exp(self, x: Node) -> Node:
        return self.node("Exp", x)

    def sigmoid(self, x: Node) -> Node:
        return self.node("Sigmoid", x)

    def softmax(self, x: Node) -> Node:
        return self.node("Softmax", x, axis=-1)

    def columns(self, x: Node, start: int, stop: int) -> Node:
        return self.node("Slice", x, _ints(start), _ints(stop), _ints(-1))

    def take(self, x: Node, indices: Sequence[int]) -> Node:
        return self.node("Gather", x, _ints(*indices), axis=-1)

    def concat(self, parts: Sequence[Node]) -> Node:
        return self.node("Concat", *parts, axis=-1)

    def column(self, x: Node) -> Node:
        return self.node("Unsqueeze", x, _ints(-1))

    def squeeze(self, x: Node) -> Node:
        return self.node("Squeeze", x, _ints(-1))

    def split(self, x: Node, parts: int) -> Node:
        return self.node("Reshape", x, _ints(0, 0, parts, -1))

    def total(self, x: Node) -> Node:
        return self.node("ReduceSum", x, _ints(-1), keepdims=0)

    def floats(self, x: Node) -> Node:
        return self.node("Cast", x, to=TensorProto.FLOAT)

    def integers(self, x: Node) -> Node:
        return self.node("Cast", self.node("Round", x), to=TensorProto.INT64)

    def at_least(self, x: Node, value: float) -> Node:
        return self.floats(self.node("GreaterOrEqual", x, np.float32(value)))

    def lookup(self, x: Node, table: Sequence[int]) -> Node:
        clipped = self.node("Clip", x, np.int64(0), np.int64(len(table) - 1))
        return self.node("Gather", np.asarray(table, np.int64), clipped, axis=0)

    def rows_below(self, x: Node, count: Node) -> Node:
        rows = self.node("Gather", self.node("Shape", x), np.int64(1), axis=0)
        numbers = self.floats(self.node("Range", np.int64(0), rows, np.int64(1)))
        return self.floats(self.node("Less", numbers, self.node("Reshape", count, _ints(-1, 1))))

    def best(self, scores: Node, k: int, fewer: bool) -> tuple[Node, Node, Node]:
        classes = self.node("Gather", self.node("Shape", scores), np.int64(2), axis=0)
        flat = self.node("Reshape", scores, _ints(0, -1))
        count: Node | Constant = _ints(k)
        if fewer:
            there = self.node("Gather", self.node("Shape", flat), _ints(1), axis=0)
            count = self.node("Min", there, _ints(k))
        values, order = self.several("TopK", 2, flat, count, axis=1)
        return values, self.node("Div", order, classes), self.node("Mod", order, classes)

    def pick(self, x: Node, rows: Node) -> Node:
        # Not GatherElements: OpenVINO mistakes its shapes where x is a slice.
        return self.node("GatherND", x, self.column(rows), batch_dims=1)


class GraphWriter(_Operations):
    """Collects nodes and constants.

    Args:
        prefix: of all names, so that they meet none of the graph's own.
    """

    def __init__(self, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._prefix, self._count = prefix, 0

    def value(self, name: str) -> Node:
        """A value that is in the graph already."""
        return Node(self, name)

    def node(self, kind: str, *inputs: Node | Constant, **attributes: Any) -> Node:
        """Write a node with one output."""
        return self.several(kind, 1, *inputs, **attributes)[0]

    def several(
        self, kind: str, outputs: int, *inputs: Node | Constant, **attributes: Any
    ) -> list[Node]:
        """Write a node with several outputs."""
        names = [one.name if isinstance(one, Node) else self._constant(one) for one in inputs]
        made = [self._name(kind) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, name=made[0], **attributes))
        return [Node(self, name) for name in made]

    def rename(self, node: Node, name: str) -> None:
        """Give a value a name of its own."""
        made = self._name("Identity")
        self.nodes.append(helper.make_node("Identity", [node.name], [name], name=made))

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}{kind}_{self._count}"

    def _constant(self, value: Constant) -> str:
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        name = self._name("constant")
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)
