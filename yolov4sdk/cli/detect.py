"""`yolov4sdk detect`: objects in image files; videos and streams go on to detect_video.py."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress

from ..detections import Detections
from ..detector import Detector
from ..errors import ImageError, SettingError
from ..imaging.draw import write_image
from ..imaging.images import read_image
from ..imaging.sources import expand
from ..system.files import atomic_write
from .detect_video import all_streams, detect_streams
from .effects import Effects
from .options import parse_classes, parse_conf

FORMATS: Final = ("image", "json", "yolo", "csv")
STORES: Final = ("s3://", "gs://", "hdfs://")


def detect(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders, globs; or videos, RTSP and HTTP URLs, camera numbers, "
            "- (stdin); with --ray also s3://bucket/prefix and Parquet files."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="A file or an address. Default: the embedded model."),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path(
        "out"
    ),
    formats: Annotated[
        str | None,
        typer.Option("--format", help="Of: image,json,yolo,csv; with --ray: parquet or jsonl."),
    ] = None,
    backend: Annotated[str | None, typer.Option(help="torch, onnxruntime or openvino.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")] = None,
    size: Annotated[int | None, typer.Option(help="Long side of the network input.")] = None,
    conf: Annotated[str, typer.Option(help="Least score, also by class: 0.3,person=0.4.")] = "0.25",
    iou: Annotated[float, typer.Option(help="Overlap above which the lesser box goes.")] = 0.45,
    max_det: Annotated[int, typer.Option(help="Boxes an image at most.")] = 300,
    classes: Annotated[str | None, typer.Option(help="Names or ids: person,dog,2.")] = None,
    agnostic: Annotated[bool, typer.Option(help="NMS across classes.")] = False,
    batch: Annotated[int, typer.Option(help="Images a run.")] = 8,
    tile: Annotated[
        int | None, typer.Option(help="Detect small objects in tiles of this many pixels.")
    ] = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Ask about larger and mirrored images too (slow).")
    ] = False,
    track: Annotated[
        bool, typer.Option("--track", help="Ids over frames, trails; images are frames in order.")
    ] = False,
    region: Annotated[
        list[str] | None, typer.Option(help='Only in this polygon: "x,y x,y x,y"; repeatable.')
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Not in this polygon; repeatable.")
    ] = None,
    ignore_mask: Annotated[
        Path | None, typer.Option(help="Not in the bright parts of this image.")
    ] = None,
    blur: Annotated[str | None, typer.Option(help="Classes to blur: person,car.")] = None,
    pixelate: Annotated[str | None, typer.Option(help="Classes to pixelate.")] = None,
    boxes: Annotated[
        bool, typer.Option("--boxes/--no-boxes", help="Draw boxes on the images.")
    ] = True,
    stride: Annotated[int, typer.Option(help="Of videos, every n-th frame.")] = 1,
    show: Annotated[bool, typer.Option("--show", help="Show videos in a window.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for a live source to start.")] = 10.0,
    ray: Annotated[
        bool, typer.Option("--ray", help="On the Ray cluster at RAY_ADDRESS, or on this machine.")
    ] = False,
    partition: Annotated[int, typer.Option(help="With --ray: images a result file.")] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Detect objects in images or videos.

    Broken images are reported; the others are finished. Of a video, `image` is an annotated video,
    `json` a file of JSON lines, one a frame. Live sources run until Ctrl-C, which ends the files
    well.
    """
    options: dict[str, Any] = {
        "backend": backend, "device": device, "precision": precision, "size": size,
        "conf": parse_conf(conf), "iou": iou, "max_det": max_det,
        "classes": parse_classes(classes), "agnostic": agnostic, "batch": batch, "tiles": tile,
        "tta": tta,
    }  # fmt: skip
    if ray:
        from .detect_ray import detect_ray

        if track or region or ignore or ignore_mask or blur or pixelate or show:
            raise SettingError(
                "--ray writes tables: it goes without tracks, regions, blur and --show"
            )
        detect_ray(sources, model, output, formats or "parquet", partition, options, as_json)
        return
    if stored := [s for s in sources if s.startswith(STORES) or s.endswith(".parquet")]:
        raise SettingError(
            f"{stored[0]}: buckets and Parquet files are read with --ray, which needs one machine "
            "only; or copy the images to a folder"
        )
    wanted = [f.strip() for f in (formats or "image").split(",")]
    if unknown := sorted(set(wanted) - set(FORMATS)):
        raise SettingError(f"no format {', '.join(unknown)}; there are {', '.join(FORMATS)}")
    video = all_streams(sources)
    paths = [] if video else expand(sources)
    detector = Detector(model, allow_urls=video, **options)
    make_effects = partial(
        Effects, detector.names, parse_classes(classes), region=region or (), ignore=ignore or (),
        ignore_mask=ignore_mask, blur=blur, pixelate=pixelate, track=track, boxes=boxes,
    )  # fmt: skip
    if video:
        with detector:
            detect_streams(
                detector, sources, output, wanted, make_effects,
                as_json=as_json, show=show, stride=stride, timeout=timeout,
            )  # fmt: skip
        return
    with detector:
        _detect_images(detector, paths, output, wanted, make_effects(), as_json, batch)


def _detect_images(
    detector: Detector,
    paths: list[Path],
    output: Path,
    wanted: list[str],
    effects: Effects,
    as_json: bool,
    batch: int,
) -> None:
    console = Console(stderr=True)
    targets = _target_names(paths)
    records: list[dict[str, Any]] = []
    broken: list[tuple[Path, str]] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("detecting", total=len(paths))
        for path, image, result in _run(detector, paths, batch):
            progress.advance(task)
            if isinstance(result, ImageError):
                broken.append((path, str(result)))
                continue
            image, result = effects(image, result)
            records.append({"file": str(path), **result.to_dict()})
            _write_one(wanted, output, targets[path], image, result, effects)
    _write_all(wanted, output, records)
    if as_json:
        failed = [{"file": str(path), "error": reason} for path, reason in broken]
        typer.echo(json.dumps({"images": records, "failed": failed}, ensure_ascii=False))
    else:
        _report(console, detector, records, output)
    for path, reason in broken:
        console.print(f"[red]failed[/] {path}: {reason}", highlight=False, soft_wrap=True)
    if broken:
        raise typer.Exit(1)


def _run(
    detector: Detector, paths: list[Path], batch: int
) -> Iterator[tuple[Path, Any, Detections | ImageError]]:
    """Path, pixels and detections of each image, or the error of one that cannot be read."""
    for start in range(0, len(paths), batch):
        good: list[tuple[Path, Any]] = []
        for path in paths[start : start + batch]:
            try:
                good.append((path, read_image(path)))
            except ImageError as error:
                yield path, None, error
        results = detector([image for _, image in good])
        for (path, image), result in zip(good, results, strict=True):
            yield path, image, result


def _target_names(paths: list[Path]) -> dict[Path, Path]:
    """A relative output path, without suffix, for each image: no two are the same."""
    common = os.path.commonpath([path.resolve().parent for path in paths])
    names: dict[Path, Path] = {}
    taken: set[Path] = set()
    for path in paths:
        relative = path.resolve().relative_to(common)
        name = relative.with_suffix("")
        if name in taken:  # dog.jpg beside dog.png
            name = relative.with_name(relative.name.replace(".", "_"))
        names[path] = name
        taken.add(name)
    return names


def _write_one(
    wanted: list[str],
    output: Path,
    name: Path,
    image: Any,
    result: Detections,
    effects: Effects,
) -> None:
    if "image" in wanted:
        write_image((output / name).with_name(name.name + ".jpg"), effects.draw(image, result))
    if "yolo" in wanted:
        labels = (output / "labels" / name).with_name(name.name + ".txt")
        _write_text(labels, result.to_yolo())


def _write_all(wanted: list[str], output: Path, records: list[dict[str, Any]]) -> None:
    if "json" in wanted:
        _write_text(
            output / "detections.json", json.dumps(records, indent=1, ensure_ascii=False) + "\n"
        )
    if "csv" in wanted:
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(["file", "name", "class_id", "score", "x1", "y1", "x2", "y2"])
        for record in records:
            for found in record["detections"]:
                row = [found["name"], found["class_id"], found["score"], *found["box"].values()]
                writer.writerow([record["file"], *row])
        _write_text(output / "detections.csv", table.getvalue())


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def _report(
    console: Console, detector: Detector, records: list[dict[str, Any]], output: Path
) -> None:
    for record in records[:20]:
        counts: dict[str, int] = {}
        for found in record["detections"]:
            counts[found["name"]] = counts.get(found["name"], 0) + 1
        text = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
        typer.echo(f"{record['file']}: {text}")
    if len(records) > 20:
        typer.echo(f"... and {len(records) - 20} more")
    console.print(
        f"{len(records)} images, {detector!r}, results in {output}", highlight=False, soft_wrap=True
    )
