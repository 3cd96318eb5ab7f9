"""The wheel alone, in a fresh environment: our packages, the command, and a detection."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from .conftest import REPOSITORY


def call(*command: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, cwd=cwd, env=environment
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY,
        cwd=folder,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def test_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"yolov4sdk", "export", "train", "serve"} <= tops and "tests" not in tops
    for needed in ("yolov4sdk/py.typed", "yolov4sdk/models/yolov4-p7.yaml"):
        assert needed in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


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
