"""`yolov4sdk detect`: objects in image files; videos and streams go on to detect_video.py."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ..detector import Detector
from ..errors import SettingError
from ..imaging.sources import Found, search
from ..system.option import options_of
from .declared import Looking, Reporting, Running
from .detect_images import Results, detect_images
from .detect_video import all_streams, detect_streams
from .effects import EffectOptions, Effects
from .signature import accepts, taken

FORMATS: Final = ("image", "json", "yolo", "csv")
STORES: Final = ("s3://", "gs://", "hdfs://")
_DETECTOR: Final = [o for kind in (Running, Reporting, Looking) for o in options_of(kind)]


@accepts(Running, Reporting, Looking, EffectOptions)
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
    stride: Annotated[int, typer.Option(help="Of videos, every n-th frame.")] = 1,
    show: Annotated[bool, typer.Option("--show", help="Show videos in a window.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for a live source to start.")] = 10.0,
    ray: Annotated[
        bool, typer.Option("--ray", help="On the Ray cluster at RAY_ADDRESS, or on this machine.")
    ] = False,
    partition: Annotated[int, typer.Option(help="With --ray: images a result file.")] = 256,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results of an earlier run, nothing else.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    *,
    given: dict[str, Any],
) -> None:
    """Detect objects in images or videos.

    Broken images are reported; the others are finished. No file is replaced, but with --overwrite
    the results of an earlier run. Of a video, `image` is an annotated video,
    `json` a file of JSON lines, one a frame. Live sources run until Ctrl-C, which ends the files
    well.
    """
    wanted_effects = EffectOptions(**taken(given, EffectOptions))
    options = {o.name: o.default for o in _DETECTOR} | given
    if ray:
        from .detect_ray import detect_ray

        if show or replace(wanted_effects, boxes=True) != EffectOptions():
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
    found = Found() if video else search(sources, allow_urls=True)
    results = None if video else Results(output, wanted, found, overwrite)
    detector = Detector(model, allow_urls=video or bool(found.urls), **options)
    make_effects = partial(Effects, detector.names, wanted_effects, options["classes"])
    if results is None:
        with detector:
            detect_streams(
                detector, sources, output, wanted, make_effects,
                as_json=as_json, show=show, overwrite=overwrite, stride=stride, timeout=timeout,
            )  # fmt: skip
        return
    with detector:
        detect_images(detector, found, results, make_effects(), output=output, as_json=as_json)
