"""What goes on in PyTorch: TorchScript, and a state_dict under the authors' names."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.errors import ExportError, SettingError

from ..options import ExportOptions
from ..plan import Format, Request, Step, Work
from ..sources import NetworkSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yolov4sdk.backends import Outputs
    from yolov4sdk.models import Model


class TorchScriptFormat(Format):
    """A folded network that torch loads without this SDK; images to boxes and scores."""

    name, suffix = "torchscript", ".torchscript"

    def check_options(self, options: ExportOptions) -> None:
        """As ONNX, but for the suppression, which torch has no operator for."""
        super().check_options(options)
        forms = ("uint8", "float_input", "topk", "raw_outputs")
        refuse_changes(options, self.name, allowed=("size", "batch", "dynamic", *forms))

    def steps(self, request: Request) -> list[Step]:
        """See `Format.steps`."""
        model = network_of(request, self.name)

        def write(work: Work) -> None:
            _write_script(model, work.path, request.options, request.spec)
            work.files = (work.path,)

        def check(work: Work) -> None:
            from ..check import check_runner

            runner = _Script(work.files[-1], request.spec)
            work.checks += check_runner(
                work.path.name, runner, request.source.reference(), request.options, request.spec
            )

        return [Step("write", write), Step("check", check)]


class StateDictFormat(Format):
    """Tensors under the names of the authors' PyTorch code, in a .pt."""

    name, suffix, is_graph = "state-dict", ".pt", False

    def check_options(self, options: ExportOptions) -> None:
        """A state_dict has no form of a graph."""
        super().check_options(options)
        refuse_changes(options, self.name, allowed=())

    def steps(self, request: Request) -> list[Step]:
        """See `Format.steps`."""
        model = network_of(request, self.name)
        _require_authors_blocks(model)

        def write(work: Work) -> None:
            import torch

            torch.save({key: value.clone() for key, value in model.state_dict().items()}, work.path)
            work.files = (work.path,)

        def check(work: Work) -> None:
            import torch

            from yolov4sdk.models.build import build_model

            from ..check import check_runner
            from ..reference import TorchReference

            spec = model.spec
            tensors = torch.load(work.files[-1], weights_only=True)
            again = build_model(spec.architecture, spec.names, spec.anchors).eval()
            again.load_state_dict(tensors)
            work.checks += check_runner(
                work.path.name, TorchReference(again), request.source.reference(),
                request.options, request.spec,
            )  # fmt: skip

        return [Step("write", write), Step("check", check)]


def network_of(request: Request, name: str) -> Model:
    """The network of the request, a copy whose spec may be changed.

    Raises:
        SettingError: the source is a finished graph.
    """
    source = request.source
    if not isinstance(source, NetworkSource):
        raise SettingError(
            f"{source.name} is a finished graph; {name} is written from a .safetensors file"
        )
    return copy.copy(source.model)


def refuse_changes(options: ExportOptions, name: str, allowed: Sequence[str]) -> None:
    """Raise SettingError for options that the format has no use for."""
    refused = [
        entry.name for entry in fields(ExportOptions)
        if entry.name not in allowed and getattr(options, entry.name) != entry.default
    ]  # fmt: skip
    if refused:
        raise SettingError(f"{', '.join(refused)}: not for {name}; leave it out")


def _require_authors_blocks(model: Model) -> None:
    """Raise ExportError for a network that the authors' code cannot build."""
    from yolov4sdk.models.blocks import DarknetCSP2, DarknetSPPCSP
    from yolov4sdk.models.darknet import DarknetModel

    own = [m for m in model.modules() if isinstance(m, DarknetCSP2 | DarknetSPPCSP)]
    if own or isinstance(model, DarknetModel):
        raise ExportError(
            "a model imported from a Darknet cfg has blocks that the authors' PyTorch code does "
            "not; export it with --engine darknet"
        )


def _write_script(model: Model, path: Path, options: ExportOptions, spec: ModelSpec) -> None:
    import torch
    from torch import Tensor, nn

    from yolov4sdk.models import fold

    from ..graph import Head, Layers

    class Whole(nn.Module):
        def __init__(self, folded: Model) -> None:
            super().__init__()
            self.layers = Layers(folded, not options.float_input)
            self.head = Head(folded.detect, options, spec)

        def forward(self, images: Tensor) -> Any:
            return self.head(self.layers(images))

    batch, (height, width) = options.batch or 2, spec.input_size
    images = torch.zeros((batch, 3, height, width))
    if not options.float_input:
        images = torch.zeros((batch, height, width, 3), dtype=torch.uint8)
    with _quiet(), torch.no_grad():
        whole = Whole(fold(model)).eval()
        jit: Any = torch.jit  # untyped
        traced = jit.trace(whole, images, check_trace=False)
        jit.save(traced, str(path), _extra_files={METADATA_KEY: spec.to_json()})


class _Script:
    """A written file as a `Runner`."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        import torch

        self.spec = spec
        with _quiet():
            jit: Any = torch.jit  # untyped
            self._module = jit.load(str(path))

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """As `Backend.infer`."""
        import numpy as np
        import torch

        from yolov4sdk.backends import Outputs

        with _quiet(), torch.inference_mode():
            found = self._module(torch.from_numpy(np.ascontiguousarray(batch)))
        return Outputs(*(value.numpy() for value in found))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks on TorchScript's age and on sizes that a trace takes as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


FORMATS = (TorchScriptFormat(), StateDictFormat())
