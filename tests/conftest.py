"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from .support.forms import raw
from .support.traces import remembered
from .tiny import make_micro, make_tiny

if TYPE_CHECKING:
    from yolov4sdk.models import Model

REPOSITORY = Path(__file__).resolve().parent.parent
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # no reports of tests
settings.register_profile("any machine", deadline=None)  # a slow one is no failure
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with oracles and data that are not part of the repository."""
    folder = Path(os.environ.get("YOLOV4SDK_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set YOLOV4SDK_SHARED)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_trace_a_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What torch's exporter made of a network is kept for the run, for all its processes."""
    try:
        import export.onnx_export as module
    except ImportError:  # an environment without the extra
        yield
        return
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_trace", remembered(module._trace, folder / "traces"))
        yield


@pytest.fixture(scope="session")
def oracle_dir(shared_dir: Path) -> Path:
    """Numbers from independent implementations."""
    return shared_dir / "oracle"


@pytest.fixture(scope="session")
def photos_dir() -> Path:
    """The photographs that are part of the repository."""
    return REPOSITORY / "examples" / "images"


@pytest.fixture(scope="session")
def tiny_model() -> Model:
    """A network of three classes for 160 x 160 pixels; see `make_tiny`."""
    return make_tiny(["ant", "bee", "cow"])


@pytest.fixture(scope="session")
def tiny_artefacts(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny model as a file for each backend, dynamic in batch and size."""
    return _artefacts(tiny_model, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def micro_artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network of five convolutions as a file for each backend."""
    return _artefacts(make_micro(["ant"]), tmp_path_factory.mktemp("micro"))


def _artefacts(model: Model, folder: Path) -> dict[str, Path]:
    from export import export_model
    from yolov4sdk.models.checkpoints import save_checkpoint

    save_checkpoint(model, folder / "model.safetensors")
    for engine, suffix in (("onnx", "onnx"), ("openvino", "xml")):
        options = raw(batch=None, dynamic=True)
        export_model(model, engine, folder / f"model.{suffix}", **options)
    return {
        "torch": folder / "model.safetensors",
        "onnxruntime": folder / "model.onnx",
        "openvino": folder / "model.xml",
    }


@pytest.fixture(scope="session")
def tiny_fixed(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as ONNX for batches of exactly 2 at 96 x 160."""
    from export import export_model

    path = tmp_path_factory.mktemp("fixed") / "fixed.onnx"
    return export_model(tiny_model, "onnx", path, **raw(batch=2, size=(96, 160))).path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
