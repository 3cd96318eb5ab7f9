"""The first runs of a loaded model, and whether its outputs are those that its spec names."""

from __future__ import annotations

import numpy as np

from yolov4sdk import Detector
from yolov4sdk.backends import Outputs
from yolov4sdk.contract.contract import output_shapes
from yolov4sdk.errors import SpecError


def warm_up(detector: Detector, batch_size: int) -> None:
    """Run a model in the forms that requests take: runtimes allocate and choose kernels then.

    Raises:
        SpecError: its outputs are not those that its spec names.
    """
    height, width = detector.size
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    check_outputs(detector, detector.run_canvases(noise[None]))
    detector(noise[: max(1, height * 9 // 16)])  # a canvas of its own for graphs of any size
    # a GPU's kernels are chosen for each size of batch; those of a processor are the same for all
    detector([noise] * (2 if detector.backend.device == "cpu" else batch_size))


def check_outputs(detector: Detector, outputs: Outputs) -> None:
    """Compare the outputs of one canvas with the spec.

    Raises:
        SpecError: a wrong number of columns, rows or outputs, or numbers that are none.
    """
    spec, problem = detector.spec, ""
    for name, (rows, *rest) in output_shapes(spec.contract, detector.size).items():
        array = getattr(outputs, name)
        if array is None or array.shape[2:] != tuple(rest) or rows not in (-1, array.shape[1]):
            got = None if array is None else array.shape[1:]
            problem = f"{name} have the shape {got}, expected {(rows, *rest)} for an image"
            break
        if not np.isfinite(array).all():
            problem = f"{name} are NaN or infinite for an image of noise"
    ids = outputs.class_ids
    if not problem and ids is not None and ids.size and int(ids.max()) >= spec.nc:
        problem = f"the class id {int(ids.max())} has no name; there are {spec.nc}"
    if problem:
        raise SpecError(f"the model's outputs do not fit its spec: {problem}; export it again")
