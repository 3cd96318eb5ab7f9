"""`yolov4sdk doctor`: what it tells, and each pair of packages that does not go together."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.test_cli import run
from yolov4sdk.backends import TABLE
from yolov4sdk.backends import runtimes as rows
from yolov4sdk.system import environment


def runtimes(**changes: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {
        "onnxruntime": {"version": "1.22.0", "providers": ["CPUExecutionProvider"]},
        "openvino": {},
        "torch": {"version": "2.13.0+cpu", "cuda": None, "devices": []},
        "tensorrt": {},
        "driver": {},
    }
    return good | changes


def problems(packages: set[str], **changes: dict[str, Any]) -> list[dict[str, str]]:
    installed = dict.fromkeys(packages, "1.0").get
    return list(environment.conflicts(installed, runtimes(**changes), TABLE.values()))


DRIVER = {"cuda": "12.4", "devices": 1}
CUDA_ORT = {"version": "1.22.0", "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"]}


@pytest.mark.parametrize(
    ("packages", "changes", "problem", "remedy"),
    [
        (
            {"onnxruntime", "onnxruntime-gpu"}, {"driver": DRIVER, "onnxruntime": CUDA_ORT,
             "torch": {}},
            "onnxruntime and onnxruntime-gpu are installed together",
            'pip uninstall -y onnxruntime onnxruntime-gpu && pip install "yolov4sdk[gpu]"',
        ),
        (
            {"opencv-python", "opencv-python-headless"}, {},
            "opencv-python-headless and opencv-python are installed together",
            "pip uninstall -y opencv-python-headless opencv-python && "
            "pip install opencv-python-headless",
        ),
        (set(), {"torch": {"version": "2.13", "cuda": "13.0", "devices": []},
                 "driver": DRIVER, "onnxruntime": CUDA_ORT},
         "the driver runs 12.4", "newer driver"),
        (set(), {"torch": {"version": "2.13", "cuda": "12.8", "devices": []}},
         "no NVIDIA driver", "install the driver"),
        (set(), {"driver": DRIVER, "onnxruntime": CUDA_ORT}, "torch is for CPUs", "pytorch.org"),
        (set(), {"driver": DRIVER, "torch": {}}, "ONNX Runtime is for CPUs", "yolov4sdk[gpu]"),
        ({"onnxruntime-gpu"}, {}, "no NVIDIA driver", "yolov4sdk[cpu]"),
        (set(), {"onnxruntime": {"error": "OSError: libfoo.so"}}, "does not load: OSError: libfoo",
         "--force-reinstall onnxruntime"),
        (set(), {"onnxruntime": {}, "torch": {}}, "no runtime", 'pip install "yolov4sdk[cpu]"'),
    ],
)  # fmt: skip
def test_what_does_not_go_together(packages, changes, problem, remedy) -> None:
    (warning,) = problems(packages, **changes)
    assert problem in warning["problem"]
    assert remedy in warning["remedy"]


def test_a_sound_environment_has_no_warning() -> None:
    assert not problems({"onnxruntime", "opencv-python-headless"})
    # CUDA 12.8 runs on a driver of 12.4: minor versions are compatible
    minor = {"torch": {"version": "2.13", "cuda": "12.8", "devices": ["GPU"]}}
    assert not problems({"onnxruntime-gpu"}, driver=DRIVER, onnxruntime=CUDA_ORT, **minor)


def test_every_extra_of_the_package_is_told(capsys) -> None:
    code, out, _ = run(capsys, "doctor", "--json")
    found = json.loads(out)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert set(found["extras"]) == set(project["optional-dependencies"]) - {"dev"}
    assert code == (1 if found["warnings"] else 0)
    assert found["system"]["yolov4sdk"] == project["version"]
    assert set(found["core"]) == {re.split(r"[><=]", name)[0] for name in project["dependencies"]}
    assert "CPUExecutionProvider" in found["runtimes"]["onnxruntime"]["providers"]


def test_a_missing_extra_names_its_command(capsys, monkeypatch) -> None:
    real = environment.version
    installed = {"faster-coco-eval": None, "av": "13.0.0", "ray": "2.64.1"}
    monkeypatch.setattr(environment, "version", lambda name: installed.get(name, real(name)))
    extras = environment.extras()
    assert extras["eval"]["missing"] == ["faster-coco-eval"]
    assert extras["video"]["missing"] == ["av 13.0.0 is not >=18"]  # installed, but too old
    (new,) = extras["ray"]["missing"]  # or too new
    assert new.startswith("ray 2.64.1 is not ") and "<2.64" in new
    installed["ray"] = "2.60.0"
    assert environment.extras()["ray"]["complete"]
    assert "faster-coco-eval" in extras["train"]["missing"]  # through yolov4sdk[eval]
    _, out, _ = run(capsys, "doctor")
    assert 'pip install "yolov4sdk[eval]"' in out


@pytest.mark.parametrize(
    ("name", "error", "expected"),
    [
        ("torch", ModuleNotFoundError("No module named 'torch'", name="torch"), {}),
        (
            "torch",
            ModuleNotFoundError("No module named 'sympy'", name="sympy"),
            {"error": "No module named 'sympy'"},
        ),
        (
            "torch",
            OSError("libcudart.so.12: missing"),
            {"error": "OSError: libcudart.so.12: missing"},
        ),
    ],
)
def test_a_runtime_that_is_missing_or_broken(monkeypatch, name, error, expected) -> None:
    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(rows, "import_module", fail)
    assert environment.report(TABLE.values())["runtimes"][name] == expected


def test_the_shell_completes_commands() -> None:
    """What the script asks that `--install-completion` installs."""
    command = Path(sys.executable).with_name("yolov4sdk")
    asked = {
        "_YOLOV4SDK_COMPLETE": "complete_bash",
        "COMP_WORDS": "yolov4sdk do",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [command], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["doctor"], done.stderr
