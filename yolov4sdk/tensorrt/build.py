"""ONNX to a TensorRT engine, by either flavour."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract.spec import ModelSpec
from ..errors import ExportError, ForeignFileError, SettingError, YOLOv4Error
from ..system.cuda_driver import gpus, require_gpu
from ..system.files import atomic_write
from .build_log import Progress, Record, clean, logger_of, monitor_of
from .flavour import Flavour
from .layers import EngineLayer, check_precision, layers_of_json, layers_of_log
from .options import EngineOptions, Profile

AMPERE_PLUS = "8.0+"
FULL_BYTES = 1 << 16
"""A disk with less room than this is full."""
_building = threading.Lock()


@dataclass(frozen=True)
class Built:
    """A finished engine, in memory.

    Attributes:
        engine: its bytes.
        version: of the library that built it.
        capabilities: compute capabilities it was built for.
        profile: batches and sizes it takes.
        layers: what it is made of.
        convolutions: how many run in which precision.
        seconds: of parsing and building.
    """

    engine: bytes
    version: str
    capabilities: tuple[str, ...]
    profile: Profile
    layers: tuple[EngineLayer, ...]
    convolutions: dict[str, int]
    seconds: float


def build_engine(
    onnx_file: Path,
    spec: ModelSpec,
    flavour: Flavour,
    options: EngineOptions | None = None,
    progress: Progress | None = None,
) -> Built:
    """Build an engine from an ONNX file of this SDK.

    Args:
        onnx_file: its tensors state their precision; the engine computes in these (int8 is written
            as quantise and dequantise nodes).
        spec: the one in the file.
        flavour: of `FLAVOURS`.
        options: how.
        progress: is told how far the build is.

    Raises:
        MissingExtraError: the flavour's package is not installed.
        DeviceError: it needs a GPU, and there is none.
        SettingError, InputSizeError: options that contradict the graph or the flavour.
        ForeignFileError: no ONNX file.
        ExportError: an operator that is not supported (named with its node), not enough memory or
            disk space, or an engine that is not of the precision of the graph.
    """
    options = options or EngineOptions()
    trt = flavour.load()
    profile = Profile.of(spec, options.batch_profile, options.size_profile)
    flavour.check_target(trt, options.compute_capability)
    capabilities = _targets(flavour, options)
    record = Record(options.build_log)
    with _building:  # the library has one logger for the whole process
        logger = logger_of(trt)
        logger.record = record
        started = time.perf_counter()
        try:
            job = _Job(trt, logger, flavour, record, onnx_file)
            network = job.parse()
            config = job.configure(spec, options, profile)
            convolutions = job.convolutions(network)
            quantised = job.quantised_convolutions(network)
            engine = job.build(config, progress)
            job.keep_timing_cache(config, options.timing_cache)
            seconds = time.perf_counter() - started
            layers = job.inspect(engine)
        finally:
            logger.record = None
            record.save()
    return Built(
        engine=engine,
        version=str(trt.__version__),
        capabilities=capabilities,
        profile=profile,
        layers=tuple(layers),
        convolutions=check_precision(
            layers, convolutions, spec.precision, onnx_file.stem, quantised
        ),
        seconds=seconds,
    )


class _Job:
    """One build: the objects of TensorRT, which must outlive one another in this order."""

    def __init__(
        self, trt: Any, logger: Any, flavour: Flavour, record: Record, onnx_file: Path
    ) -> None:
        self.trt, self.flavour, self.record, self.file = trt, flavour, record, onnx_file
        self.logger = logger
        self.builder = trt.Builder(logger)
        self.network = self.builder.create_network(flavour.network_flags(trt))
        self.parser = trt.OnnxParser(self.network, logger)

    def parse(self) -> Any:
        """The network of the ONNX file."""
        parser, network = self.parser, self.network
        if not parser.parse(self.file.read_bytes()):
            problems = [parser.get_error(i) for i in range(parser.num_errors)]
            if not problems or not any(problem.node_operator() for problem in problems):
                raise ForeignFileError(f"{self.file} is not an ONNX file: {self.record.reason()}")
            raise ExportError(
                f"{self.flavour.title} cannot import {self.file.name}: "
                + "; ".join(_node_error(problem) for problem in problems[:5])
            )
        if not network.num_outputs:  # the parser takes some files of other kinds for empty graphs
            raise ForeignFileError(f"{self.file} is not an ONNX file, or one without outputs")
        if not self.flavour.nms:
            for index in range(network.num_layers):
                layer = network.get_layer(index)
                if layer.type == self.trt.LayerType.NMS:
                    raise ExportError(
                        f"{self.flavour.title} has no kernel for NonMaxSuppression (node "
                        f"{layer.name}): export without --nms; --topk K with K <= 3840 reduces the "
                        "outputs on the device"
                    )
        return network

    def convolutions(self, network: Any) -> list[str]:
        """Names of the convolutions."""
        layers = (network.get_layer(index) for index in range(network.num_layers))
        return [layer.name for layer in layers if layer.type == self.trt.LayerType.CONVOLUTION]

    def quantised_convolutions(self, network: Any) -> set[str]:
        """Names of those whose input comes out of a dequantise node."""
        trt = self.trt
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        makers = {layer.get_output(0).name: layer.type for layer in layers}
        return {
            layer.name
            for layer in layers
            if layer.type == trt.LayerType.CONVOLUTION
            and makers.get(layer.get_input(0).name) == trt.LayerType.DEQUANTIZE
        }

    def configure(self, spec: ModelSpec, options: EngineOptions, profile: Profile) -> Any:
        """The builder's configuration."""
        trt, builder = self.trt, self.builder
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        self.flavour.set_target(trt, config, options.compute_capability)
        if spec.batch is None or spec.dynamic_size:
            shapes = builder.create_optimization_profile()
            shapes.set_shape(spec.contract.input.name, *profile.shapes(spec))
            if config.add_optimization_profile(shapes) < 0:
                raise SettingError(f"the profile {profile} was refused: {self.record.reason()}")
        if options.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
        if options.hardware_compatible:
            level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
            config.hardware_compatibility_level = level
        for wanted, flag in (
            (options.version_compatible, trt.BuilderFlag.VERSION_COMPATIBLE),
            (options.strip, trt.BuilderFlag.STRIP_PLAN),
            (options.refit, trt.BuilderFlag.REFIT),
        ):
            if wanted:
                config.set_flag(flag)
        if options.timing_cache is not None:
            known = options.timing_cache
            cache = config.create_timing_cache(known.read_bytes() if known.is_file() else b"")
            if cache is None or not config.set_timing_cache(cache, False):
                raise SettingError(
                    f"{known} is not a timing cache of {self.flavour.title} {trt.__version__}; "
                    "delete it or name another file"
                )
        return config

    def build(self, config: Any, progress: Progress | None) -> bytes:
        """The engine's bytes."""
        monitor = monitor_of(self.trt, progress or (lambda *_: None))
        config.progress_monitor = monitor
        plan = self.builder.build_serialized_network(self.network, config)
        if monitor.interrupted:
            raise KeyboardInterrupt
        if plan is None:
            raise ExportError(
                f"{self.flavour.title} {self.trt.__version__} cannot build {self.file.name}: "
                f"{self.record.reason()}"
            )
        return bytes(memoryview(plan))

    def keep_timing_cache(self, config: Any, file: Path | None) -> None:
        """Write measured kernels back for the next build."""
        if file is not None:
            with atomic_write(file) as temporary:
                temporary.write_bytes(memoryview(config.get_timing_cache().serialize()))

    def inspect(self, engine: bytes) -> list[EngineLayer]:
        """The layers, as the inspector says them; without a GPU, as the build logged them."""
        if gpus() and not self.flavour.portable:
            runtime = self.trt.Runtime(self.logger)
            runtime.engine_host_code_allowed = True  # just built here, from a graph
            loaded = runtime.deserialize_cuda_engine(engine)
            if loaded is not None:
                inspector = loaded.create_engine_inspector()
                form = self.trt.LayerInformationFormat.JSON
                return layers_of_json(inspector.get_engine_information(form))
        return layers_of_log(self.record.layers)


def require_space(folder: Path, needed: int) -> None:
    """Raise ExportError unless the folder's disk has room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ExportError(
            f"{folder} has {free / 1e6:.0f} MB free, the engine needs about {needed / 1e6:.0f} MB; "
            "make room or write it elsewhere with -o"
        )


@contextmanager
def told_of_full_disk(folder: Path) -> Iterator[None]:
    """Raise ExportError for what fails inside for want of space: libraries say it in their ways.

    The folder, or one inside it, still holds what was written.
    """
    try:
        yield
    except (OSError, YOLOv4Error) as error:
        free = shutil.disk_usage(folder).free
        if free < FULL_BYTES or (isinstance(error, OSError) and disk_full(error)):
            raise ExportError(
                f"no room on the disk of {folder}: {free / 1e6:.1f} MB are left; make room or "
                "write it elsewhere with -o"
            ) from error
        raise


def disk_full(error: OSError) -> bool:
    """Whether a write failed for want of space."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _targets(flavour: Flavour, options: EngineOptions) -> tuple[str, ...]:
    """The compute capabilities that an engine will run on; "8.0+" is Ampere and later."""
    flavour.check_options(options, bool(gpus()))
    if options.compute_capability:
        return options.compute_capability
    if not flavour.portable:
        here = require_gpu(f"Building with {flavour.title}").capability
        return (AMPERE_PLUS,) if options.hardware_compatible else (here,)
    return (AMPERE_PLUS,)


def _node_error(problem: Any) -> str:
    operator, node = problem.node_operator(), problem.node_name()
    where = f"{operator} (node {node or problem.node()})" if operator else "the graph"
    said = clean(problem.desc())
    return f"{where}: {'this operator is not supported' if said == 'false' else said}"
