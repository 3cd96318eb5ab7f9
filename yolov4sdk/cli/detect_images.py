"""`yolov4sdk detect` for image files: pictures, labels and tables of what was found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

import typer
from rich.console import Console

from ..detections import Detections
from ..detector import Detector
from ..errors import ImageError
from ..imaging.draw import write_image
from ..imaging.images import SUFFIXES, public_url
from ..imaging.sources import Found
from ..imaging.tables import columns, rows
from ..system.files import printable
from ..system.outputs import OutputFiles, result_names
from .console import failed, messages, print_json, progress_bar
from .effects import Effects

Source = Path | str
"""A file, or the address of an image."""

SHOWN: Final = 20
"""Images whose counts are printed."""


class Results:
    """The files of one run over images, each named after its source.

    Args:
        formats: of "image", "yolo", "json" and "csv".
        found: all images.
        overwrite: whether results of an earlier run may be replaced.

    Raises:
        SettingError: a file is there already.
    """

    def __init__(self, output: Path, formats: Sequence[str], found: Found, overwrite: bool) -> None:
        sources: list[Source] = [*found.files, *found.urls]
        paths: list[Path] = [
            *found.files,
            *(Path(PurePosixPath(urlsplit(url).path).name) for url in found.urls),
        ]
        folders = {"image": (output, ".jpg"), "yolo": (output / "labels", ".txt")}
        chosen = {form: folders[form] for form in formats if form in folders}
        self._files = {
            source: {
                form: (folder / name).with_name(name.name + suffix)
                for form, (folder, suffix) in chosen.items()
            }
            for source, name in zip(sources, result_names(paths, SUFFIXES), strict=True)
        }
        tables = [output / f"detections.{form}" for form in ("json", "csv") if form in formats]
        self._tables = {table.suffix.lstrip("."): table for table in tables}
        files = [file for of_one in self._files.values() for file in of_one.values()]
        self._outputs = OutputFiles(output, [*files, *tables], found.files, overwrite)
        self._output = output
        self.records: list[dict[str, Any]] = []

    def write(self, source: Source, image: Any, found: Detections, effects: Effects) -> None:
        """Write what belongs to one image."""
        files = self._files[source]
        if file := files.get("image"):
            write_image(file, effects.draw(image, found), self._outputs.writing)
        if file := files.get("yolo"):
            self._write_text(file, found.to_yolo())
        results = {
            form: printable(file.relative_to(self._output).as_posix())
            for form, file in files.items()
        }
        named = {"file": _shown(source), **({"results": results} if results else {})}
        self.records.append({**named, **found.to_dict()})

    def write_tables(self, tracked: bool) -> None:
        """Write what belongs to all images."""
        if file := self._tables.get("json"):
            # an image a line: with `indent` Python's own encoder would take four times as long
            lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in self.records)
            self._write_text(file, f"[\n{lines}\n]\n")
        if file := self._tables.get("csv"):
            table = io.StringIO(newline="")
            writer = csv.writer(table)
            writer.writerow(["file", *columns(tracked)])
            for record in self.records:
                writer.writerows(
                    [record["file"], *row] for row in rows(record["detections"], tracked)
                )
            self._write_text(file, table.getvalue())

    def _write_text(self, path: Path, text: str) -> None:
        with self._outputs.writing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")


def detect_images(
    detector: Detector,
    found: Found,
    results: Results,
    effects: Effects,
    *,
    output: Path,
    as_json: bool,
) -> None:
    """Detect in all images and write the results; exit code 1 where some could not be read."""
    console = messages()
    sources: list[Source] = [*found.files, *found.urls]
    broken: list[tuple[Source, str]] = [
        (path, f"{path} cannot be read: {why}") for path, why in found.unreadable.items()
    ]
    with progress_bar("image", console) as progress:
        task = progress.add_task("detecting", total=len(sources))
        for path, image, result in detector.detect_each(sources, on_error="keep"):
            progress.advance(task)
            if image is None or isinstance(result, ImageError):
                broken.append((path, str(result)))
                continue
            image, result = effects(image, result)
            results.write(path, image, result, effects)
    results.write_tables(effects.tracks)
    if as_json:
        lost = [{"file": _shown(path), "error": printable(why)} for path, why in broken]
        print_json({"images": results.records, "failed": lost, "skipped": found.notes()})
    else:
        _report(console, detector, results.records, output)
    for note in found.notes():
        console.print(printable(note))
    for _, reason in broken:
        failed(console, printable(reason))
    if broken:
        raise typer.Exit(1)


def _shown(source: Source) -> str:
    return public_url(source) if isinstance(source, str) else printable(source)


def _report(
    console: Console, detector: Detector, records: list[dict[str, Any]], output: Path
) -> None:
    for record in records[:SHOWN]:
        counts: dict[str, int] = {}
        for found in record["detections"]:
            counts[found["name"]] = counts.get(found["name"], 0) + 1
        text = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
        typer.echo(f"{record['file']}: {text}")
    if len(records) > SHOWN:
        typer.echo(f"... and {len(records) - SHOWN} more")
    console.print(f"{len(records)} images, {detector!r}, results in {printable(output)}")
