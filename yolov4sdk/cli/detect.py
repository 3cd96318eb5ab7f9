"""`yolov4sdk detect`: objects in image files; videos and streams go on to detect_video.py."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ..backends import TABLE
from ..detector import Detector
from ..errors import SettingError
from ..imaging.sources import Found, search
from .detect_images import Results, detect_images
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
    backend: Annotated[str | None, typer.Option(help=f"{', '.join(TABLE)}.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")] = None,
    size: Annotated[int | None, typer.Option(help="Long side of the network input.")] = None,
    conf: Annotated[str, typer.Option(help="Least score, also by class: 0.3,person=0.4.")] = "0.25",
    iou: Annotated[
        float | None, typer.Option(help="Overlap above which the lesser box goes (0.45).")
    ] = None,
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results of an earlier run, nothing else.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Detect objects in images or videos.

    Broken images are reported; the others are finished. No file is replaced, but with --overwrite
    the results of an earlier run. Of a video, `image` is an annotated video,
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
    found = Found() if video else search(sources, allow_urls=True)
    results = None if video else Results(output, wanted, found, overwrite)
    detector = Detector(model, allow_urls=video or bool(found.urls), **options)
    make_effects = partial(
        Effects, detector.names, parse_classes(classes), region=region or (), ignore=ignore or (),
        ignore_mask=ignore_mask, blur=blur, pixelate=pixelate, track=track, boxes=boxes,
    )  # fmt: skip
    if results is None:
        with detector:
            detect_streams(
                detector, sources, output, wanted, make_effects,
                as_json=as_json, show=show, overwrite=overwrite, stride=stride, timeout=timeout,
            )  # fmt: skip
        return
    with detector:
        detect_images(detector, found, results, make_effects(), output=output, as_json=as_json)
