"""TensorRT and TensorRT-RTX engines on an NVIDIA GPU."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..contract.contract import float_input
from ..contract.names import default_names
from ..contract.spec import ModelSpec
from ..conventions import decode
from ..errors import (
    ArtefactError,
    BackendError,
    DeviceError,
    EngineMismatchError,
    ForeignFileError,
    SettingError,
    SpecError,
)
from ..imaging.preprocess import Letterbox
from ..system.cuda_driver import require_gpu
from ..system.files import atomic_write, sha256
from ..tensorrt.build_log import Record, logger_of
from ..tensorrt.flavour import FLAVOURS, Flavour
from ..tensorrt.options import Profile
from ..tensorrt.sidecar import (
    Sidecar,
    check_engine_bytes,
    check_here,
    read_sidecar,
    sidecar_path,
)
from ..tensorrt.store import cache_folder, cached_engine, own_cache_folder
from . import gpu_letterbox
from .base import ContextManager, Outputs, check_batch, check_precision
from .device_array import Batch, as_device_array
from .device_memory import DeviceMemory, Kernel, device_memory
from .engine_slots import EngineSlots


class TensorRtBackend(ContextManager):
    """See `Backend`; `model` is an .engine file, or an .onnx file that is built once into a cache.

    `infer` also takes batches that lie on the GPU (`__cuda_array_interface__`, DLPack), which are
    not copied through the host.

    Attributes:
        max_batch: the largest batch of the engine's profile.
    """

    flavour: ClassVar[Flavour] = FLAVOURS["trt"]

    def __init__(
        self,
        model: Path,
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,  # the GPU's work needs none; as in the other backends
    ) -> None:
        flavour = self.flavour
        self.name: str = flavour.name
        index = _device_index(device, flavour)
        sidecar = None if model.suffix == ".onnx" else read_sidecar(model)
        data = _engine_bytes(model, sidecar, flavour)
        trt = flavour.load()
        gpu = require_gpu(f"The {flavour.title} backend", index)
        if data is None:
            model = cached_engine(model, flavour)
            sidecar = read_sidecar(model)
            assert sidecar is not None, "the cache gives only whole engines"
            data = check_engine_bytes(model, sidecar)
        if sidecar is not None:
            check_here(model, sidecar, flavour.name, str(trt.__version__), gpu)
            check_precision(precision, (sidecar.precision,), model.name)
        self.device: str = f"cuda:{index}"
        self._memory: DeviceMemory = device_memory(index)
        with self._memory.current():
            engine = _deserialise(trt, flavour, data, model, sidecar)
            if sidecar is not None and sidecar.weights is not None:
                _refit(trt, engine, model.with_name(sidecar.weights), sidecar)
        name = f"{hashlib.sha256(data).hexdigest()[:16]}-{gpu.capability}.kernels"
        # TensorRT-RTX reads compiled kernels from there; TensorRT keeps none.
        cache = own_cache_folder() if flavour.portable else cache_folder()
        self._kernels = cache / name
        config, self._kernel_cache = flavour.runtime_config(engine, self._kernels)
        self.spec: ModelSpec
        self.spec, self._profile = (
            (sidecar.spec, sidecar.profile) if sidecar is not None else _described(engine, trt)
        )
        self.precision: str = sidecar.precision if sidecar is not None else self.spec.precision
        self.max_batch: int = self._profile.batch[2]
        self._graph, self.spec = self.spec.contract, self.spec.decoded()
        if self._graph.input.extra:
            extra = ", ".join(one.name for one in self._graph.input.extra)
            raise SettingError(f"{model.name} takes {extra} too; an engine takes only images")
        self._letterbox: Kernel | None = None
        self._slots = EngineSlots(trt, engine, self._memory, config, self._graph.input.name)

    def infer(self, batch: Any) -> Outputs:
        """See `Backend.infer`."""
        with self._memory.current():
            if isinstance(batch, np.ndarray):
                self._check(batch)  # before a context is made for it
            with self._slots.take(getattr(batch, "shape", ())) as slot:
                array = as_device_array(batch, slot.stream.handle)
                if array is None:
                    array = batch
                self._check(array)
                size = self._graph.input.canvas_of(array.shape)
                return decode(slot.run(array), self._graph, size)

    def infer_images(
        self, images: Sequence[NDArray[np.uint8]], plans: Sequence[Letterbox], bgr: bool
    ) -> Outputs:
        """Letterbox images on the device and run them: less goes there, and no processor resizes.

        Args:
            images: uint8 [H, W, 3] of any sizes.
            plans: of each; all of one canvas.
            bgr: channel order of the images, else RGB.

        Raises:
            As `infer`.
        """
        size, taken = plans[0].canvas, self._graph.input
        if not taken.plain:
            raise SettingError(
                f"the letterbox on the device makes our own inputs, not {taken.form} "
                f"({taken.resize.policy}); leave gpu_letterbox out"
            )
        rows = self.spec.batch or len(images)
        shape = taken.shape(rows, size)
        row_bytes = math.prod(shape[1:]) * np.dtype(taken.dtype).itemsize
        self._profile.check(rows, size)
        with self._memory.current(), self._slots.take(shape) as slot:
            if self._letterbox is None:
                self._letterbox = self._memory.kernel(gpu_letterbox.SOURCE, gpu_letterbox.NAME)
            canvas = slot.input_address(shape)
            for i, (image, plan) in enumerate(zip(images, plans, strict=True)):
                address = slot.upload(f"image {i}", image)
                gpu_letterbox.start(
                    self._letterbox, address, plan, canvas + i * row_bytes, slot.stream,
                    swap=bgr, planar=taken.planar,
                )  # fmt: skip
            return decode(slot.run_prepared(), self._graph, size)

    def close(self) -> None:
        """See `Backend.close`."""
        with self._memory.current():
            self._slots.close()
        cache, self._kernel_cache = self._kernel_cache, None
        if cache is not None:
            with suppress(OSError), atomic_write(self._kernels) as temporary:
                temporary.write_bytes(memoryview(cache.serialize()))

    def _check(self, batch: Batch) -> None:
        check_batch(batch, self.spec)
        self._profile.check(batch.shape[0], self._graph.input.canvas_of(batch.shape))


class TensorRtRtxBackend(TensorRtBackend):
    """The same with TensorRT-RTX, which compiles its kernels for the GPU that it finds."""

    flavour: ClassVar[Flavour] = FLAVOURS["trt-rtx"]


def engine_flavour(path: Path) -> str:
    """The backend that an engine's sidecar names.

    Raises:
        EngineMismatchError: there is no sidecar.
        SpecError: a damaged one.
    """
    sidecar = read_sidecar(path)
    if sidecar is None:
        raise EngineMismatchError(
            f"{path} has no {sidecar_path(path).name} beside it. An engine is native code, and "
            "nothing says where this one is from: build it with `yolov4sdk export --engine trt`, "
            'or, if you trust it, name its runtime: backend="trt" or "trt-rtx"'
        )
    if sidecar.flavour not in FLAVOURS:
        raise EngineMismatchError(f"{path}: no runtime {sidecar.flavour!r} is known here")
    return sidecar.flavour


def _device_index(device: str, flavour: Flavour) -> int:
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda") or (index and not index.isdigit()):
        raise DeviceError(
            f'{flavour.title} runs on NVIDIA GPUs: "cuda" or "cuda:1"; got {device!r}'
        )
    return int(index or 0)


def _engine_bytes(model: Path, sidecar: Sidecar | None, flavour: Flavour) -> bytes | None:
    """The bytes of an engine file, checked as far as that goes without the library."""
    if model.suffix == ".onnx":
        return None
    data = model.read_bytes() if sidecar is None else check_engine_bytes(model, sidecar)
    expected = flavour if sidecar is None else FLAVOURS.get(sidecar.flavour, flavour)
    if not data.startswith(expected.magic):
        raise ForeignFileError(
            f"{model} is not a {expected.title} engine (it does not start with "
            f"{expected.magic.decode()}); build one with `yolov4sdk export --engine {flavour.name}`"
        )
    return data


def _deserialise(
    trt: Any, flavour: Flavour, data: bytes, path: Path, sidecar: Sidecar | None
) -> Any:
    logger = logger_of(trt)
    record = logger.record = Record()
    try:
        runtime = trt.Runtime(logger)
        if sidecar is not None and sidecar.version_compatible:
            runtime.engine_host_code_allowed = True  # the sidecar vouches for the bytes
        engine = runtime.deserialize_cuda_engine(data)
    finally:
        logger.record = None
    if engine is None:
        raise BackendError(f"{flavour.title} {trt.__version__} refuses {path}: {record.reason()}")
    return engine


def _refit(trt: Any, engine: Any, weights: Path, sidecar: Sidecar) -> None:
    """Put the weights back into a stripped engine."""
    if not weights.is_file():
        raise ArtefactError(f"this engine was stripped of its weights, and {weights} is missing")
    if sha256(weights) != sidecar.onnx_sha256:
        raise EngineMismatchError(f"{weights} is not the ONNX file that the engine was built from")
    logger = logger_of(trt)
    refitter = trt.Refitter(engine, logger)
    reader = trt.OnnxParserRefitter(refitter, logger)
    if not reader.refit_from_file(str(weights)) or not refitter.refit_cuda_engine():
        raise BackendError(f"the weights of {weights} cannot be put into the engine")


def _described(engine: Any, trt: Any) -> tuple[ModelSpec, Profile]:
    """A spec for an engine without a sidecar: what its tensors say, with nameless classes."""
    names = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
    own = float_input()
    if names != {own.name, "boxes", "scores"}:
        raise SpecError(
            f"the engine has the tensors {', '.join(sorted(names))}; without a sidecar only one "
            "with images -> boxes, scores can be run"
        )
    least, usual, largest = engine.get_tensor_profile_shape(own.name, 0)
    planar = engine.get_tensor_dtype(own.name) == trt.float32
    side = 2 if planar else 1
    sizes = [(shape[side], shape[side + 1]) for shape in (least, usual, largest)]
    spec = ModelSpec(
        architecture="unknown",
        names=default_names(engine.get_tensor_shape("scores")[2]),
        strides=(math.gcd(*(length for size in sizes for length in size)),),
        anchors=((),),
        input_size=sizes[1],
        dynamic_size=sizes[0] != sizes[2],
        batch=least[0] if least[0] == largest[0] else None,
        input_form="float_nchw" if planar else "uint8_nhwc",
        precision="unknown",
    )
    return spec, Profile((least[0], usual[0], largest[0]), (sizes[0], sizes[1], sizes[2]))
