"""`yolov4sdk detect` for videos, cameras and network streams."""

from __future__ import annotations

import csv
import itertools
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from ..detector import Detector
from ..errors import SettingError, VideoError
from ..imaging.tables import columns, rows
from ..imaging.window import Window
from ..streams.stream_sources import is_stream
from ..streams.streaming import Frame, Stream
from ..streams.video_writer import VideoWriter
from ..system.files import printable
from ..system.outputs import OutputFiles, Writing
from .console import messages, print_json, progress_bar
from .effects import Effects


def all_streams(sources: list[str]) -> bool:
    """Whether the sources are videos and the like; False where all are images.

    Raises:
        SettingError: some are, some are not.
    """
    streams = [source for source in sources if is_stream(source)]
    if streams and len(streams) < len(sources):
        raise SettingError(
            f"{', '.join(streams)}: videos and images go into separate runs; here both were given"
        )
    return bool(streams)


def detect_streams(
    detector: Detector,
    sources: list[str],
    output: Path,
    formats: list[str],
    make_effects: Callable[..., Effects],
    *,
    as_json: bool,
    show: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Detect in all sources at once and write videos, JSON lines and a CSV table.

    Args:
        detector: its classes and thresholds are used.
        sources: as `Detector.stream` takes them.
        output: folder of the results.
        formats: of "image" (an annotated video), "json" (lines) and "csv".
        make_effects: blurring, regions and tracks of one source, whose `rate` it takes.
        as_json: print each frame's record as a line of JSON.
        show: open a window for each source.
        overwrite: replace results of an earlier run.
        **options: of `Detector.stream`.
    """
    if "yolo" in formats:
        raise SettingError("--format yolo is for images; for videos there are image, json, csv")
    tracked = make_effects().tracks  # a wrong option is told now, not at the first frame
    effects: dict[int, Effects] = {}
    console = messages()
    started, frames, boxes = time.monotonic(), 0, 0
    with ExitStack() as stack:
        stream = stack.enter_context(detector.stream(sources, **options))
        results = _Results(stack, stream, output, formats, show, overwrite, tracked)
        progress = stack.enter_context(progress_bar("frame", console))
        task = progress.add_task("detecting", total=None)
        for frame in stack.enter_context(_between_frames(stream)):
            if (index := frame.source_index) not in effects:  # now its source's rate is known
                known = stream.sources[index].rate
                effects[index] = make_effects(**({"rate": float(known)} if known else {}))
            image, found = effects[index](frame.image, frame.detections, frame.time)
            frame = replace(frame, image=image, detections=found)
            frames, boxes = frames + 1, boxes + len(frame.detections)
            progress.update(task, advance=1, total=_expected(stream, options.get("stride", 1)))
            if as_json:
                print_json(_record(frame))
            results.write(frame, effects[index])
            if not results.wanted:
                break
    for index, source in enumerate(stream.sources):
        video = f", in {results.targets[index].name}" if results.targets else ""
        counts = source.counts
        console.print(
            f"{printable(source.name)}: {counts.frames} frames, {counts.broken} broken ones "
            f"skipped, {counts.dropped} dropped, {counts.reconnects} reconnects{video}"
        )
    rate = frames / max(time.monotonic() - started, 1e-6)
    console.print(
        f"{boxes} boxes in {frames} frames, {rate:.1f} a second, {detector!r}, results in "
        f"{printable(output)}"
    )


@contextmanager
def _between_frames(stream: Stream) -> Iterator[Iterator[Frame]]:
    """The frames; Ctrl-C ends them while the next is waited for, never in the middle of one.

    It is remembered, too: Python drops a KeyboardInterrupt that is raised inside a destructor.
    """
    pressed = waiting = False

    def handle(number: int, at: object) -> None:
        nonlocal pressed
        pressed = True
        if waiting:
            raise KeyboardInterrupt

    def frames() -> Iterator[Frame]:
        nonlocal waiting
        while not pressed:
            waiting = True
            try:
                frame = next(stream, None)
            finally:
                waiting = False
            if frame is None:
                return
            yield frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield frames()
    finally:
        signal.signal(signal.SIGINT, before)


class _Results:
    """Videos, tables and windows; all are closed by the stack."""

    def __init__(
        self,
        stack: ExitStack,
        stream: Stream,
        output: Path,
        formats: list[str],
        show: bool,
        overwrite: bool,
        tracked: bool,
    ) -> None:
        self._stack, self._stream, self._tracked = stack, stream, tracked
        self._videos: dict[int, VideoWriter] = {}
        self._windows: dict[int, Window] = {}
        self._show, self._draw = show, show or "image" in formats
        self.targets = _targets(output, stream) if "image" in formats else None
        tables = {"json": output / "detections.jsonl", "csv": output / "detections.csv"}
        wanted = {form: table for form, table in tables.items() if form in formats}
        sources = [source.name for source in stream.sources]
        files = [*(self.targets or ()), *wanted.values()]
        self._writing = OutputFiles(output, files, sources, overwrite).writing
        self._lines = self._table = None
        if "json" in wanted:
            self._lines = stack.enter_context(_text(self._writing, wanted["json"]))
        if "csv" in wanted:
            self._table = csv.writer(stack.enter_context(_text(self._writing, wanted["csv"])))
            self._table.writerow(["source", "frame", "time", *columns(tracked)])

    @property
    def wanted(self) -> bool:
        """Whether to go on: False when a window was closed."""
        return all(window.open for window in self._windows.values())

    def write(self, frame: Frame, effects: Effects) -> None:
        if self._lines:
            self._lines.write(json.dumps(_record(frame), ensure_ascii=False) + "\n")
        if self._table:
            record = _record(frame)
            start = [record["source"], record["frame"], record["time"]]
            self._table.writerows(
                [*start, *row] for row in rows(record["detections"], self._tracked)
            )
        if not self._draw:
            return
        picture, index = effects.draw(frame.image, frame.detections), frame.source_index
        if self.targets:
            if index not in self._videos:  # now its source's rate is known
                rate = self._stream.sources[index].rate
                writer = VideoWriter(self.targets[index], rate, self._writing)
                self._videos[index] = self._stack.enter_context(writer)
            self._videos[index].write(picture, frame.time)
        if self._show:
            if index not in self._windows:
                self._windows[index] = Window(frame.source, "--show")
                self._stack.callback(self._windows[index].close)
            self._windows[index].show(picture)


@contextmanager
def _text(writing: Writing, path: Path) -> Iterator[TextIO]:
    """A text file that gets its name at the end: also after Ctrl-C or a failed source."""
    stop: BaseException | None = None
    with (
        writing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        try:
            yield file
        except (KeyboardInterrupt, VideoError) as error:
            stop = error
    if stop is not None:
        raise stop


def _targets(output: Path, stream: Stream) -> list[Path]:
    """A video file for each source; no two are the same."""
    names: list[str] = []
    for source in stream.sources:
        stem = source.name if "://" in source.name else Path(source.name).stem
        name = re.sub(r"[^\w.-]+", "_", stem).strip("_.") or "video"
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        names.append(next(n for n in itertools.chain([name], numbered) if n not in names))
    return [output / f"{name}.mp4" for name in names]


def _expected(stream: Stream, stride: int) -> int | None:
    """Frames that will come; None where a source does not say."""
    lengths = [source.length for source in stream.sources]
    known = [-(-length // stride) for length in lengths if length]
    return sum(known) if len(known) == len(lengths) else None


def _record(frame: Frame) -> dict[str, Any]:
    time_stamp = None if frame.time is None else round(frame.time, 6)
    return {
        "source": printable(frame.source), "frame": frame.number, "time": time_stamp,
        **frame.detections.to_dict(),
    }  # fmt: skip
