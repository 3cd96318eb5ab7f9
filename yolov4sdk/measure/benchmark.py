"""How fast artefacts are: the network and what surrounds it, apart, in alternating runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..backends import Backend, Outputs, load_backend
from ..contract.spec import ModelSpec
from ..errors import MissingExtraError, SettingError, YOLOv4Error
from ..imaging.synthetic import drawn_image
from ..pipeline import Pipeline
from ..results.thresholds import Thresholds
from ..system.files import atomic_write
from ..system.memory import resident_memory
from .timing import alternate

PARTS: Final = ("preprocess", "infer", "postprocess")


@dataclass(frozen=True)
class Case:
    """One thing to measure; `size` and `batch` None are the artefact's own."""

    model: Path
    backend: str | None = None
    precision: str | None = None
    batch: int | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Measurement:
    """What was measured of a case. Times are milliseconds of one batch.

    Attributes:
        model, backend, precision, batch, size: what really ran.
        preprocess, network, postprocess: medians; the network's are only the runtime's.
        p95, p99: of the network.
        throughput: images a second of the network, by its median.
        end_to_end: images a second of all three.
        memory: bytes that the process grew by when the model was loaded and run once; None where
            the system does not tell.
        share: of the machine's matrix rate in this precision, by the network's fastest run; None
            where either is not known. Winograd convolutions can exceed 1 in float32.
        ap: AP50-95, 0 to 1, where labels were given.
    """

    model: str
    backend: str
    precision: str
    batch: int
    size: tuple[int, int]
    preprocess: float
    network: float
    p95: float
    p99: float
    postprocess: float
    throughput: float
    end_to_end: float
    memory: int | None
    share: float | None
    ap: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Skipped:
    """A case that this machine or artefact does not allow, and why."""

    case: Case
    reason: str


class _Loaded:
    """A case ready to run, with one input that stays."""

    def __init__(self, case: Case, device: str, source: NDArray[np.uint8]) -> None:
        before = resident_memory()
        self.case = case
        self.backend: Backend = load_backend(case.model, case.backend, device, case.precision)
        try:
            spec = self.backend.spec
            self._pipeline = Pipeline(spec.contract, self.backend, size=case.size)
            self.batch, self.size = case.batch or spec.batch or 1, self._pipeline.size
            if spec.batch not in (None, self.batch):
                raise SettingError(f"the graph takes batches of {spec.batch}, not {self.batch}")
            self._images = [source] * self.batch
            self._plan = self._pipeline.plan((source.shape[0], source.shape[1]))
            self._thresholds = Thresholds().resolved(spec.names, spec.contract.output)
            self.input = self.preprocess()
            self.outputs = self.infer()
        except Exception:
            self.backend.close()
            raise
        after = resident_memory()
        self.memory = None if before is None or after is None else max(0, after - before)

    def preprocess(self) -> NDArray[Any]:
        """Letterbox and normalise a batch of the same picture."""
        return self._pipeline.prepare(self._images, [self._plan] * self.batch)

    def infer(self) -> Outputs:
        """Only the network."""
        return self._pipeline.run(self.input)

    def postprocess(self) -> None:
        """NMS and the way back to the picture's own pixels, of the batch that was found."""
        for row in range(self.batch):
            self._pipeline.finish(self.outputs, row, self._plan, self._thresholds)


def benchmark(
    cases: Sequence[Case],
    *,
    device: str = "cpu",
    rounds: int = 20,
    image_size: tuple[int, int] = (720, 1280),
    rates: dict[str, float] | None = None,
    accuracy: Callable[[Backend], float] | None = None,
) -> tuple[list[Measurement], list[Skipped]]:
    """Measure cases in turn, so that a slow moment of the machine slows all of them alike.

    Args:
        cases: what to measure; those that are not possible here are returned as skipped.
        device: for all of them.
        rounds: runs that count, of each; one more warms it up.
        image_size: (height, width) of the drawn picture that is letterboxed.
        rates: of this device, from `yolov4sdk.measure.ceiling`, for the share.
        accuracy: called with each case's backend; what it returns becomes `ap`.

    Raises:
        SettingError: no rounds.
    """
    if rounds < 1:
        raise SettingError(f"rounds must be at least 1, got {rounds}")
    source = drawn_image(image_size)
    ready: list[_Loaded] = []
    skipped: list[Skipped] = []
    try:
        for case in cases:
            try:
                ready.append(_Loaded(case, device, source))
            except YOLOv4Error as error:
                skipped.append(Skipped(case, str(error)))
        runs = {(i, part): getattr(item, part) for i, item in enumerate(ready) for part in PARTS}
        times = alternate(runs, rounds)
        found = []
        for i, item in enumerate(ready):
            seconds = {part: times[i, part] for part in PARTS}
            ap = accuracy(item.backend) if accuracy is not None else None
            found.append(_measurement(item, seconds, rates or {}, ap))
        return found, skipped
    finally:
        for item in ready:
            item.backend.close()


def _measurement(
    item: _Loaded,
    seconds: dict[str, list[float]],
    rates: dict[str, float],
    ap: float | None,
) -> Measurement:
    backend, network = item.backend, seconds["infer"]
    before, median, after = (float(np.median(seconds[part])) for part in PARTS)
    rate, work = rates.get(backend.precision), operations(backend.spec, item.size)
    share = None
    if rate is not None and work is not None:
        share = work * item.batch / min(network) / rate
    return Measurement(
        model=str(item.case.model),
        backend=backend.name,
        precision=backend.precision,
        batch=item.batch,
        size=item.size,
        preprocess=1e3 * before,
        network=1e3 * median,
        p95=1e3 * float(np.percentile(network, 95)),
        p99=1e3 * float(np.percentile(network, 99)),
        postprocess=1e3 * after,
        throughput=item.batch / median,
        end_to_end=item.batch / (before + median + after),
        memory=item.memory,
        share=share,
        ap=ap,
    )


def operations(spec: ModelSpec, size: tuple[int, int]) -> float | None:
    """Operations (2 x multiply-add) of the convolutions for one image; None without torch."""
    try:
        import torch

        from ..models import build_model
        from ..models.summary import gflops
    except ImportError:
        return None
    with torch.device("meta"):
        model = build_model(spec.architecture, spec.names, spec.anchors)
    return 1e9 * gflops(model, size)


def plot(measurements: Sequence[Measurement], path: Path) -> None:
    """Accuracy against the latency of the network, one point a measurement.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SettingError: no accuracy was measured.
    """
    known = [(m, m.ap) for m in measurements if m.ap is not None]
    if not known:
        raise SettingError("a plot of accuracy needs labels: give a data set with --data")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("A plot", "plot", "matplotlib") from error
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="network, ms an image", ylabel="AP50-95, 0 to 1", xscale="log")
    for m, ap in known:
        x = m.network / m.batch
        axes.plot([x], [ap], "o")
        label = f"{Path(m.model).stem}, {m.backend} {m.precision}, batch {m.batch}"
        axes.annotate(
            label, (x, ap), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8
        )
    axes.margins(x=0.3, y=0.15)  # room for the labels
    axes.grid(alpha=0.3)
    FigureCanvasAgg(figure)
    with atomic_write(path) as temporary:
        figure.savefig(temporary)
