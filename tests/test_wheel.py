"""The distribution: the wheel alone, in a fresh environment, and what the source archive builds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from .conftest import REPOSITORY

GOOD = """
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from yolov4sdk import Detections, Detector, ModelSpec, YOLOv4Error


def labels(image: str | Path) -> list[str]:
    try:
        with Detector(conf=0.4, classes=["dog"]) as detector:
            spec: ModelSpec = detector.spec
            one: Detections = detector(image)
            many: list[Detections] = detector([image, image], iou=0.5)
    except YOLOv4Error as error:
        return [str(error)]
    boxes: NDArray[np.float32] = many[0].xyxy
    print(spec.names, boxes.shape)
    return one.labels
"""
BAD = """
from yolov4sdk import Detector

number: int = Detector()("dog.jpg")
Detector(confidence=0.4)
"""


def call(*command: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, cwd=cwd, env=environment
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that is built from it alone."""
    folder = tmp_path_factory.mktemp("distribution")
    call(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY, cwd=folder
    )
    return folder


@pytest.fixture(scope="module")
def wheel(distribution: Path) -> Path:
    return next(distribution.glob("*.whl"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's packages in a folder, for runs that borrow this environment's libraries."""
    folder = tmp_path_factory.mktemp("unpacked")
    call(
        sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, wheel,
        cwd=folder,
    )  # fmt: skip
    return folder


def test_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"yolov4sdk", "export", "train", "serve"} <= tops and "tests" not in tops
    for needed in ("yolov4sdk/py.typed", "yolov4sdk/models/yolov4-p7.yaml"):
        assert needed in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert wheel.stat().st_size < 25e6


def test_source_archive(distribution: Path) -> None:
    with tarfile.open(next(distribution.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "yolov4sdk/assets/default.onnx"} <= names


def test_installed_alone(wheel: Path, tmp_path: Path, micro_artefacts, photos_dir: Path) -> None:
    venv.create(tmp_path / "environment", with_pip=True)
    python = tmp_path / "environment" / "bin" / "python"
    call(python, "-m", "pip", "install", "-q", f"{wheel}[cpu]", cwd=tmp_path)
    out = call(
        python, "-c",
        "import yolov4sdk, export, train, serve, sys\n"
        "print(*(m.__file__ for m in (yolov4sdk, export, train, serve)))\n"
        "print('torch' in sys.modules)",
        cwd=tmp_path,
    )  # fmt: skip
    files, torch_loaded = out.splitlines()
    site = tmp_path / "environment" / "lib"
    assert all(Path(f).is_relative_to(site) for f in files.split()) and torch_loaded == "False"
    command = tmp_path / "environment" / "bin" / "yolov4sdk"
    call(
        command, "detect", photos_dir / "dog.jpg", "-m", micro_artefacts["onnxruntime"],
        "-o", "out", cwd=tmp_path,
    )  # fmt: skip
    assert (tmp_path / "out" / "dog.jpg").is_file()
    installed = call(python, "-m", "pip", "list", cwd=tmp_path)
    assert "torch" not in installed and "onnxruntime" in installed


def test_export(unpacked: Path, tmp_path: Path, micro_artefacts: dict[str, Path]) -> None:
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    where = subprocess.run(
        [sys.executable, "-c", "import export; print(export.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(unpacked)
    source = micro_artefacts["torch"]
    run = subprocess.run(
        [sys.executable, "-m", "yolov4sdk", "export", str(source), "-o", "exported.onnx"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "exported.onnx").stat().st_size > 1000


def test_service(unpacked: Path, tmp_path: Path) -> None:
    """`uvicorn serve.app:app` with the embedded model tells the example client of the cat."""
    pytest.importorskip("fastapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    paths = os.pathsep.join(filter(None, (str(unpacked), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "YOLOV4SDK_DRAIN_DELAY": "0"}
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "serve.app:app", "--port", str(port)],
        cwd=tmp_path, env=environment, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_ready(f"{url}/readyz", server)
        examples = REPOSITORY / "examples"
        client = (sys.executable, examples / "serve_client.py")
        assert call(*client, examples / "images" / "chelsea.png", url, cwd=tmp_path).startswith(
            "cat"
        )
    finally:
        server.terminate()
        server.communicate(timeout=60)


def wait_ready(url: str, server: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        try:
            urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    server.kill()
    pytest.fail(f"not ready: {server.communicate()[1].decode()}")


@pytest.mark.slow
def test_types(unpacked: Path, tmp_path: Path) -> None:
    """mypy takes the installed package's annotations (py.typed), and holds users to them."""
    venv.create(tmp_path / "environment", with_pip=False)
    site = next((tmp_path / "environment").glob("lib/python*/site-packages"))
    libraries = Path(np.__file__).parent.parent
    (site / "others.pth").write_text(f"{unpacked}\n{libraries}\n")
    python = tmp_path / "environment" / "bin" / "python"
    for name, code in (("good.py", GOOD), ("bad.py", BAD)):
        (tmp_path / name).write_text(code)

    def mypy(name: str) -> str:
        command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout

    found = mypy("good.py")
    assert found.startswith("Success"), found
    found = mypy("bad.py")
    assert "[assignment]" in found and "[call-arg]" in found, found
