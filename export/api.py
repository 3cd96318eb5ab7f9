"""`export_model`: one call from a model to a checked file."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yolov4sdk.backends.artefacts import default_model
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import SettingError
from yolov4sdk.system.memory import peak_memory
from yolov4sdk.tensorrt.build import require_space, told_of_full_disk
from yolov4sdk.tensorrt.build_log import Progress

from .formats import FORMATS
from .plan import EngineReport, Format, Step, Work, plan
from .record import with_figures
from .request import request_of
from .sources import Source, source_of

if TYPE_CHECKING:
    from yolov4sdk.models import Model

    from .check import Check
    from .int8 import Quantisation

ENGINES: Final = {name: format.suffix for name, format in FORMATS.items()}
"""What can be written, and the suffix of its main file."""


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote, and how it was checked.

    Attributes:
        path: the main file.
        files: all files, `path` last.
        spec: what the file carries.
        checks: the comparisons with the source; all are within their tolerance.
        seconds: of the other steps, then of the checks.
        peak_memory: largest resident memory of this process in bytes, until the file was written
            and until it was checked; None where the system does not tell.
        engine: what was built, None for other files than TensorRT's.
        quantisation: of INT8: how the ranges were found, and the mAP before and after.
    """

    path: Path
    files: tuple[Path, ...]
    spec: ModelSpec
    checks: tuple[Check, ...]
    seconds: tuple[float, float]
    peak_memory: tuple[int | None, int | None]
    engine: EngineReport | None = None
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
            "engine": None if self.engine is None else dataclasses.asdict(self.engine),
            "checks": [check.to_dict() for check in self.checks],
            "seconds": {"export": self.seconds[0], "check": self.seconds[1]},
            "peak_memory": {"export": self.peak_memory[0], "check": self.peak_memory[1]},
            "quantisation": self.quantisation.to_dict() if self.quantisation else None,
        }


def export_model(
    model: Model | str | Path | None = None,
    engine: str = "onnx",
    output: str | Path | None = None,
    progress: Progress | None = None,
    may_write: Callable[[Path], None] | None = None,
    **options: Any,
) -> ExportResult:
    """Write a model for another runtime and check the file against its source.

    Args:
        model: a native checkpoint (.safetensors), an ONNX file of this SDK, or a network in memory,
            not folded; it is not changed. None is the embedded default.
        engine: "onnx", "openvino" (an .xml with its .bin), "trt" or "trt-rtx" (an .engine with its
            .engine.json).
        output: the file to write; default: the checkpoint's name with the engine's suffix, for the
            default model and a network in memory the architecture's name in the working directory.
        progress: is told how far the build of an engine is: (phase, steps done, steps in all).
        may_write: is asked about the file before the export starts, and raises where it must not
            be replaced; default: it is replaced once the new one is checked.
        options: fields of `ExportOptions`: size, batch, dynamic, precision, half_weights, uint8,
            float_input, topk, raw_outputs, nms, conf, iou, max_det; for TensorRT also those of
            `EngineOptions`; with precision "int8" those of `Int8Options`: calibration, split,
            calibration_images, val_data, val_split, max_drop, qdq. The precision is float16 for
            TensorRT and float32 otherwise, where none is asked.

    Raises:
        SettingError: options outside their range or that exclude each other, a wrong suffix.
        InputSizeError: a size that the strides do not allow.
        ArtefactError: the checkpoint cannot be read.
        MissingExtraError: torch, ONNX or the runtime that checks the file is not installed.
        DeviceError: TensorRT needs a GPU, and there is none.
        ExportError: the exporter or the builder failed; no room on the disk.
        VerificationError: the file does not say what its source says; nothing was kept.
    """
    with ExitStack() as stack:
        named = model
        if model is None:
            model = stack.enter_context(default_model())
        format = _format(engine, output)
        format.require()
        source = source_of(model)
        request = request_of(source, format, options, progress)
        target = Path(output) if output is not None else _default_target(named, format, source)
        if may_write is not None:
            may_write(target)
        steps = plan(format, request)
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(model, str | Path):
            require_space(target.parent, Path(model).stat().st_size)
        # Beside the target, so that the last step is a rename.
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix=f".{target.stem}.", dir=target.parent)
        )
        stack.enter_context(told_of_full_disk(target.parent))  # before the folder is emptied
        work = Work(target, Path(folder))
        seconds, memory = _run(steps, work)
    return ExportResult(
        path=target,
        files=work.files,
        spec=with_figures(request.spec, work.checks),
        checks=tuple(work.checks),
        seconds=seconds,
        peak_memory=(memory, peak_memory()),
        engine=work.engine,
        quantisation=work.quantisation,
    )


def _run(steps: Sequence[Step], work: Work) -> tuple[tuple[float, float], int | None]:
    """Do all steps.

    Returns:
        The seconds of the checks and of the others, and the peak memory before the last check.
    """
    seconds, memory = {True: 0.0, False: 0.0}, None
    for step in steps:
        is_check, started = step.name == "check", time.perf_counter()
        memory = peak_memory() if is_check else memory
        step.run(work)
        seconds[is_check] += time.perf_counter() - started
    return (seconds[False], seconds[True]), memory


def _format(name: str, output: str | Path | None) -> Format:
    """The format of this name, whose suffix the output has."""
    if name not in FORMATS:
        raise SettingError(f"engine must be one of {', '.join(FORMATS)}, got {name!r}")
    format = FORMATS[name]
    if output is not None and Path(output).suffix.lower() != format.suffix:
        raise SettingError(
            f"the format {name} writes {format.suffix} files, got {Path(output).name!r}"
        )
    return format


def _default_target(model: Any, format: Format, source: Source) -> Path:
    if isinstance(model, str | Path):
        target = Path(model).with_suffix(format.suffix)
        if target == Path(model):
            raise SettingError(f"{target} would overwrite the model itself; name a file with -o")
        return target
    architecture = source.spec.architecture
    return Path(architecture if isinstance(architecture, str) else "model").with_suffix(
        format.suffix
    )
