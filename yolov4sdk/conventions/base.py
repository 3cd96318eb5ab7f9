"""What a convention is: a declaration, and a function from raw tensors to candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..contract.contract import GraphContract, InputContract, OutputContract, OutputTensor, Size
from ..contract.outputs import Outputs as Outputs
from ..errors import TensorError

Tensors = Mapping[str, NDArray[Any]]
Decode: TypeAlias = Callable[[Tensors, GraphContract, Size], Outputs]
"""Raw tensors by role (`roles`), the contract, (height, width) of the input -> candidates.

It is pure: no state, no files. Rows of boxes stay in input pixels; rows that say nothing score 0.
"""


@dataclass(frozen=True)
class Convention:
    """One row of the registry: a family of outputs.

    Attributes:
        name: by which files, declarations and `--as` call it.
        title: whose outputs these are, for lists.
        source: where the facts were read or measured (a document, a version).
        output: what the graph gives; `classes`, `rows` and the like are filled in for a file.
        decode: from raw tensors to candidates.
        input: what such a graph usually takes; None where that says nothing.
    """

    name: str
    title: str
    source: str
    output: OutputContract
    decode: Decode
    input: InputContract | None = None


def roles(raw: Tensors, output: OutputContract) -> dict[str, NDArray[Any]]:
    """A graph's outputs by role, with the axes [B, N, C] or [B, N].

    Args:
        raw: the outputs by name, in the graph's order.
        output: says which is which; tensors of several levels are joined along the rows.

    Raises:
        TensorError: an output that is declared and not there, or has other axes.
    """
    found: dict[str, NDArray[Any]] = {}
    for tensor in output.tensors:
        array = _rows(_pick(raw, tensor), tensor, output)
        before = found.get(tensor.role)
        found[tensor.role] = array if before is None else np.concatenate((before, array), axis=1)
    return found


def _pick(raw: Tensors, tensor: OutputTensor) -> NDArray[Any]:
    if tensor.name is not None and tensor.name in raw:
        return raw[tensor.name]
    if tensor.position is not None and tensor.position < len(raw):
        return list(raw.values())[tensor.position]
    wanted = tensor.position if tensor.name is None else repr(tensor.name)
    raise TensorError(f"the graph has no output {wanted} ({tensor.role}); it has {', '.join(raw)}")


def _rows(array: NDArray[Any], tensor: OutputTensor, output: OutputContract) -> NDArray[Any]:
    axes = tensor.axes
    if axes in ("BNC", "BN"):
        if array.ndim != len(axes):
            raise _shape(array, tensor)
        return array
    if array.ndim != len(axes) or any(
        size != 1 for size, axis in zip(array.shape, axes, strict=True) if axis == "1"
    ):
        raise _shape(array, tensor)
    array = array.reshape([s for s, axis in zip(array.shape, axes, strict=True) if axis != "1"])
    axes = axes.replace("1", "")
    if "B" not in axes:
        array, axes = array[None], f"B{axes}"
    if "K" in axes:  # anchors times columns
        at, boxes = axes.index("K"), output.grid[tensor.level or 0][1]
        array = array.reshape(*array.shape[:at], boxes, -1, *array.shape[at + 1 :])
        axes = axes.replace("K", "AC")
    order = [axes.index(axis) for axis in "BAHWNC" if axis in axes]
    array = array.transpose(order)
    columns = array.shape[-1:] if "C" in axes else ()
    return array.reshape(len(array), -1, *columns)


def _shape(array: NDArray[Any], tensor: OutputTensor) -> TensorError:
    return TensorError(
        f"the output {tensor.role!r} has the shape {array.shape}, declared are the axes "
        f"{tensor.axes}"
    )
