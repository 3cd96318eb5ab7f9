"""The kinds of files that are changed: a good one of each, how it is changed, and who reads it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import onnx
import torch
import yaml

from export import export_model
from yolov4sdk.backends.artefacts import read_spec
from yolov4sdk.backends.onnxruntime_backend import OnnxRuntimeBackend
from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.datasets import load_dataset
from yolov4sdk.models import Model, build_model
from yolov4sdk.models.checkpoints import load_checkpoint, save_checkpoint
from yolov4sdk.models.darknet import import_darknet
from yolov4sdk.models.official import import_official
from yolov4sdk.tensorrt.options import Profile
from yolov4sdk.tensorrt.sidecar import Sidecar, read_sidecar

from ..support.foreign_checkpoints import foreign_tree, save
from ..tiny import make_micro
from .mutations import change_bytes, change_pickle, change_text, change_value, change_zip

CFG = """[net]
width=64
height=64
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=8
size=3
stride=1
pad=1
activation=mish
[shortcut]
from=-2
activation=linear
[maxpool]
size=2
stride=2
[route]
layers=-1
groups=2
group_id=1
[upsample]
stride=2
[route]
layers=-1,2
[maxpool]
size=2
stride=2
[convolutional]
filters=21
size=1
stride=1
pad=1
activation=linear
[yolo]
mask=0,1,2
anchors=4,5, 12,25, 48,36
classes=2
num=3
scale_x_y=1.05
"""
VALUES = (3 * 8 * 9 + 4 * 8) + (8 * 8 * 9 + 8) + (12 * 21 + 21)


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: of the good file in the folder of samples; others that belong to it lie beside it.
        change: from the good file's bytes to hostile ones.
        read: reads the file as users do, and checks what it got.
        weight: how often it is taken.
    """

    name: str
    change: Callable[[Random, bytes], bytes]
    read: Callable[[Path], Any]
    weight: int = 1


def make_samples(folder: Path) -> None:
    """A good file of each kind."""
    model = make_micro(["ant", "bee"])
    save({"model": foreign_tree(model), "best": np.float64(1)}, folder / "zip.pt")
    save({"model": foreign_tree(model), "epoch": 3}, folder / "stream.pt", zipped=False)
    torch.save({"state_dict": model.state_dict(), "maps": np.ones(3)}, folder / "state.pt")
    save_checkpoint(model, folder / "model.safetensors")
    export_model(model, "onnx", folder / "model.onnx", batch=None, dynamic=True)
    assert isinstance(model.spec.architecture, dict)
    (folder / "model.yaml").write_text(yaml.safe_dump(model.spec.architecture, sort_keys=False))
    (folder / "model.cfg").write_text(CFG)
    values = np.random.default_rng(0).uniform(0.1, 1, VALUES).astype("<f4").tobytes()
    (folder / "model.weights").write_bytes(struct.pack("<iiiq", 0, 2, 5, 0) + values)
    (folder / "other.weights").write_bytes((folder / "model.weights").read_bytes())
    (folder / "other.cfg").write_text(CFG)
    data = {"path": ".", "train": "images", "val": ["images"], "names": {0: "ant", 1: "bee"}}
    (folder / "data.yaml").write_text(yaml.safe_dump(data | {"nc": 2}, sort_keys=False))
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((32, 32, 3), np.uint8))
    (folder / "images" / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (folder / "model.engine").write_bytes(b"ftrt" + bytes(60))
    sidecar = Sidecar(
        spec=model.spec, flavour="trt", version="10.1.0", version_compatible=False,
        capabilities=("8.0+",), driver="12.4", gpu="A GPU", source="model.onnx",
        onnx_sha256="0" * 64, engine_bytes=64, engine_sha256="0" * 64, precision="fp16",
        profile=Profile((1, 1, 8), ((64, 64),) * 3), weights=None, refittable=False, layers=5,
        kernels=5, convolutions={"fp16": 5}, build_seconds=1.0, built="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    (folder / "model.engine.json").write_text(sidecar.to_json())


def _checked(model: Model) -> None:
    """A model that was read is whole: its spec is one, its network runs on a blank image."""
    assert ModelSpec.from_json(model.spec.to_json()) == model.spec
    side = model.spec.max_stride
    if side <= 256:
        with torch.no_grad():
            model.float()(torch.zeros(1, 3, side, side))


def _official(path: Path) -> None:
    _checked(import_official(path))


def _state(path: Path) -> None:
    architecture = make_micro(["ant", "bee"]).spec.architecture
    _checked(import_official(path, architecture=architecture))


def _safetensors(path: Path) -> None:
    read_spec(path)
    _checked(load_checkpoint(path))


def _onnx(path: Path) -> None:
    spec = read_spec(path)
    side = spec.max_stride
    with OnnxRuntimeBackend(path, "cpu", threads=1) as backend:
        small = side <= 256 and (spec.batch or 1) <= 8  # what is larger costs what it says
        if spec.dynamic_size and small and not spec.contract.input.extra:
            taken = spec.contract.input
            backend.infer(np.zeros(taken.shape(spec.batch or 1, (side, side)), taken.dtype))


def _definition(path: Path) -> None:
    with torch.device("meta"):  # a large network is no fault; its size is bounded
        build_model(path)


def _data(path: Path) -> None:
    for split in ("train", "val"):
        load_dataset(path, split)


def _cfg(path: Path) -> None:
    _checked(import_darknet(path, path.with_name("other.weights")))


def _weights(path: Path) -> None:
    _checked(import_darknet(path.with_name("other.cfg"), path))


def _engine(path: Path) -> None:
    assert read_sidecar(path.with_suffix("")) is not None


def _header(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.3:
        return change_bytes(rng, data)
    length = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    if rng.random() < 0.6:
        spec = json.loads(header["__metadata__"][METADATA_KEY])
        header["__metadata__"][METADATA_KEY] = json.dumps(change_value(rng, spec))
    else:
        header = change_value(rng, header)
    text = json.dumps(header)
    if rng.random() < 0.2:
        text = change_text(rng, text)
    encoded = text.encode(errors="replace")
    return len(encoded).to_bytes(8, "little") + encoded + rest


def _graph(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.5:
        return change_bytes(rng, data)
    model = onnx.load_from_string(data)
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            changed = json.dumps(change_value(rng, json.loads(entry.value)))
            entry.value = change_text(rng, changed) if rng.random() < 0.2 else changed
    return model.SerializeToString()


def _text(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.1:
        return change_bytes(rng, data)
    return change_text(rng, data.decode()).encode(errors="surrogatepass")


def _yaml(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.5:
        return _text(rng, data)
    return yaml.safe_dump(change_value(rng, yaml.safe_load(data)), sort_keys=False).encode()


def _json(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.3:
        return _text(rng, data)
    return json.dumps(change_value(rng, json.loads(data))).encode()


def _stream(rng: Random, data: bytes) -> bytes:
    """The older format: the fourth of its pickles is the checkpoint."""
    if rng.random() < 0.3:
        return change_bytes(rng, data)
    import io
    import pickletools

    file = io.BytesIO(data)
    ends = [0]
    for _ in range(5):
        for _step in pickletools.genops(file):
            pass
        ends.append(file.tell())
    which = rng.choice((0, 1, 2, 3, 3, 3, 3, 4))
    body = change_pickle(rng, data[ends[which] : ends[which + 1]])
    return data[: ends[which]] + body + data[ends[which + 1] :]


KINDS = (
    Kind("zip.pt", change_zip, _official, 3),
    Kind("stream.pt", _stream, _official, 2),
    Kind("state.pt", change_zip, _state, 2),
    Kind("model.safetensors", _header, _safetensors, 3),
    Kind("model.onnx", _graph, _onnx, 3),
    Kind("model.yaml", _yaml, _definition, 3),
    Kind("data.yaml", _yaml, _data, 2),
    Kind("model.cfg", _text, _cfg, 3),
    Kind("model.weights", change_bytes, _weights, 1),
    Kind("model.engine.json", _json, _engine, 2),
)
