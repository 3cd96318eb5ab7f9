"""Detection in many images on many machines: `yolov4sdk detect ... --ray`.

Ray's tasks read, Ray's actors detect, and only this process writes: a partition's file appears
whole, when all its rows have come. What is written is never computed again, what is not is
computed again from its inputs; so a machine that dies loses time and nothing else.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.version import Version

from ..errors import BackendError, MissingExtraError, OutputError, SettingError, YOLOv4Error
from ..system.files import atomic_write, check_new_files, sha256
from ..system.text import first_line
from ..system.version import __version__
from .batch_predictor import BatchPredictor
from .partitions import Inputs, Partition, fingerprint

if TYPE_CHECKING:
    import pyarrow

FORMATS: Final = ("parquet", "jsonl")
JOB_FILE: Final = "job.json"
LEAST_RAY: Final = "2.44"
CONNECT_SECONDS: Final = 10.0
READER_CPUS: Final = 0.1
"""Of a processor: a reader waits for the disk or the network."""
ROUNDS: Final = 3
"""Attempts without a single new partition before the job gives up."""


@dataclass(frozen=True)
class Summary:
    """What a job did.

    Attributes:
        images: with a row in the output, of all partitions.
        failed: images among them with an error instead of boxes.
        partitions: result files.
        skipped: of them, finished by an earlier run.
    """

    images: int
    failed: int
    partitions: int
    skipped: int

    def to_dict(self) -> dict[str, int]:
        """For JSON."""
        return asdict(self)


def detect_with_ray(
    sources: Sequence[str],
    output: str | Path,
    *,
    model: Any = None,
    format: str = "parquet",
    partition: int = 256,
    actors: int | None = None,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Summary:
    """Detect objects in images on a Ray cluster; results in `output`/part-00000.parquet, ...

    The cluster is the one that RAY_ADDRESS names or that runs here; without one, this machine.
    A second run with the same inputs and options goes on where the first was stopped.

    Args:
        sources: see `yolov4sdk.cluster.partitions.Inputs`; local files must be readable on every
            node.
        output: a folder of this process.
        model: a path readable on every node, an address, or None for the embedded default.
        format: "parquet" or "jsonl".
        partition: images a result file.
        actors: models that are loaded; default: one a GPU, without GPUs one for `threads`
            processors.
        threads: processors of each, without GPUs.
        progress: called with the partitions that are finished and all of them.
        options: of `Detector`.

    Raises:
        ImageNotFoundError: nothing to read; images that are broken have an error in their row.
        SettingError: options, or an output folder that holds another job's results.
        OutputError: results cannot be written; those of finished partitions are kept.
        BackendError: no cluster, or one that died; another run goes on from there.
        MissingExtraError: Ray is not installed, or too old.
    """
    if format not in FORMATS:
        raise SettingError(f"with Ray the formats are {', '.join(FORMATS)}, got {format!r}")
    if threads < 1 or (actors is not None and actors < 1):
        raise SettingError("actors and threads are at least 1")
    ray = _ray()
    inputs = Inputs(sources)
    partitions = inputs.partitions(partition)
    BatchPredictor(model, **options).detector.close()  # what is wrong with it is told here
    output = Path(output)
    writer = _Writer(output, format)
    job = _job(model, partitions, format, options)
    writer.check(job)
    left, fruitless = [p for p in partitions if not writer.path(p.number).exists()], 0
    skipped = len(partitions) - len(left)
    if left:
        _connect(ray)
        writer.claim(job)
    while left:
        lost = _attempt(
            _rows(ray, inputs, left, model, actors, threads, options),
            writer,
            {p.number: p.rows for p in left},
            lambda: progress and progress(writer.written + skipped, len(partitions)),
        )
        writer.forget()
        before = len(left)
        left = [p for p in left if not writer.path(p.number).exists()]
        fruitless = fruitless + 1 if len(left) == before else 0
        if left and (fruitless >= ROUNDS or not _alive(ray)):
            reason = lost or "rows are missing"
            done = f"{writer.written + skipped} of {len(partitions)} partitions are in {output}"
            raise BackendError(
                f"the Ray cluster was lost ({reason}); {done}; run the command again to go on"
            )
    return writer.summary(partitions, skipped)


def _attempt(
    rows: Iterator[pyarrow.Table],
    writer: _Writer,
    expected: dict[int, int],
    told: Callable[[], Any],
) -> str | None:
    """Write what comes until all has come (None), or until the cluster fails: why.

    The error itself must not outlive this call: its frames hold the actors that are still alive,
    and these the processors that the next attempt needs.
    """
    reason: str | None = None
    try:
        for table in rows:
            writer.add(table, expected)
            told()
    except (YOLOv4Error, KeyboardInterrupt):
        raise
    except Exception as error:  # Ray's errors share no base class that says what died
        _raise_own(error)
        reason = first_line(error)
    del rows
    gc.collect()
    return reason


class _Writer:
    """Rows, as they come, to one whole file a partition."""

    def __init__(self, output: Path, format: str) -> None:
        self._output, self._format = output, format
        self._waiting: dict[int, list[pyarrow.Table]] = {}
        self.written = 0

    def path(self, number: int) -> Path:
        """The result file of a partition."""
        return self._output / f"part-{number:05d}.{self._format}"

    def check(self, job: dict[str, Any]) -> None:
        """Refuse a folder that holds another job's results."""
        file = self._output / JOB_FILE
        if not file.exists():
            # without it they are not an earlier run's: they would count as finished
            check_new_files(sorted(self._output.glob(f"part-*.{self._format}"))[:1])
            return
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SettingError(f"{file} is damaged; give an empty folder") from error
        differ = sorted(key for key in job if there.get(key) != job[key])
        if differ:
            raise SettingError(
                f"{self._output} holds results of another job ({', '.join(differ)} differ); "
                "give another folder"
            )

    def claim(self, job: dict[str, Any]) -> None:
        """Write what the results of this folder depend on."""
        text = json.dumps(job, indent=1) + "\n"
        self._write(self._output / JOB_FILE, lambda path: path.write_text(text, encoding="utf-8"))

    def add(self, table: pyarrow.Table, expected: dict[int, int]) -> None:
        """Take rows of any partitions; write those that are complete.

        Args:
            expected: rows of each partition.
        """
        import pyarrow.compute as pc

        for number in pc.unique(table["partition"]).to_pylist():
            tables = self._waiting.setdefault(number, [])
            tables.append(table.filter(pc.equal(table["partition"], number)))
            if sum(t.num_rows for t in tables) == expected[number]:
                self._finish(number, tables)
                del self._waiting[number]

    def forget(self) -> None:
        """Drop rows of partitions that did not become complete."""
        self._waiting.clear()

    def _finish(self, number: int, tables: list[pyarrow.Table]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        whole = pa.concat_tables(tables).sort_by("index")
        if whole["index"].to_pylist() != list(range(whole.num_rows)):
            raise BackendError(f"rows of partition {number} came twice; run the command again")
        results = whole.drop_columns(["partition", "index"])

        def write(path: Path) -> None:
            if self._format == "parquet":
                parquet.write_table(results, path)
                return
            with path.open("w", encoding="utf-8") as file:
                for entry in results.to_pylist():
                    file.write(json.dumps(entry, ensure_ascii=False) + "\n")

        self._write(self.path(number), write)
        self.written += 1

    def _write(self, path: Path, write: Callable[[Path], Any]) -> None:
        try:
            with atomic_write(path) as temporary:
                write(temporary)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else first_line(error)
            raise OutputError(
                f"{path} cannot be written: {reason}; finished partitions are kept, and the same "
                "command goes on once there is room"
            ) from error

    def summary(self, partitions: list[Partition], skipped: int) -> Summary:
        """Counted from the files."""
        failed = 0
        for p in partitions:
            failed += _errors(self.path(p.number))
        return Summary(sum(p.rows for p in partitions), failed, len(partitions), skipped)


def _errors(path: Path) -> int:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        column = parquet.read_table(path, columns=["error"])["error"]
        return int(len(column) - column.null_count)
    with path.open(encoding="utf-8") as file:
        return sum(json.loads(line)["error"] is not None for line in file)


def _rows(
    ray: Any,
    inputs: Inputs,
    partitions: list[Partition],
    model: Any,
    actors: int | None,
    threads: int,
    options: dict[str, Any],
) -> Iterator[pyarrow.Table]:
    """Tables of result rows, in any order, from the nodes that are alive now."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    resources = ray.cluster_resources()
    gpus = 0 if options.get("device") == "cpu" else int(resources.get("GPU", 0))
    cpus = int(resources.get("CPU", 1))
    settings: dict[str, Any] = {}
    arguments = {"model": model, **options}
    if gpus:
        settings |= {"num_gpus": 1, "num_cpus": 1 - READER_CPUS}
        arguments |= {"device": "cuda"}
    else:
        settings |= {"num_cpus": threads * (1 - READER_CPUS)}
        arguments |= {"threads": threads}
    pool = actors or gpus or max(1, cpus // threads)
    images = ray.data.from_items(
        [p.to_dict() for p in partitions], override_num_blocks=len(partitions)
    ).map_batches(
        inputs.reader(), batch_size=1, batch_format="numpy", num_cpus=READER_CPUS
    )  # fmt: skip
    warnings.filterwarnings("ignore", message=".*ray_remote_args.*")  # `max_restarts`, below
    found = images.map_batches(
        BatchPredictor,
        fn_constructor_kwargs=arguments,
        batch_size=options.get("batch", 8),
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=pool),
        max_restarts=0,  # a restart could wait for a machine that never comes
        **settings,
    )
    yield from found.iter_batches(batch_size=None, batch_format="pyarrow")


def _job(
    model: Any, partitions: list[Partition], format: str, options: dict[str, Any]
) -> dict[str, Any]:
    """What decides the rows, to be compared by a later run."""
    named = model if model is None or "://" in str(model) else sha256(model)
    job = {
        "sdk_version": __version__,
        "model": named,
        "inputs": fingerprint(partitions),
        "format": format,
        "options": {key: options[key] for key in sorted(options) if key not in ("batch", "device")},
    }
    read: dict[str, Any] = json.loads(json.dumps(job, default=str))  # as it will be compared
    return read


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would send reports
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("Detection with Ray", "ray", "ray[data]") from error
    if Version(ray.__version__) < Version(LEAST_RAY):
        raise MissingExtraError(f"Ray {ray.__version__} is too old, {LEAST_RAY} or newer", "ray")
    return ray


def _connect(ray: Any) -> None:
    """Join the cluster of RAY_ADDRESS or of this machine, or make one here."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if port.isdigit():  # Ray itself tries for minutes
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    except Exception as error:  # a version that differs, an address without a cluster
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BackendError(
            f"the Ray cluster at {address or 'this machine'} cannot be joined: {reason}"
        ) from error


def _alive(ray: Any) -> bool:
    try:
        return any(node["Alive"] for node in ray.nodes())
    except Exception:  # the head itself is gone
        return False


def _raise_own(error: Exception) -> None:
    """Raise the error of the SDK inside one of Ray's: another attempt would not help."""
    seen: BaseException | None = error
    while seen is not None:
        for inner in (seen, getattr(seen, "cause", None)):
            if isinstance(inner, YOLOv4Error):
                raise BackendError(f"on a node: {first_line(inner)}") from error
        seen = seen.__cause__
