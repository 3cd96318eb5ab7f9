"""Every written file is run against its source before it is put in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.backends import load_backend
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import VerificationError
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.synthetic import drawn_image, noise
from yolov4sdk.measure.tolerance import TOLERANCES, complaints, measured
from yolov4sdk.measure.verify import Agreement, Runner, canvas_batch, compare, run

from .options import ExportOptions
from .reference import Measure, Reference

PHOTOGRAPHS: Final = Path(__file__).resolve().parent.parent / "examples" / "images"


@dataclass(frozen=True)
class Check:
    """One comparison of a file with its source.

    Attributes:
        shown: what the images were.
        size: (height, width) in pixels.
        batch: images in a run.
        agreement: the errors.
        rounding: of the source itself, in the file's precision; None for "int8", which says
            nothing of that.
        against: what the source was computed with: "float64", or "sums in another order".
    """

    shown: str
    size: tuple[int, int]
    batch: int
    agreement: Agreement
    rounding: Agreement | None
    against: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "shown": self.shown,
            "size": list(self.size),
            "batch": self.batch,
            **self.agreement.to_dict(),
            "rounding": None if self.rounding is None else self.rounding.to_dict(),
            "against": self.against,
        }


def check_file(
    path: Path,
    reference: Reference,
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
        VerificationError: an error past the tolerance, which is a small multiple of the source's
            own rounding; the message says which and how large.
        NonFiniteOutputError: the source itself gives NaN or infinite values.
    """
    with load_backend(path, device=device) as backend:
        return check_runner(path.name, backend, reference, options, spec, tries, photographs)


def check_runner(
    name: str,
    runner: Runner,
    reference: Reference,
    options: ExportOptions,
    spec: ModelSpec,
    tries: Sequence[tuple[tuple[int, int], int]] | None = None,
    photographs: Sequence[Path] | None = None,
) -> list[Check]:
    """`check_file` of something that runs already; `name` is what to call it in an error."""
    if tries is None:
        sizes = [spec.input_size, *([_other_size(spec)] if spec.dynamic_size else [])]
        batches = (1, 2) if spec.batch is None else (spec.batch,)
        tries = [(size, batch) for size in sizes for batch in batches]
    thresholds: dict[str, Any] = {
        "conf": options.conf, "iou": options.iou, "max_det": options.max_det,
    }  # fmt: skip
    # What the weights were rounded to. Of int8 only gross errors are caught here.
    precision = "fp16" if options.half_weights else spec.precision
    quantised = precision == "int8"
    measures: dict[tuple[int, int], Measure] = {}
    checks = []
    for size, batch in tries:
        shown, images = _images(size, photographs)
        canvases = canvas_batch(images, size, spec.contract.input.resize)
        if size not in measures:
            kind = "fp32" if quantised else precision
            measures[size] = reference.measure(canvases, kind, **thresholds)
        source = measures[size]
        agreement = compare(source.expected, run(runner, canvases, batch), **thresholds)
        rounding = None if quantised else source.rounding
        checks.append(Check(shown, size, batch, agreement, rounding, source.against))
    for check in checks:
        judge(name, check, precision, options.max_det)
    return checks


def judge(name: str, check: Check, precision: str, max_det: int) -> None:
    """Raise VerificationError unless the check is within its tolerance; NaN never is."""
    own = check.rounding
    tolerance = TOLERANCES[precision] if own is None else measured(precision, own)
    said = complaints(check.agreement, tolerance, max_det)
    if said:
        figures = (
            f"; the source's own rounding ({precision}, against {check.against}): boxes "
            f"{own.boxes_max:.3g}, scores {own.scores_max:.3g}"
            if own is not None
            else ""
        )
        raise VerificationError(
            f"{name} differs from its source ({check.shown}, size {check.size}, "
            f"batch {check.batch}): {'; '.join(said)}{figures}. The file was not kept"
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
