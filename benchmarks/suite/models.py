"""Full-size networks with random weights in every form, made once and kept in a folder.

Batch normalisation is calibrated on drawn pictures, so that activations have the spread of a
trained network's. All graphs take any batch; runtimes are told the one they get.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import openvino
import torch

import export
import yolov4sdk.models
from export import int8_openvino
from export.calibration import CalibrationSet
from export.onnx_export import write_onnx
from export.openvino_export import write_openvino
from export.options import ExportOptions
from yolov4sdk.backends.artefacts import read_spec
from yolov4sdk.contract.spec import METADATA_KEY
from yolov4sdk.models import build_model
from yolov4sdk.models.checkpoints import load_checkpoint, save_checkpoint
from yolov4sdk.models.summary import gflops

from ..calibrated import calibrated

PHOTOGRAPHS: Final = Path(__file__).parents[2] / "examples" / "images"
RAW: Final = ExportOptions(float_input=True, raw_outputs=True)
"""The form of graphs that are compared with networks in other runtimes."""
LARGE: Final = 500e9
"""Operations an image above which a model is not quantised: calibration needs the memory of all
activations at once."""


def prepared(name: str, size: int, cache: Path, *forms: str) -> dict[str, Path]:
    """Files of a built-in model at a square size; those that are missing are made, one by one.

    Args:
        forms: those that are needed; none names all.

    Returns:
        "torch" (.safetensors), "plain" (ONNX without help: Softplus-Tanh-Mul, nothing folded),
        "onnx" (ours), "openvino" (.xml) and, unless the model is large, "int8" (.xml).
    """
    folder = cache / _sources() / f"{name}-{size}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "torch.safetensors"
    if not path.exists():
        _put(path, lambda temporary: save_checkpoint(calibrated(name, (size, size)), temporary))
    options = replace(RAW, size=(size, size), batch=None)
    files = {"torch": path}
    writers: dict[str, Callable[[Path], Any]] = {
        "plain.onnx": lambda to: _onnx(path, to, options, mish="softplus", folded=False),
        "onnx.onnx": lambda to: _onnx(path, to, options),
        "openvino.xml": lambda to: _openvino(path, to, options),
    }
    if work(name, size) <= LARGE:
        writers["int8.xml"] = lambda to: _int8(folder / "openvino.xml", to)
    for file, write in writers.items():
        if forms and Path(file).stem not in forms:
            continue
        files[Path(file).stem] = folder / file
        if not (folder / file).exists():
            _put(folder / file, write)
    return files


def prepared_for_one(name: str, size: int, cache: Path) -> dict[str, Path]:
    """`prepared`, with graphs of batch 1 as an export gives them unless told otherwise."""
    files = prepared(name, size, cache)
    single = {"torch": files["torch"]}
    single["onnx"] = exported(files["torch"], replace(RAW, size=(size, size)), "batch1.onnx")
    for form in {"openvino", "int8"} & set(files):
        single[form] = files[form].with_name(f"{form}-batch1.xml")
        if not single[form].exists():
            _put(single[form], partial(_fix_batch, files[form], (1, 3, size, size)))
    return single


def _fix_batch(source: Path, shape: tuple[int, ...], path: Path) -> None:
    graph = openvino.Core().read_model(source)
    graph.reshape(list(shape))
    spec = read_spec(source).replace(batch=shape[0])
    graph.set_rt_info(spec.to_json(), METADATA_KEY.split("."))
    openvino.save_model(graph, path, compress_to_fp16=False)


def work(name: str, size: int) -> float:
    """Operations of a built-in model for one image of a square size."""
    with torch.device("meta"):
        return 1e9 * gflops(build_model(name), (size, size))


def with_classes(name: str, size: int, classes: int, cache: Path) -> Path:
    """Our ONNX file of a model with another number of classes and fresh weights."""
    path = cache / _sources() / f"{name}-{size}-{classes}-classes.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        model = build_model(name, [f"class {i}" for i in range(classes)]).eval()
        options = replace(RAW, size=(size, size), batch=None)
        spec = options.artefact_spec(model.spec, "benchmark")
        _put(path, lambda to: write_onnx(model, to, options, spec))
    return path


def exported(checkpoint: Path, options: ExportOptions, name: str) -> Path:
    """Our ONNX file of another form, beside the checkpoint."""
    path = checkpoint.with_name(name)
    if not path.exists():
        _put(path, lambda to: _onnx(checkpoint, to, options))
    return path


def _put(path: Path, write: Callable[[Path], Any]) -> None:
    """Written in a folder beside its place, then moved: what is interrupted leaves nothing."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        write(Path(folder) / path.name)
        weights = (Path(folder) / path.name).with_suffix(".bin")
        for written in (weights, Path(folder) / path.name):
            if written.exists():
                written.rename(path.with_name(written.name))


def _onnx(checkpoint: Path, path: Path, options: ExportOptions, **form: Any) -> None:
    model = load_checkpoint(checkpoint).eval()
    write_onnx(model, path, options, options.artefact_spec(model.spec, "benchmark"), **form)


def _openvino(checkpoint: Path, path: Path, options: ExportOptions) -> None:
    source = path.with_name("operator.onnx")
    _onnx(checkpoint, source, options, mish="operator", mish_first=True)
    write_openvino(source, path, read_spec(source))


def _int8(source: Path, path: Path) -> None:
    spec = read_spec(source).replace(precision="int8")
    images = CalibrationSet.of(PHOTOGRAPHS, "train", spec)
    int8_openvino.quantise(source, path, images, "minmax", spec)


def _sources() -> str:
    """A name for the code that writes the files: another one's are not used."""
    digest = hashlib.sha256()
    for package in (export, yolov4sdk.models):
        assert package.__file__ is not None
        for path in sorted(Path(package.__file__).parent.rglob("*")):
            if path.suffix in {".py", ".yaml"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
