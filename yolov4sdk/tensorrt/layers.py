"""What an engine is made of: its layers and the precisions that they really run in."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import ExportError

NO_KERNEL: Final = {"signal", "wait", "NoOp", "Constant", "Shape Host To Device"}
"""Layer types that start nothing on the device."""
DATATYPE: Final = re.compile(r"(?:Format/)?Datatype: ([^,}\]]+)")
DATATYPES: Final = (  # in this order: "BFloat16" holds "Float"
    ("bf16", ("bfloat16", "bf16")),
    ("fp16", ("half", "fp16")),
    ("fp8", ("fp8",)),
    ("int8", ("int8",)),
    ("fp32", ("float", "fp32")),
)


@dataclass(frozen=True)
class EngineLayer:
    """One layer of a built engine.

    Attributes:
        name, kind: as TensorRT says them.
        inputs, outputs: precisions ("fp16") of its tensors.
        nodes: names of the ONNX nodes inside it, where TensorRT tells them.
    """

    name: str
    kind: str
    inputs: frozenset[str]
    outputs: frozenset[str]
    nodes: frozenset[str]

    @property
    def precision(self) -> str:
        """ "fp16", or "fp16 -> fp32" where it converts."""
        sides = ["+".join(sorted(side)) for side in (self.inputs, self.outputs) if side]
        return " -> ".join(dict.fromkeys(sides)) or "none"

    def holds(self, node: str) -> bool:
        """Whether an ONNX node is computed here."""
        if self.nodes:
            return node in self.nodes
        return re.search(rf"(?<![\w./]){re.escape(node)}(?![\w./])", self.name) is not None


def layers_of_json(text: str) -> list[EngineLayer]:
    """Read `EngineInspector.get_engine_information` in JSON, of TensorRT 10 and 11."""
    layers = []
    for entry in json.loads(text)["Layers"]:
        if isinstance(entry, str):  # built with names only
            layers.append(EngineLayer(entry, "", frozenset(), frozenset(), frozenset()))
            continue
        layers.append(
            EngineLayer(
                entry["Name"],
                entry.get("LayerType", ""),
                _precisions(map(_datatype, entry.get("Inputs", []))),
                _precisions(map(_datatype, entry.get("Outputs", []))),
                _nodes(entry.get("Metadata", "")),
            )
        )
    return layers


def layers_of_log(text: str) -> list[EngineLayer]:
    """Read the table that a build writes into its log: the inspector needs a GPU, this does not."""
    layers = []
    for line in text.splitlines():
        found = re.match(r"\s*Name: (.*?), LayerType: (.*?), Inputs: (.*)", line)
        if found is None:
            continue
        name, kind, rest = found.groups()
        inputs, _, outputs = rest.partition(", Outputs: ")
        inputs = inputs.partition(", Constants: ")[0]
        outputs, _, tail = outputs.partition(", TacticName: ")
        layers.append(
            EngineLayer(
                name,
                kind,
                _precisions(DATATYPE.findall(inputs)),
                _precisions(DATATYPE.findall(outputs)),
                _nodes(tail),
            )
        )
    return layers


def kernels(layers: Sequence[EngineLayer]) -> int:
    """How many layers start something on the device."""
    return sum(layer.kind not in NO_KERNEL for layer in layers)


def precision_table(layers: Sequence[EngineLayer]) -> dict[str, int]:
    """Layers by precision, the most first; layers that start no kernel are left out."""
    counts = Counter(layer.precision for layer in layers if layer.kind not in NO_KERNEL)
    return dict(counts.most_common())


def check_precision(
    layers: Sequence[EngineLayer],
    convolutions: Sequence[str],
    asked: str,
    name: str,
    quantised: Collection[str] = (),
) -> dict[str, int]:
    """Hold an engine against the precision that was asked for.

    Args:
        layers: of the engine.
        convolutions: names of the network's convolutions; nearly all work is theirs.
        asked: "fp32", "fp16", "bf16" of all convolutions; "int8" of those in `quantised`.
        name: of the engine, for the message.
        quantised: convolutions whose input the graph quantises.

    Returns:
        How many convolutions run in which precision.

    Raises:
        ExportError: a convolution runs in another precision, or none was found.
    """
    ran: dict[str, str] = {}
    for layer in layers:
        if layer.kind == "Reformat":
            continue
        for node in convolutions:
            if layer.holds(node):
                # The sum with its bias may be a second layer, of another precision.
                both = layer.inputs | layer.outputs
                if ran.get(node) != asked:
                    ran[node] = asked if asked in both else layer.precision
    counts = dict(Counter(ran.values()).most_common())
    held = [node for node in ran if asked != "int8" or node in quantised]
    if not held or any(ran[node] != asked for node in held):
        found = ", ".join(f"{count} in {kind}" for kind, count in counts.items()) or "none found"
        raise ExportError(
            f"{name} is not what was asked for: of {len(convolutions)} convolutions {found}, "
            f"{asked} was asked for. The engine was not kept"
        )
    return counts


def _datatype(tensor: dict[str, Any]) -> str:
    return str(tensor.get("Datatype") or tensor.get("Format/Datatype") or "")


def _precisions(texts: Any) -> frozenset[str]:
    """Floating-point and 8-bit types; others (indices, shapes) have no precision."""
    found = set()
    for text in texts:
        low = str(text).lower()
        for precision, words in DATATYPES:
            if any(word in low for word in words):
                found.add(precision)
                break
    return frozenset(found)


def _nodes(metadata: str) -> frozenset[str]:
    return frozenset(re.findall(r"\[ONNX Layer: ([^\]]+)\]", metadata))
