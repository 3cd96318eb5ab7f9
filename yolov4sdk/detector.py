"""Detector: images in, Detections out, on any runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, cast, overload

import numpy as np
from numpy.typing import NDArray

from .backends import Backend, BackendName, Outputs, Precision, load_backend, load_default
from .backends.base import ContextManager
from .backends.tta import augmented
from .contract.spec import ModelSpec
from .detections import Detections
from .errors import ImageError, SettingError
from .imaging.images import Color, Pixels, check_color
from .imaging.preprocess import Letterbox, Size
from .imaging.reader import Reader, whole
from .pipeline import Pipeline
from .results.options import CallOptions, Classes, network_size, read_options, scales
from .results.thresholds import Thresholds
from .results.tiling import Tiling, check_tiling, detect_tiled
from .system.arguments import flag, whole_number
from .system.device import Device, device_name

if TYPE_CHECKING:
    from .backends.foreign import Names
    from .streams.streaming import Stream


class Detector(ContextManager):
    """One detector over all runtimes. Several threads may call the same one.

    Args:
        model: path of a .safetensors, .onnx, .xml or .engine file, a `yolov4sdk.models.Model`, a
            loaded `Backend`, the address of a service ("http://host:8000",
            "http://host:8000/models/x", "triton://host:8001/model"), or None for the embedded
            default.
        backend: "torch", "onnxruntime", "openvino", "trt" or "trt-rtx"; None picks it by the file.
        device: "auto", "cpu", "cuda", "cuda:1", or a device of OpenVINO.
        precision: of the arithmetic, where the runtime chooses it ("fp32", "bf16", "fp16").
        size: (height, width) of the network's input, or one number for both; None is the
            model's usual size. A fixed graph takes only its own.
        conf: scores are above this. It may map class names or ids to thresholds; its key "default"
            is for the others (0.25).
        iou: overlap above which the lesser of two boxes is suppressed.
        max_det: boxes an image at most.
        agnostic: suppress across classes.
        multi_label: a box may be reported for several classes; False reports the best one.
        classes: names or ids to report; None is all.
        tiles: a `yolov4sdk.results.tiling.Tiling`, or the side of a tile in pixels: large images
            are cut into overlapping tiles, for small objects.
        tta: ask about scaled and mirrored images too (slow); True, or the scales: (0.8, 1, 1.2).
        shape: "square" pads every image to `size`; "rect" to the smallest multiple of the
            stride, which is faster; "auto" is "rect" where the graph takes any size.
        batch: images per run when a list is given; a graph of fixed batch takes its own.
        color: channel order of arrays, "BGR" (OpenCV) or "RGB".
        allow_urls: whether http(s) URLs are fetched.
        threads: processor threads; None is what the container allows.
        gpu_letterbox: resize and pad on the device; TensorRT only.
        scaled_decode: decode JPEGs that are larger than the network's size at the fraction of
            their size that it needs, in a fraction of the time; the pixels differ slightly. Not
            together with `gpu_letterbox`; tiles see whole images.
        keep_images: results keep the pixels of their image, for `save`, `show` and `crop`; False
            keeps the path of an image that came from a file, and nothing of others.
        convention: for a foreign .onnx or .xml file or a foreign model in Triton: name of a
            declaration ("yolox"), or a file with one; `adopt` makes files that need none.
        class_names: of such a file, or "coco"; None takes its own, or numbers.

    Raises:
        YOLOv4Error: a subclass says what is wrong with the file, the device or an option.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        backend: BackendName | None = None,
        device: Device = "auto",
        precision: Precision | None = None,
        size: int | tuple[int, int] | None = None,
        conf: float | Mapping[str | int, float] = 0.25,
        iou: float | None = None,
        max_det: int = 300,
        classes: Classes = None,
        agnostic: bool = False,
        multi_label: bool = False,
        tiles: Tiling | int | tuple[int, int] | None = None,
        tta: bool | Sequence[float] = False,
        shape: Literal["auto", "square", "rect"] = "auto",
        batch: int = 8,
        color: Color = "BGR",
        allow_urls: bool = False,
        threads: int | None = None,
        gpu_letterbox: bool = False,
        scaled_decode: bool = False,
        keep_images: bool = False,
        convention: str | None = None,
        class_names: Names | None = None,
    ) -> None:
        self._arguments = {k: v for k, v in locals().items() if k != "self"}
        if shape not in ("auto", "square", "rect"):
            raise SettingError(f'shape must be "auto", "square" or "rect", got {shape!r}')
        check_color(color)
        if (batch := whole_number("batch", batch)) < 1:
            raise SettingError(f"batch must be at least 1, got {batch}")
        given = {name: self._arguments[name] for name in CallOptions.__annotations__}
        self._settings = read_options(given)
        allow_urls = flag("allow_urls", allow_urls)
        gpu_letterbox = flag("gpu_letterbox", gpu_letterbox)
        scaled_decode = flag("scaled_decode", scaled_decode)
        size, tta = network_size(size), scales(tta)
        device = device_name(device)
        threads = None if threads is None else whole_number("threads", threads)
        loaded: Backend = (
            load_default(backend, device, precision, threads)
            if model is None and convention is None
            else model
            if hasattr(model, "infer")
            else load_backend(model, backend, device, precision, threads, convention, class_names)
        )
        try:
            if tta is not False:
                loaded = augmented(loaded, None if tta is True else tta)
            if gpu_letterbox and scaled_decode:
                raise SettingError("gpu_letterbox resizes whole images: no scaled_decode with it")
            contract = loaded.spec.contract
            rectangular = contract.input.dynamic if shape == "auto" else shape == "rect"
            self.pipeline: Pipeline = Pipeline(
                contract, loaded, size=size, rectangular=rectangular, gpu_letterbox=gpu_letterbox
            )
            self._thresholds({})  # a wrong one is reported now, not at the first image
        except Exception:
            loaded.close()
            raise
        self.size: Size = self.pipeline.size
        self._batch = self.spec.batch or min(batch, getattr(loaded, "max_batch", batch))
        self._scaled = scaled_decode
        self._reader = Reader(color, allow_urls, 2 * self._batch)

    @property
    def backend(self) -> Backend:
        """What runs the network."""
        return cast("Backend", self.pipeline.backend)

    @backend.setter
    def backend(self, backend: Backend) -> None:
        self.pipeline = self.pipeline.on(backend)

    @property
    def spec(self) -> ModelSpec:
        """Of the model."""
        return self.backend.spec

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; the index is the class id."""
        return self.spec.names

    @overload
    def __call__(
        self, images: list[Any] | tuple[Any, ...], **overrides: Unpack[CallOptions]
    ) -> list[Detections]: ...

    @overload
    def __call__(self, images: Any, **overrides: Unpack[CallOptions]) -> Detections: ...

    def __call__(
        self, images: Any, **overrides: Unpack[CallOptions]
    ) -> Detections | list[Detections]:
        """Detect objects in one image, or in each of a list, run in batches.

        Args:
            images: what `yolov4sdk.imaging.images.read_image` takes, or a list or tuple of these.
            **overrides: conf, iou, max_det, classes, agnostic, multi_label, tiles, keep_images for
                this call.

        Returns:
            Detections, or a list of them in the order of the images. An image's answer does not
            depend on the others.

        Raises:
            ImageError: an image cannot be used.
            SettingError, UnknownClassError: a wrong override.
        """
        thresholds, tiles, keep = self._thresholds(overrides)
        many = isinstance(images, list | tuple)
        sources, kept = images if many else [images], []
        scaled = self._scaled and tiles is None and not keep
        read = self._reader.listed(sources, self.size if scaled else None)
        if keep:
            read = iter(kept := list(read))
        results = self._results(read, thresholds, tiles)
        pixels = (image for image, _ in kept) if keep else repeat(None)
        results = list(map(_from, results, sources, pixels))
        return results if many else results[0]

    def detect_each(
        self, sources: Iterable[Any], *, on_error: Literal["raise", "keep"] = "raise",
        **overrides: Unpack[CallOptions],
    ) -> Iterator[tuple[Any, Pixels | None, Detections | ImageError]]:  # fmt: skip
        """Detect in any number of images, a batch at a time in memory.

        Args:
            sources: what `yolov4sdk.imaging.images.read_image` takes, each.
            on_error: "keep" gives the error of an image that cannot be read in the place of its
                detections and goes on; "raise" raises it in its turn.
            **overrides: as for `__call__`.

        Yields:
            The source, its pixels (uint8 BGR [H, W, 3]; None where it cannot be read) and its
            Detections or ImageError, in the order of the sources.

        Raises:
            ImageError: an image cannot be used, and `on_error` is "raise".
            SettingError, UnknownClassError: a wrong override.
        """
        if on_error not in ("raise", "keep"):
            raise SettingError(f'on_error must be "raise" or "keep", got {on_error!r}')
        thresholds, tiles, keep = self._thresholds(overrides)

        def each() -> Iterator[tuple[Any, Pixels | None, Detections | ImageError]]:
            pictures = self._reader.each(sources, keep=on_error == "keep")
            while batch := list(islice(pictures, self._batch)):
                good = [whole(image) for _, image in batch if isinstance(image, np.ndarray)]
                found = iter(self._results(good, thresholds, tiles))
                for source, image in batch:
                    if isinstance(image, ImageError):
                        yield source, None, image
                    else:
                        yield source, image, _from(next(found), source, image if keep else None)

        return each()

    def stream(
        self,
        source: Any,
        *,
        stride: int = 1,
        batch: int | None = None,
        live: bool | None = None,
        timeout: float = 10.0,
        reconnect: float | None = None,
        **overrides: Unpack[CallOptions],
    ) -> Stream:
        """Detect in a video, a live source or several at once, in constant memory.

        Of files every frame is read; a live source's old frames are dropped, so that a slow
        caller gets the newest one.

        Args:
            source: path of a video; folder or glob of images; RTSP or HTTP URL (with
                `allow_urls`); number of a camera; "-" for standard input, or a binary file
                (any format of libav, MJPEG too); or a list of these, batched together.
            stride: every n-th frame.
            batch: frames a run, at most the detector's; None is one of each source.
            live: whether a URL is live; None: unless its path ends as a video file's.
            timeout: seconds in which a live source must give its first frame.
            reconnect: seconds for which a lost live source is tried again; None is for ever.
            **overrides: as for `__call__`.

        Returns:
            Iterator and context manager of `yolov4sdk.streams.streaming.Frame`: number, time
            (seconds), image (BGR), detections, source, source_index.

        Raises:
            VideoError, ImageError: here or while iterating; the subclass says what is wrong.
            MissingExtraError: PyAV is not installed.
            SettingError: a wrong option, or a URL without `allow_urls`.
        """
        from .streams.stream_sources import open_stream

        return open_stream(
            self, source, dict(overrides), stride=stride, live=live, timeout=timeout,
            batch=self.spec.batch if batch is None else batch, largest=self._batch,
            reconnect=reconnect, allow_urls=self._reader.allow_urls,
        )  # fmt: skip

    @property
    def rectangular(self) -> bool:
        """Whether canvases shrink to the smallest multiple of the stride; see `shape`."""
        return self.pipeline.rectangular

    def warmup(self, image_size: Size | None = None, batch: int = 1) -> Self:
        """Run the network before the first image comes: runtimes allocate and choose kernels then.

        Args:
            image_size: (height, width) of the images to come: graphs that take any size are
                prepared for the canvas that these get. None is the model's own size.
            batch: images of a call to come; more than one run are prepared one after the other.

        Returns:
            The detector.
        """
        blank = np.zeros((*(image_size or self.size), 3), np.uint8)
        self([blank] * whole_number("batch", batch))
        return self

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Run only the network; see `Backend.infer`."""
        return self.backend.infer(batch)

    def close(self) -> None:
        """Give the runtime's memory back."""
        self.backend.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """It travels as its arguments: the model is loaded again where it arrives."""
        arguments = dict(self._arguments)
        model = arguments.pop("model")
        if hasattr(model, "infer"):
            raise SettingError(
                "a Detector around a loaded backend cannot be pickled; give it the model's path"
            )
        if isinstance(model, str | Path) and "://" not in str(model):
            model = Path(model).resolve()  # the other process may be in another folder
        return _made, (type(self), model, arguments)

    def __copy__(self) -> Self:
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new

    def __repr__(self) -> str:
        b = self.backend
        return (
            f"Detector({len(self.names)} classes, {self.size[0]} x {self.size[1]}, "
            f"{b.name} on {b.device}, {b.precision})"
        )

    def _results(
        self,
        images: Iterable[tuple[Pixels, Size]],
        thresholds: Thresholds,
        tiles: Tiling | None,
    ) -> list[Detections]:
        """Detections of each image, found in tiles or as a whole."""
        if tiles is None:
            return self._detect(images, thresholds)
        return [
            detect_tiled(
                lambda views: self._detect(map(whole, views), thresholds), image, tiles,
                iou=thresholds.overlap, max_det=thresholds.max_det, agnostic=thresholds.agnostic,
            )
            for image, _ in images
        ]  # fmt: skip

    def _detect(
        self, images: Iterable[tuple[Pixels, Size]], thresholds: Thresholds
    ) -> list[Detections]:
        """Detections of each image, uint8 BGR [H, W, 3] and its whole size, in their order."""
        found = self.pipeline.detect_all(images, thresholds, self._batch)
        return [Detections(*kept, self.names, plan.source) for kept, plan in found]

    def _thresholds(self, overrides: Mapping[str, Any]) -> tuple[Thresholds, Tiling | None, bool]:
        """The settings with those of one call, checked, and whether images are kept."""
        settings = {**self._settings, **read_options(overrides)}
        keep = settings.pop("keep_images")
        tiles = check_tiling(settings.pop("tiles"), self.spec.max_stride)
        output = self.spec.contract.output
        merging = tiles is not None
        return Thresholds(**settings).resolved(self.names, output, merging=merging), tiles, keep

    def run_canvases(self, canvas: NDArray[np.uint8]) -> Outputs:
        """Run images that are letterboxed already, as the service's decoders do it.

        Args:
            canvas: uint8 BGR [B, H, W, 3]; rows that a graph of fixed batch lacks are added.
        """
        return self.pipeline.run(self.pipeline.input(canvas))

    def detections(
        self, outputs: Outputs, row: int, plan: Letterbox, **overrides: Any
    ) -> Detections:
        """What one row of `run_canvases` shows, in pixels of the source image.

        Args:
            plan: how the row was letterboxed.
            **overrides: as of a call; a row is a whole image, so tiles play no part.
        """
        thresholds, *_ = self._thresholds({**overrides, "tiles": None})
        kept = self.pipeline.finish(outputs, row, plan, thresholds)
        return Detections(*kept, self.names, plan.source)


def _made(kind: type[Detector], model: Any, arguments: dict[str, Any]) -> Detector:
    return kind(model, **arguments)


def _from(found: Detections, source: Any, pixels: Pixels | None) -> Detections:
    """With the file that they come from, or with the pixels; other sources are not kept."""
    if pixels is not None:  # the caller may draw on an array of his own
        source = pixels.copy() if isinstance(source, np.ndarray) else pixels
    elif not isinstance(source, str | Path) or "://" in str(source):
        return found
    return replace(found, source=source)
