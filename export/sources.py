"""What an export starts from: a network, or an ONNX file that already is a graph."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import SettingError

from .options import ExportOptions

if TYPE_CHECKING:
    from yolov4sdk.models import Model

    from .mish import MishForm
    from .reference import Reference


class Source(Protocol):
    """Something that can be written as an ONNX graph.

    Attributes:
        name: of its file, or of its architecture.
        spec: its own.
    """

    name: str
    spec: ModelSpec

    def artefact_spec(self, options: ExportOptions, sdk_version: str) -> ModelSpec:
        """The spec of the graph that `options` ask for.

        Raises:
            SettingError, InputSizeError: what cannot be had from this source.
        """
        ...

    def write_onnx(
        self,
        path: Path,
        options: ExportOptions,
        spec: ModelSpec,
        mish: MishForm = "sigmoid",
        mish_first: bool = False,
    ) -> None:
        """Write the graph, in float32 or float16; a finished graph keeps its form of Mish."""
        ...

    def reference(self) -> Reference:
        """What written files are compared with."""
        ...


class NetworkSource:
    """A network in torch; see `Source`.

    Attributes:
        model: in evaluation mode, float32, on the CPU.
    """

    def __init__(self, model: Model | Path) -> None:
        self.model = _network(model)
        self.spec = self.model.spec
        architecture = self.spec.architecture
        self.name = (
            model.name
            if isinstance(model, Path)
            else architecture
            if isinstance(architecture, str)
            else "model"
        )

    def artefact_spec(self, options: ExportOptions, sdk_version: str) -> ModelSpec:
        """See `Source.artefact_spec`."""
        return options.artefact_spec(self.spec, sdk_version)

    def write_onnx(
        self,
        path: Path,
        options: ExportOptions,
        spec: ModelSpec,
        mish: MishForm = "sigmoid",
        mish_first: bool = False,
    ) -> None:
        """See `Source.write_onnx`."""
        from .onnx_export import write_onnx

        write_onnx(self.model, path, options, spec, mish, mish_first=mish_first)

    def reference(self) -> Reference:
        """The network, unfolded."""
        from .reference import TorchReference

        return TorchReference(self.model)


class GraphSource:
    """An ONNX file of this SDK; only its precision can be changed. See `Source`."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.spec = read_onnx_spec(path)

    def artefact_spec(self, options: ExportOptions, sdk_version: str) -> ModelSpec:
        """See `Source.artefact_spec`."""
        spec, fields = self.spec, ExportOptions.__dataclass_fields__
        has: dict[str, Any] = {
            "size": spec.input_size,
            "batch": spec.batch,
            "dynamic": spec.dynamic_size,
            "uint8": spec.input_form == "uint8_nhwc",
            "float_input": spec.input_form == "float_nchw",
            "topk": None if spec.outputs == "nms" else spec.topk,
            "raw_outputs": spec.outputs == "full",
            "nms": spec.outputs == "nms",
        }
        for name, value in has.items():
            asked = getattr(options, name)
            if asked not in (fields[name].default, value):
                raise SettingError(
                    f"{self.path.name} is a finished graph with {name} {value}, {asked} was asked "
                    "for; export the .safetensors file instead"
                )
        return spec.replace(precision=options.precision)

    def write_onnx(
        self,
        path: Path,
        options: ExportOptions,
        spec: ModelSpec,
        mish: MishForm = "sigmoid",
        mish_first: bool = False,
    ) -> None:
        """See `Source.write_onnx`."""
        from .half_onnx import convert_onnx
        from .half_weights import restore_single

        restore_single(self.path, path)
        if spec.precision != self.spec.precision:
            convert_onnx(path, path, spec.precision)

    def reference(self) -> Reference:
        """The file itself."""
        from .reference import GraphReference

        return GraphReference(self.path)


def source_of(model: Model | str | Path) -> Source:
    """The source of a path or of a network in memory.

    Raises:
        ArtefactError: the file cannot be read.
        MissingExtraError: a checkpoint, and torch is not installed.
    """
    if isinstance(model, str | Path):
        path = Path(model)
        return GraphSource(path) if path.suffix.lower() == ".onnx" else NetworkSource(path)
    return NetworkSource(model)


def _network(model: Model | Path) -> Model:
    """The network in evaluation mode, float32, on the CPU; a copy where it has to change."""
    import torch

    from yolov4sdk.models.checkpoints import load_checkpoint

    if isinstance(model, Path):
        return load_checkpoint(model)
    parameter = next(model.parameters())
    if model.training or parameter.dtype != torch.float32 or parameter.device.type != "cpu":
        model = copy.deepcopy(model).cpu().float().eval()
    return model
