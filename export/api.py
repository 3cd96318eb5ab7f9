"""`export_model`: one call from a model to a checked file."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yolov4sdk
from yolov4sdk.backends import BY_SUFFIX, TABLE
from yolov4sdk.errors import SettingError
from yolov4sdk.spec import ModelSpec

from .memory import peak_memory
from .options import ExportOptions, Int8Options

if TYPE_CHECKING:
    from yolov4sdk.models import Model

    from .check import Check
    from .int8 import Quantisation

ENGINES: Final = {"onnx": ".onnx", "openvino": ".xml"}
"""What can be written, and the suffix of its main file."""


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote, and how it was checked.

    Attributes:
        path: the main file.
        files: all files, `path` last.
        spec: what the file carries.
        checks: the comparisons with torch; all are within their tolerance.
        seconds: of the export, then of the checks.
        peak_memory: largest resident memory of this process in bytes, until the file was written
            and until it was checked; None where the system does not tell.
        quantisation: of INT8: how the ranges were found, and the mAP before and after.
    """

    path: Path
    files: tuple[Path, ...]
    spec: ModelSpec
    checks: tuple[Check, ...]
    seconds: tuple[float, float]
    peak_memory: tuple[int | None, int | None]
    quantisation: Quantisation | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: paths as strings, the spec without its architecture."""
        return {
            "path": str(self.path),
            "files": [{"path": str(f), "bytes": f.stat().st_size} for f in self.files],
            "input_size": list(self.spec.input_size),
            "dynamic_size": self.spec.dynamic_size,
            "batch": self.spec.batch,
            "input_form": self.spec.input_form,
            "outputs": self.spec.outputs,
            "topk": self.spec.topk,
            "precision": self.spec.precision,
            "checks": [
                {
                    "shown": c.shown,
                    "size": list(c.size),
                    "batch": c.batch,
                    **c.agreement.to_dict(),
                }
                for c in self.checks
            ],
            "seconds": {"export": self.seconds[0], "check": self.seconds[1]},
            "peak_memory": {"export": self.peak_memory[0], "check": self.peak_memory[1]},
            "quantisation": self.quantisation.to_dict() if self.quantisation else None,
        }


def export_model(
    model: Model | str | Path,
    engine: str = "onnx",
    output: str | Path | None = None,
    **options: Any,
) -> ExportResult:
    """Write a model for another runtime and check the file against torch.

    Args:
        model: a native checkpoint (.safetensors), or a network in memory, not folded; it is not
            changed.
        engine: "onnx", or "openvino" (an .xml with its .bin).
        output: the file to write; default: the checkpoint's name with the engine's suffix, for a
            network in memory the architecture's name in the working directory.
        options: fields of `ExportOptions`: size, batch, dynamic, precision, uint8, topk, nms, conf,
            iou, max_det; with precision "int8" those of `Int8Options` too: calibration, split,
            val_data, val_split, max_drop, qdq.

    Raises:
        SettingError: options outside their range or that exclude each other, a wrong suffix.
        InputSizeError: a size that the strides do not allow.
        ArtefactError: the checkpoint cannot be read.
        MissingExtraError: torch, ONNX or the runtime that checks the file is not installed.
        ExportError: the exporter failed.
        VerificationError: the file does not say what torch says; nothing was kept.
    """
    started = time.perf_counter()
    settings, int8 = _options(options)
    target = _target(model, engine, output)
    _require_runtime(engine)
    network = _network(model)
    spec = settings.artefact_spec(network.spec, yolov4sdk.__version__)
    quantiser = None
    if int8 is not None:
        from .int8 import Quantiser

        quantiser = Quantiser(engine, int8, spec)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the last step is a rename: a reader never sees half a file.
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}.", dir=target.parent) as folder:
        from .check import check_file

        path, quantisation, held_out = Path(folder) / target.name, None, None
        if quantiser is None:
            files = _write(network, engine, path, settings, spec)
        else:
            single = dataclasses.replace(settings, precision="fp32")
            files = _write(network, engine, path, single, spec.replace(precision="fp32"))
            files, quantisation = quantiser.write(files[-1], Path(folder) / "int8")
            held_out = quantiser.calibration.held_out
        written, memory = time.perf_counter(), peak_memory()
        checks = check_file(files[-1], network, settings, spec, held_out)
        placed = tuple(file.replace(target.parent / file.name) for file in files)
    return ExportResult(
        path=target,
        files=placed,
        spec=spec,
        checks=tuple(checks),
        seconds=(written - started, time.perf_counter() - written),
        peak_memory=(memory, peak_memory()),
        quantisation=quantisation,
    )


def _options(options: dict[str, Any]) -> tuple[ExportOptions, Int8Options | None]:
    form, quantising = (list(kind.__dataclass_fields__) for kind in (ExportOptions, Int8Options))
    unknown = sorted(set(options) - {*form, *quantising})
    if unknown:
        known = ", ".join((*form, *quantising))
        raise SettingError(f"unknown options {', '.join(unknown)}; there are {known}")
    settings = ExportOptions(**{k: v for k, v in options.items() if k in form})
    int8 = {k: v for k, v in options.items() if k in quantising}
    if settings.precision != "int8":
        if int8:
            raise SettingError(
                f"{', '.join(sorted(int8))} belong to precision int8, not {settings.precision}"
            )
        return settings, None
    if int8.get("calibration") is None:
        raise SettingError(
            "precision int8 needs images to calibrate with: a folder or a data set of pictures of "
            "the kind that the model will see (--calibration)"
        )
    return settings, Int8Options(**int8)


def _target(model: Model | str | Path, engine: str, output: str | Path | None) -> Path:
    if engine not in ENGINES:
        raise SettingError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    suffix = ENGINES[engine]
    if output is not None:
        target = Path(output)
        if target.suffix.lower() != suffix:
            raise SettingError(f"the {engine} engine writes {suffix} files, got {target.name!r}")
        return target
    if isinstance(model, str | Path):
        return Path(model).with_suffix(suffix)
    architecture = model.spec.architecture
    return Path(architecture if isinstance(architecture, str) else "model").with_suffix(suffix)


def _require_runtime(engine: str) -> None:
    """Raise MissingExtraError now, not after minutes, when the file could not be checked."""
    backend = BY_SUFFIX[ENGINES[engine]][0]
    import_module(f"yolov4sdk.backends.{TABLE[backend].split(':')[0]}")


def _network(model: Model | str | Path) -> Model:
    """The network in evaluation mode, float32, on the CPU; a copy where it has to change."""
    import torch

    from yolov4sdk.models.checkpoints import load_checkpoint

    if isinstance(model, str | Path):
        return load_checkpoint(model)
    parameter = next(model.parameters())
    if model.training or parameter.dtype != torch.float32 or parameter.device.type != "cpu":
        model = copy.deepcopy(model).cpu().float().eval()
    return model


def _write(
    model: Model, engine: str, path: Path, options: ExportOptions, spec: ModelSpec
) -> tuple[Path, ...]:
    """Write the engine's files; the main one is last."""
    from .onnx_export import write_onnx

    if engine == "onnx":
        write_onnx(model, path, options, spec)
        return (path,)
    from .openvino_export import write_openvino

    graph = path.with_name("graph.onnx")
    write_onnx(model, graph, dataclasses.replace(options, precision="fp32"), spec, mish="operator")
    return write_openvino(graph, path, spec)
