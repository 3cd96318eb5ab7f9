"""What is said of an engine, and which engines are refused."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from yolov4sdk import Detector
from yolov4sdk.backends import load_backend
from yolov4sdk.backends.artefacts import read_spec
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.errors import (
    DeviceError,
    EngineMismatchError,
    ExportError,
    ForeignFileError,
    InputSizeError,
    MissingExtraError,
    SpecError,
    TensorError,
    TruncatedFileError,
)
from yolov4sdk.system.cuda_driver import Gpu, gpus, no_gpu_reason
from yolov4sdk.tensorrt import store
from yolov4sdk.tensorrt.build import build_engine
from yolov4sdk.tensorrt.options import EngineOptions, Profile
from yolov4sdk.tensorrt.sidecar import (
    KEY_VARIABLE,
    Sidecar,
    capability_fits,
    check_here,
    read_sidecar,
    sidecar_path,
    version_fits,
)
from yolov4sdk.tensorrt.store import cached_engine, describe, write_engine

from .conftest import RTX, Graph, needs_no_gpu, needs_rtx

ADA = Gpu(0, "RTX 4090", "8.9", "13.0")


@pytest.fixture(scope="module")
def built(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small engine with its sidecar."""
    pytest.importorskip("tensorrt_rtx")
    source = graph(batch=None, dynamic=True, precision="fp16")
    spec, options = read_onnx_spec(source), EngineOptions()
    made = build_engine(source, spec, RTX, options)
    path = tmp_path_factory.mktemp("engine") / "x.engine"
    write_engine(path, made.engine, describe(made, spec, RTX, source, options, source="x.onnx"))
    return path


@pytest.fixture
def engine(built: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    for file in (built, sidecar_path(built)):
        shutil.copy(file, tmp_path)
    return tmp_path / built.name


def test_says_what_it_is(engine: Path, graph: Graph) -> None:
    import tensorrt_rtx

    sidecar = read_sidecar(engine)
    assert sidecar is not None and sidecar.flavour == "trt-rtx"
    assert sidecar.version == tensorrt_rtx.__version__ and sidecar.capabilities == ("8.0+",)
    source = graph(batch=None, dynamic=True, precision="fp16")
    assert sidecar.onnx_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert sidecar.engine_sha256 == hashlib.sha256(engine.read_bytes()).hexdigest()
    assert sidecar.convolutions == {"fp16": 8} and 0 < sidecar.kernels <= sidecar.layers
    assert sidecar.profile.batch == (1, 1, 8) and sidecar.precision == "fp16"
    assert read_spec(engine) == sidecar.spec == read_onnx_spec(source)
    again = Sidecar.from_json(sidecar.to_json(), engine)
    assert again == sidecar


def test_a_pinned_profile_is_in_the_spec(graph: Graph, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    source = graph(batch=None, dynamic=True, precision="fp16")
    spec = read_onnx_spec(source)
    options = EngineOptions(batch_profile=(2, 2, 2), size_profile=((64, 96),) * 3)
    made = build_engine(source, spec, RTX, options)
    said = describe(made, spec, RTX, source, options, source="x.onnx").spec
    assert (said.batch, said.dynamic_size, said.input_size) == (2, False, (64, 96))


def damage(name: str, value: object) -> Callable[[Path], None]:
    def change(engine: Path) -> None:
        data = json.loads(sidecar_path(engine).read_text())
        data[name] = value
        sidecar_path(engine).write_text(json.dumps(data))

    return change


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda e: e.write_bytes(e.read_bytes()[:-100]), TruncatedFileError, "sidecar announces"),
        (lambda e: e.write_bytes(b"x" * e.stat().st_size), EngineMismatchError, "SHA-256 differs"),
        (lambda e: sidecar_path(e).unlink(), EngineMismatchError, 'backend="trt"'),
        (lambda e: sidecar_path(e).write_text("{}"), SpecError, "does not describe an engine"),
        (lambda e: sidecar_path(e).write_bytes(b"\xff\xfe"), SpecError, "is not valid JSON"),
        (damage("kernels", "many"), SpecError, "kernels is 'many'"),
        (damage("extra", 1), SpecError, "extra"),
        (damage("format_version", 9), SpecError, "format version 9"),
        (damage("flavour", "cuda"), EngineMismatchError, "no runtime 'cuda'"),
        (damage("profile", {"batch": [3, 2, 1], "size": [[1, 1]] * 3}), SpecError, "in this order"),
    ],
)  # fmt: skip
def test_refused(
    engine: Path, change: Callable[[Path], None], kind: type[Exception], message: str
) -> None:
    change(engine)
    with pytest.raises(kind, match=message):
        load_backend(engine)


def test_foreign_file_without_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "foreign.engine"
    path.write_bytes(b"#!/bin/sh\n")
    for backend, title in (("trt", "TensorRT"), ("trt-rtx", "TensorRT-RTX")):
        with pytest.raises(ForeignFileError, match=f"is not a {title} engine"):
            load_backend(path, backend)


@needs_rtx
@needs_no_gpu
def test_without_a_driver_it_is_said(engine: Path, graph: Graph) -> None:
    assert no_gpu_reason().startswith("no CUDA driver is installed")
    reason = "TensorRT-RTX backend needs an NVIDIA GPU: no CUDA driver"
    with pytest.raises(DeviceError, match=reason):
        Detector(engine)
    with pytest.raises(DeviceError, match=reason):
        Detector(graph(), backend="trt-rtx")
    sidecar_path(engine).unlink()
    with pytest.raises(DeviceError, match=reason):  # asked for by name
        load_backend(engine, "trt-rtx")
    with pytest.raises(DeviceError, match=r'"cuda" or "cuda:1"; got .cpu'):
        load_backend(engine, "trt-rtx", "cpu")


def test_missing_library_is_named(graph: Graph) -> None:
    if _installed("tensorrt"):
        pytest.skip("TensorRT is installed")
    with pytest.raises(MissingExtraError, match=r"yolov4sdk\[trt\]"):
        load_backend(graph(), "trt")


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def test_every_field_that_differs_is_named(engine: Path) -> None:
    sidecar = read_sidecar(engine)
    assert sidecar is not None
    check_here(engine, sidecar, "trt-rtx", sidecar.version, ADA)
    old = dataclasses.replace(sidecar, version="1.2.0", capabilities=("8.6",), driver="14.1")
    with pytest.raises(EngineMismatchError) as caught:
        check_here(engine, old, "trt-rtx", "1.7.1", ADA)
    text = str(caught.value)
    for row in (
        "version: engine 1.2.0, here 1.7.1",
        "compute capability: engine 8.6, here 8.9 (RTX 4090)",
        "driver (CUDA): engine 14.1, here 13.0",
        "yolov4sdk export x.onnx --engine trt-rtx -o x.engine",
    ):
        assert row in text
    with pytest.raises(EngineMismatchError, match="flavour: engine trt-rtx, here trt"):
        check_here(engine, sidecar, "trt", "11.4", ADA)


@pytest.mark.parametrize(
    ("its", "here", "compatible", "fits"),
    [
        ("10.3.0", "10.3.0", False, True),
        ("10.3.0", "10.3.1", False, False),
        ("10.3.0", "10.13.3", True, True),
        ("10.13.3", "10.3.0", True, False),  # forward only
        ("10.3.0", "11.4.0", True, False),  # within a major version
    ],
)
def test_versions(engine: Path, its: str, here: str, compatible: bool, fits: bool) -> None:
    sidecar = read_sidecar(engine)
    assert sidecar is not None
    made = dataclasses.replace(sidecar, version=its, version_compatible=compatible)
    assert version_fits(made, here) is fits


def test_capabilities() -> None:
    assert capability_fits(("8.6", "8.9"), "8.9") and not capability_fits(("8.6",), "8.9")
    assert capability_fits(("8.0+",), "12.0") and not capability_fits(("8.0+",), "7.5")


def test_signature(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    with pytest.raises(EngineMismatchError, match="not signed"):
        read_sidecar(engine)
    monkeypatch.delenv(KEY_VARIABLE)
    sidecar = read_sidecar(engine)
    assert sidecar is not None
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    write_engine(engine, engine.read_bytes(), sidecar)
    assert read_sidecar(engine) == sidecar
    damage("engine_sha256", "0" * 64)(engine)  # an exchanged engine
    with pytest.raises(EngineMismatchError, match=KEY_VARIABLE):
        read_sidecar(engine)
    write_engine(engine, engine.read_bytes(), sidecar)
    monkeypatch.setenv(KEY_VARIABLE, "another")
    with pytest.raises(EngineMismatchError, match="not signed with the key"):
        read_sidecar(engine)
    monkeypatch.delenv(KEY_VARIABLE)
    assert read_sidecar(engine) == sidecar  # without a key nothing is asked


def test_profile_refuses_what_lies_outside() -> None:
    profile = Profile((1, 2, 4), ((32, 32), (64, 64), (64, 128)))
    profile.check(4, (64, 128))
    with pytest.raises(TensorError, match=r"batches of 1 to 4, got 5.*--batch-profile 1,5,5"):
        profile.check(5, (64, 64))
    for size in ((128, 64), (64, 160)):
        with pytest.raises(InputSizeError, match=r"\(32, 32\) to \(64, 128\).*--size-profile"):
            profile.check(1, size)


@needs_rtx
def test_cache(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built once; again when it is damaged or asked for in another way."""
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path / "cache"))
    builds = []

    def counted(*args: object) -> object:
        builds.append(args)
        return build_engine(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "build_engine", counted)
    source = graph(precision="fp16")
    first = cached_engine(source, RTX)
    assert first == cached_engine(source, RTX) and len(builds) == 1
    sidecar = read_sidecar(first)
    assert sidecar is not None and sidecar.source == source.name
    first.write_bytes(first.read_bytes()[:100])
    assert cached_engine(source, RTX) == first and len(builds) == 2
    assert first.stat().st_size == sidecar.engine_bytes
    other = cached_engine(source, RTX, EngineOptions(compute_capability=("8.6",)))
    assert other != first and len(builds) == 3
    assert {p.name for p in (tmp_path / "cache").iterdir()} == {
        other.parent.name,
        first.parent.name,
    }


def test_full_disk_leaves_nothing(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar, data = read_sidecar(engine), engine.read_bytes()
    assert sidecar is not None
    target = engine.with_name("new.engine")

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ExportError, match="no room on the disk"):
        write_engine(target, data, sidecar)
    assert sorted(p.name for p in engine.parent.iterdir()) == ["x.engine", "x.engine.json"]


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="no GPU")
@pytest.mark.parametrize("memory", ["cuda-python", "pycuda"])
def test_runs_as_onnxruntime_does(
    graph: Graph, tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches and sizes in turn, from eight threads, by either flavour that runs here."""
    import numpy as np

    from yolov4sdk.measure.verify import box_error

    monkeypatch.setenv("YOLOV4SDK_CUDA", memory)
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path))
    source = graph(batch=None, dynamic=True)
    rng = np.random.default_rng(0)
    batches = [rng.random((b, 3, h, 64), np.float32) for b in (1, 2, 8) for h in (32, 64)] * 3
    ran = 0
    with load_backend(source, "onnxruntime", "cpu") as exact:
        expected = [exact.infer(batch) for batch in batches]
    for flavour in ("trt", "trt-rtx"):
        try:
            backend = load_backend(source, flavour, "cuda")
        except (MissingExtraError, EngineMismatchError):
            continue
        from concurrent.futures import ThreadPoolExecutor

        with backend, ThreadPoolExecutor(8) as pool:
            for found, right in zip(pool.map(backend.infer, batches), expected, strict=True):
                assert box_error(right.boxes, found.boxes).max() < 1e-2
                np.testing.assert_allclose(found.scores, right.scores, atol=1e-2)
        ran += 1
    if not ran:
        pytest.skip("neither flavour of TensorRT runs here")
