"""An export is a plan: a list of steps, each of which does one thing to the files in work.

A format (`formats/`) says which steps. Whatever a plan needs is looked for when it is made, so that
a wrong option or a missing library is reported before the first step, not after minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import SettingError
from yolov4sdk.tensorrt.build_log import Progress

from .options import ExportOptions, Int8Options, Precision
from .sources import Source

if TYPE_CHECKING:
    from .check import Check
    from .int8 import Quantisation


@dataclass(frozen=True)
class Request:
    """What was asked for, sorted and checked.

    Attributes:
        source: what is exported.
        options: the form of the graph.
        spec: of the file that will be written.
        own: the options of the format itself, by their dataclass.
        int8: how to quantise, None where that is not asked for.
        progress: is told how far a long step is.
    """

    source: Source
    options: ExportOptions
    spec: ModelSpec
    own: dict[type, Any]
    int8: Int8Options | None = None
    progress: Progress | None = None

    def at(self, precision: Precision) -> tuple[ExportOptions, ModelSpec]:
        """Options and spec of the same graph in another precision."""
        return replace(self.options, precision=precision), self.spec.replace(precision=precision)


@dataclass
class Work:
    """What the steps hand on.

    Attributes:
        target: the main file, where it will be.
        folder: a temporary one beside it, in which the steps write.
        files: those to be kept, the main one last.
        held_out: images that it was not calibrated on, for the checks; None shows them others.
        checks: the comparisons so far.
        quantisation, engine: reports of their steps.
    """

    target: Path
    folder: Path
    files: tuple[Path, ...] = ()
    held_out: tuple[Path, ...] | None = None
    checks: list[Check] = field(default_factory=list)
    quantisation: Quantisation | None = None
    engine: EngineReport | None = None

    @property
    def path(self) -> Path:
        """The main file in the temporary folder."""
        return self.folder / self.target.name


@dataclass(frozen=True)
class EngineReport:
    """What was built.

    Attributes:
        title: of the library, with its version.
        capabilities: compute capabilities the engine runs on.
        kernels: layers that start something on the device.
        layers: how many of these in which precision.
        convolutions: how many in which precision.
        seconds: of the build.
        ran: whether the engine itself was run and compared here; without a GPU only the graph was.
    """

    title: str
    capabilities: tuple[str, ...]
    kernels: int
    layers: dict[str, int]
    convolutions: dict[str, int]
    seconds: float
    ran: bool


class Step(NamedTuple):
    """One thing to do."""

    name: str
    run: Callable[[Work], None]


class Format:
    """What an export can write; a subclass in `formats/` says how.

    Attributes:
        name: as `--engine` says it.
        suffix: of the main file.
        precisions: those it can be written in; `precision` is the usual one.
        kinds: dataclasses of options that only it takes, besides `ExportOptions`.
        is_graph: whether the form of its inputs and outputs can be chosen.
        qdq: what a quantised ONNX graph on the way to it is made for.
    """

    name: str
    suffix: str
    precisions: tuple[Precision, ...] = ("fp32",)
    precision: Precision = "fp32"
    kinds: tuple[type, ...] = ()
    is_graph: bool = True
    qdq: str = "cpu"

    def require(self) -> None:
        """Raise MissingExtraError where a library that it needs is not installed."""

    def implied(self, source: ModelSpec, own: dict[type, Any]) -> dict[str, Any]:
        """Fields of `ExportOptions` that follow from its own options."""
        return {}

    def check_options(self, options: ExportOptions) -> None:
        """Raise SettingError for a form of the graph that it cannot have."""
        if options.half_weights:
            raise SettingError(
                f"half_weights is for ONNX files; {self.name} keeps what its precision asks for"
            )

    def steps(self, request: Request) -> list[Step]:
        """What has to be done to write it, up to its checks."""
        raise NotImplementedError


def plan(format: Format, request: Request) -> list[Step]:
    """All steps of an export."""
    return [*format.steps(request), Step("place", _place)]


def check_step(request: Request) -> Step:
    """Compare the main file with the source."""

    def check(work: Work) -> None:
        from .check import check_file

        work.checks += check_file(
            work.files[-1], request.source.reference(), request.options, request.spec,
            photographs=work.held_out,
        )  # fmt: skip

    return Step("check", check)


def record_step(request: Request) -> Step:
    """Write the figures of the check into the main file, .onnx or .xml."""

    def write(work: Work) -> None:
        from .record import record

        record(work.files[-1], request.spec, work.checks)

    return Step("record", write)


def quantise_step(request: Request, kind: str) -> Step:
    """Replace the float files by quantised ones; `kind` is "onnx" or "openvino".

    What calibrates and judges is read now, before any work.
    """
    from .int8 import Quantiser

    assert request.int8 is not None
    quantiser = Quantiser(kind, request.int8, request.spec)

    def quantise(work: Work) -> None:
        work.files, work.quantisation = quantiser.write(work.files[-1], work.folder / "int8")
        work.held_out = quantiser.calibration.held_out

    return Step("quantise", quantise)


def _place(work: Work) -> None:
    """Rename the files to where they belong: a reader never sees half a file."""
    work.files = tuple(file.replace(work.target.parent / file.name) for file in work.files)
