"""`export_model`: one call from a model to a checked file."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yolov4sdk
from yolov4sdk.backends import BY_SUFFIX, TABLE
from yolov4sdk.backends.artefacts import default_model
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import SettingError
from yolov4sdk.tensorrt.build import require_space, told_of_full_disk
from yolov4sdk.tensorrt.build_log import Progress
from yolov4sdk.tensorrt.flavour import FLAVOURS
from yolov4sdk.tensorrt.options import EngineOptions

from .memory import peak_memory
from .options import ExportOptions, Int8Options
from .sources import Source, source_of

if TYPE_CHECKING:
    from yolov4sdk.models import Model

    from .check import Check
    from .engine_export import EngineReport
    from .int8 import Quantisation, Quantiser

ENGINES: Final = {"onnx": ".onnx", "openvino": ".xml", "trt": ".engine", "trt-rtx": ".engine"}
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
    model: Model | str | Path | None = None,
    engine: str = "onnx",
    output: str | Path | None = None,
    progress: Progress | None = None,
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
        options: fields of `ExportOptions`: size, batch, dynamic, precision, half_weights, uint8,
            topk, nms, conf, iou, max_det; for TensorRT also those of `EngineOptions`; with
            precision "int8" those of `Int8Options`: calibration, split, calibration_images,
            val_data, val_split, max_drop, qdq. The precision is float16 for TensorRT and float32
            otherwise, where none is asked.

    Raises:
        SettingError: options outside their range or that exclude each other, a wrong suffix.
        InputSizeError: a size that the strides do not allow.
        ArtefactError: the checkpoint cannot be read.
        MissingExtraError: torch, ONNX or the runtime that checks the file is not installed.
        DeviceError: TensorRT needs a GPU, and there is none.
        ExportError: the exporter or the builder failed; no room on the disk.
        VerificationError: the file does not say what its source says; nothing was kept.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        named = model
        if model is None:
            model = stack.enter_context(default_model())
        _target_suffix(engine, output)
        _require_runtime(engine)
        source = source_of(model)
        settings, engine_options, int8 = _options(options, engine, source)
        target = Path(output) if output is not None else _default_target(named, engine, source)
        spec = source.artefact_spec(settings, yolov4sdk.__version__)
        quantiser = _quantiser(engine, int8, spec)
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(model, str | Path):
            require_space(target.parent, Path(model).stat().st_size)
        # Beside the target, so that the last step is a rename: a reader never sees half a file.
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix=f".{target.stem}.", dir=target.parent)
        )
        stack.enter_context(told_of_full_disk(target.parent))  # before the folder is emptied
        path = Path(folder) / target.name
        report = quantisation = held_out = None
        if quantiser is not None:
            files, quantisation = _quantise(source, engine, path, settings, spec, quantiser)
            held_out = quantiser.calibration.held_out
        if engine in FLAVOURS:
            from .engine_export import Quantised, write_checked_engine

            quantised = None if held_out is None else Quantised(files[-1], held_out)
            files, checks, report = write_checked_engine(
                source, FLAVOURS[engine], path, settings, engine_options, spec, progress, quantised
            )
            written, memory = time.perf_counter(), peak_memory()
        else:
            from .check import check_file

            if quantiser is None:
                files = _write(source, engine, path, settings, spec)
            written, memory = time.perf_counter(), peak_memory()
            checks = check_file(files[-1], source.reference(), settings, spec, photographs=held_out)
        placed = tuple(file.replace(target.parent / file.name) for file in files)
    return ExportResult(
        path=target,
        files=placed,
        spec=spec,
        checks=tuple(checks),
        seconds=(written - started, time.perf_counter() - written),
        peak_memory=(memory, peak_memory()),
        engine=report,
        quantisation=quantisation,
    )


def _options(
    options: dict[str, Any], engine: str, source: Source
) -> tuple[ExportOptions, EngineOptions, Int8Options | None]:
    """Sort the options to where they belong, and choose the precision."""
    graph, build, quantising = (
        kind.__dataclass_fields__ for kind in (ExportOptions, EngineOptions, Int8Options)
    )
    unknown = sorted(set(options) - set(graph) - set(build) - set(quantising))
    if unknown:
        known = ", ".join([*graph, *quantising, *(build if engine in FLAVOURS else ())])
        raise SettingError(f"unknown options {', '.join(unknown)}; there are {known}")
    given = {name: value for name, value in options.items() if name in build}
    built = EngineOptions(**given)
    if engine not in FLAVOURS and built != EngineOptions():
        raise SettingError(
            f"{', '.join(sorted(given))}: for the engines {', '.join(FLAVOURS)} alone"
        )
    rest = {name: value for name, value in options.items() if name in graph}
    if rest.get("precision") is None:
        usual = "fp16" if engine in FLAVOURS else "fp32"
        rest["precision"] = source.spec.precision if source.spec.precision != "fp32" else usual
    elif engine not in FLAVOURS and rest["precision"] == "bf16":
        raise SettingError(f"precision must be one of fp32, fp16, int8 for {engine}, got 'bf16'")
    if built.batch_profile is not None and source.spec.batch is None:
        rest["batch"] = None
    if built.size_profile is not None:
        rest["dynamic"] = True
    settings = ExportOptions(**rest)
    if settings.half_weights and engine != "onnx":
        raise SettingError(
            f"half_weights is for ONNX files; {engine} keeps what its precision asks for"
        )
    int8 = {name: value for name, value in options.items() if name in quantising}
    return settings, built, _int8_options(int8, engine, settings, source)


def _int8_options(
    given: dict[str, Any], engine: str, settings: ExportOptions, source: Source
) -> Int8Options | None:
    """How to quantise; None where that is not asked for, or the source is quantised already."""
    if settings.precision != "int8" or source.spec.precision == "int8":
        if given:
            raise SettingError(
                f"{', '.join(sorted(given))} belong to precision int8 of a float model, not to "
                f"{settings.precision} of a {source.spec.precision} one"
            )
        return None
    if given.get("calibration") is None:
        raise SettingError(
            "precision int8 needs images to calibrate with: a folder or a data set of pictures of "
            "the kind that the model will see (--calibration)"
        )
    if engine in FLAVOURS:
        given = {"qdq": "tensorrt", **given}
    return Int8Options(**given)


def _quantiser(engine: str, int8: Int8Options | None, spec: ModelSpec) -> Quantiser | None:
    if int8 is None:
        return None
    from .int8 import Quantiser

    return Quantiser("onnx" if engine in FLAVOURS else engine, int8, spec)


def _quantise(
    source: Source,
    engine: str,
    path: Path,
    options: ExportOptions,
    spec: ModelSpec,
    quantiser: Quantiser,
) -> tuple[tuple[Path, ...], Quantisation]:
    """Write the float files and quantise them; an engine starts from a quantised ONNX file."""
    engine = "onnx" if engine in FLAVOURS else engine
    single = dataclasses.replace(options, precision="fp32")
    target = path.with_suffix(ENGINES[engine])
    files = _write(source, engine, target, single, spec.replace(precision="fp32"), mish_first=True)
    return quantiser.write(files[-1], path.parent / "int8")


def _target_suffix(engine: str, output: str | Path | None) -> None:
    if engine not in ENGINES:
        raise SettingError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    suffix = ENGINES[engine]
    if output is not None and Path(output).suffix.lower() != suffix:
        raise SettingError(f"the {engine} engine writes {suffix} files, got {Path(output).name!r}")


def _default_target(model: Any, engine: str, source: Source) -> Path:
    suffix = ENGINES[engine]
    if isinstance(model, str | Path):
        target = Path(model).with_suffix(suffix)
        if target == Path(model):
            raise SettingError(f"{target} would overwrite the model itself; name a file with -o")
        return target
    architecture = source.spec.architecture
    return Path(architecture if isinstance(architecture, str) else "model").with_suffix(suffix)


def _require_runtime(engine: str) -> None:
    """Raise MissingExtraError now, not after minutes."""
    if engine in FLAVOURS:
        FLAVOURS[engine].load()
    backend = "onnxruntime" if engine in FLAVOURS else BY_SUFFIX[ENGINES[engine]][0]
    import_module(f"yolov4sdk.backends.{TABLE[backend].split(':')[0]}")


def _write(
    source: Source,
    engine: str,
    path: Path,
    options: ExportOptions,
    spec: ModelSpec,
    mish_first: bool = False,
) -> tuple[Path, ...]:
    """Write the files of an engine that is not TensorRT's; the main one is last."""
    if engine == "onnx":
        source.write_onnx(path, options, spec, mish_first=mish_first)
        if options.half_weights:
            from .half_weights import store_half

            store_half(path)
        return (path,)
    from .openvino_export import write_openvino

    graph = path.with_name("graph.onnx")
    single = source.spec.precision  # OpenVINO stores half weights by itself
    source.write_onnx(
        graph,
        dataclasses.replace(options, precision=single),  # type: ignore[arg-type]
        spec.replace(precision=single),
        mish="operator",
        mish_first=True,
    )
    return write_openvino(graph, path, spec)
