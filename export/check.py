"""Every written file is run against torch before it is put in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from yolov4sdk.backends import Outputs, load_backend
from yolov4sdk.errors import VerificationError
from yolov4sdk.images import read_image
from yolov4sdk.models import Model
from yolov4sdk.spec import ModelSpec
from yolov4sdk.verify import Agreement, Result, Runner, canvas_batch, compare, run

from .options import ExportOptions

PHOTOGRAPHS: Final = Path(__file__).resolve().parent.parent / "examples" / "images"


@dataclass(frozen=True)
class Tolerance:
    """How far a file may differ from torch; the fields are those of `Agreement`."""

    boxes_max: float
    boxes_mean: float
    scores_max: float
    matched: float


TOLERANCES: Final = {
    "fp32": Tolerance(boxes_max=1e-3, boxes_mean=1e-4, scores_max=1e-3, matched=0.95),
    # In float16 boxes of the background may move by pixels, and of nearly equal boxes another one
    # may survive the suppression, most of all on noise and with random weights.
    "fp16": Tolerance(boxes_max=math.inf, boxes_mean=1e-2, scores_max=0.03, matched=0.8),
    # bfloat16 is eight times coarser than float16. Whether a quantised model is good enough was
    # decided on labelled images when it was made. Both are only held against gross errors here.
    "bf16": Tolerance(boxes_max=math.inf, boxes_mean=0.1, scores_max=0.5, matched=0.3),
    "int8": Tolerance(boxes_max=math.inf, boxes_mean=0.1, scores_max=0.5, matched=0.3),
}


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
) -> list[Check]:
    """Run a written file and its source on a real image and on noise.

    Args:
        path: of any artefact that has a backend.
        reference: the source.
        options: what the file was made with.
        spec: what the file carries.
        device: to run the file on.
        tries: pairs of size (height, width) and batch; None is what the spec claims.

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
            photo, kind = real_image(size)
            canvases = canvas_batch([photo, noise(size)], size)
            if size not in expected:
                expected[size] = run(reference, canvases)
            agreement = compare(
                expected[size],
                run(backend, canvases, batch),
                conf=options.conf,
                iou=options.iou,
                max_det=options.max_det,
            )
            checks.append(Check(f"{kind} and noise", size, batch, agreement))
    for check in checks:
        judge(path.name, check, TOLERANCES[spec.precision], options.max_det)
    return checks


def judge(name: str, check: Check, tolerance: Tolerance, max_det: int) -> None:
    """Raise VerificationError unless the check is within the tolerance; NaN never is."""
    found = check.agreement
    complaints = [
        f"{what} {getattr(found, field):.3g}, allowed {getattr(tolerance, field):g}"
        for field, what in (
            ("boxes_max", "largest error of the boxes"),
            ("boxes_mean", "mean error of the boxes"),
            ("scores_max", "largest error of the scores"),
        )
        if not getattr(found, field) <= getattr(tolerance, field)
    ]
    # One detection more or less is always allowed: it may lie on a threshold. Where max_det cut
    # them off, the choice among nearly equal scores says nothing.
    cut = found.detections >= max_det * found.images
    if not cut and found.unmatched > max(1, (1 - tolerance.matched) * found.detections):
        complaints.append(
            f"{found.matched:.1%} of the detections match, {tolerance.matched:.0%} must"
        )
    if complaints:
        raise VerificationError(
            f"{name} differs from its source ({check.shown}, size {check.size}, "
            f"batch {check.batch}): {'; '.join(complaints)}. The file was not kept"
        )


def real_image(size: tuple[int, int]) -> tuple[NDArray[np.uint8], str]:
    """A photograph, BGR [H, W, 3], and what it is; drawn where the photographs are not there."""
    for path in sorted(PHOTOGRAPHS.glob("*.jpg")):
        return read_image(path), path.name
    return drawn_image(size), "drawn image"


def drawn_image(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """A picture with the statistics of a natural one: coarse noise is strong, fine noise weak."""
    rng = np.random.default_rng(seed)
    height, width = size
    total = np.zeros((height, width, 3), np.float32)
    cells = 2
    while cells <= max(height, width):
        octave = rng.standard_normal((cells, cells, 3)).astype(np.float32) / cells
        total += cv2.resize(octave, (width, height), interpolation=cv2.INTER_CUBIC)
        cells *= 2
    total = (total - total.min()) / (total.max() - total.min())
    image: NDArray[np.uint8] = (total * 255).astype(np.uint8)
    return image


def noise(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Uniform noise, uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def _other_size(spec: ModelSpec) -> tuple[int, int]:
    """A second size for a dynamic graph: half as high, one stride wider."""
    stride = spec.max_stride
    height, width = spec.input_size
    return max(stride, height // 2 // stride * stride), width + stride
