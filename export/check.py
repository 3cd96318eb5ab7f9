"""Every written file is run against torch before it is put in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from yolov4sdk.backends import Outputs, load_backend
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import VerificationError
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.synthetic import drawn_image, noise
from yolov4sdk.measure.tolerance import TOLERANCES, Tolerance, complaints
from yolov4sdk.measure.verify import Agreement, Result, Runner, canvas_batch, compare, run
from yolov4sdk.models import Model

from .options import ExportOptions

PHOTOGRAPHS: Final = Path(__file__).resolve().parent.parent / "examples" / "images"


@dataclass(frozen=True)
class Check:
    """One comparison of a file with torch.

    Attributes:
        shown: what the images were.
        size: (height, width) in pixels.
        batch: images in a run.
        agreement: the errors.
    """

    shown: str
    size: tuple[int, int]
    batch: int
    agreement: Agreement


class TorchReference:
    """The model as it was given, unfolded and in float32, as a `Runner`."""

    def __init__(self, model: Model) -> None:
        self.spec = model.spec.replace(
            batch=None, dynamic_size=True, input_form="float_nchw", outputs="full", topk=None
        )
        self._model = model

    @torch.inference_mode()
    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Float32 RGB [B, 3, H, W] to full outputs."""
        boxes, scores = self._model(torch.from_numpy(batch))
        return Outputs(boxes.numpy(), scores.numpy())


def check_file(
    path: Path,
    reference: Runner,
    options: ExportOptions,
    spec: ModelSpec,
    *,
    device: str = "cpu",
    tries: Sequence[tuple[tuple[int, int], int]] | None = None,
    photographs: Sequence[Path] | None = None,
) -> list[Check]:
    """Run a written file and its source on a real image and on noise, or on given photographs.

    Args:
        path: of any artefact that has a backend.
        reference: the source.
        options: what the file was made with.
        spec: what the file carries.
        device: to run the file on.
        tries: pairs of size (height, width) and batch; None is what the spec claims.
        photographs: these alone are shown: what INT8 makes of noise says nothing.

    Returns:
        A check for each of them.

    Raises:
        VerificationError: an error past the tolerance; the message says which and how large.
    """
    if tries is None:
        sizes = [spec.input_size, *([_other_size(spec)] if spec.dynamic_size else [])]
        batches = (1, 2) if spec.batch is None else (spec.batch,)
        tries = [(size, batch) for size in sizes for batch in batches]
    expected: dict[tuple[int, int], Result] = {}
    checks = []
    with load_backend(path, device=device) as backend:
        for size, batch in tries:
            shown, images = _images(size, photographs)
            canvases = canvas_batch(images, size)
            if size not in expected:
                expected[size] = run(reference, canvases)
            agreement = compare(
                expected[size],
                run(backend, canvases, batch),
                conf=options.conf,
                iou=options.iou,
                max_det=options.max_det,
            )
            checks.append(Check(shown, size, batch, agreement))
    # What the weights were rounded to.
    precision = "fp16" if options.half_weights else spec.precision
    for check in checks:
        judge(path.name, check, TOLERANCES[precision], options.max_det)
    return checks


def judge(name: str, check: Check, tolerance: Tolerance, max_det: int) -> None:
    """Raise VerificationError unless the check is within the tolerance; NaN never is."""
    said = complaints(check.agreement, tolerance, max_det)
    if said:
        raise VerificationError(
            f"{name} differs from its source ({check.shown}, size {check.size}, "
            f"batch {check.batch}): {'; '.join(said)}. The file was not kept"
        )


def real_image(size: tuple[int, int]) -> tuple[NDArray[np.uint8], str]:
    """A photograph, BGR [H, W, 3], and what it is; drawn where the photographs are not there."""
    for path in sorted(PHOTOGRAPHS.glob("*.jpg")):
        return read_image(path), path.name
    return drawn_image(size), "drawn image"


def _images(
    size: tuple[int, int], photographs: Sequence[Path] | None
) -> tuple[str, list[NDArray[np.uint8]]]:
    if photographs is not None:
        return f"{len(photographs)} held-out images", [read_image(path) for path in photographs]
    photo, kind = real_image(size)
    return f"{kind} and noise", [photo, noise(size)]


def _other_size(spec: ModelSpec) -> tuple[int, int]:
    """A second size for a dynamic graph: half as high, one stride wider."""
    stride = spec.max_stride
    height, width = spec.input_size
    return max(stride, height // 2 // stride * stride), width + stride
