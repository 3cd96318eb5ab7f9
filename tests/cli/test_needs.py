"""Every command runs where only what it declares is installed, and says what it lacks elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import cv2
import httpx
import pytest
import torch

from tests.conftest import REPOSITORY
from tests.conventions.cases import CASES
from tests.conventions.cases import write as write_case
from tests.support.service import PHOTOGRAPH, Service
from tests.train.synthetic import write_dataset
from yolov4sdk.cli.commands import TABLE
from yolov4sdk.cli.models import COLUMNS, FIGURES
from yolov4sdk.contract.names import MODELS
from yolov4sdk.imaging.synthetic import drawn_image
from yolov4sdk.models import BUILT_IN, build_model
from yolov4sdk.models.summary import summary

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
SITE = """
import json, os, sys
blocked = set(json.loads(os.environ.get("BLOCKED", "[]")))
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in blocked else found(name)
"""
"""`sitecustomize`: every Python that starts, children too, lacks these packages."""
RUN = """
import json, sys
from yolov4sdk.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["yolov4sdk", *words]
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    print("CODE", code, file=sys.stderr, flush=True)
"""


def needed(packages: list[str]) -> set[str]:
    """These distributions and all that they bring."""
    found: set[str] = set()
    while packages:
        name = re.match(r"[\w.-]+", packages.pop())[0].lower().replace("_", "-")  # type: ignore[index]
        if name in found:
            continue
        found.add(name)
        try:
            wanted = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        packages += [line for line in wanted if "extra ==" not in line]
    return found


def packages(extras: tuple[str, ...]) -> list[str]:
    """The packages of the core and of these extras."""
    found = list(PROJECT["dependencies"])
    for extra in extras:
        for line in PROJECT["optional-dependencies"][extra]:
            inner = re.match(r"yolov4sdk\[([\w,-]+)\]", line)
            found += packages(tuple(inner[1].split(","))) if inner else [line]
    return found


def modules_without(extras: tuple[str, ...]) -> list[str]:
    """Import names of what only other extras bring."""
    kept = needed(packages(extras))
    everything = packages(tuple(PROJECT["optional-dependencies"]))
    other = {re.match(r"[\w.-]+", line)[0].lower() for line in everything} - kept  # type: ignore[index]
    by_module = metadata.packages_distributions()
    return sorted(m for m, names in by_module.items() if {n.lower() for n in names} <= other)


def environment(extras: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Variables under which a Python has no more than the core and these extras."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site/sitecustomize.py").write_text(SITE)
    return {
        "BLOCKED": json.dumps(modules_without(extras)),
        "PYTHONPATH": f"{folder / 'site'}:{REPOSITORY}",
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
        "HOME": str(folder),
    }


def run(extras: tuple[str, ...], folder: Path, *commands: str) -> list[tuple[int, str]]:
    """Exit code and standard error of each command, in an environment with these extras."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([c.split() for c in commands])], cwd=folder,
        capture_output=True, text=True, timeout=300, check=False,
        env=environment(extras, folder),
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    parts = re.split(r"CODE (\d+)\n", done.stderr)
    results = [(int(code), text) for text, code in zip(parts[::2], parts[1::2], strict=False)]
    assert len(results) == len(commands), done.stderr
    return results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, micro_artefacts: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("needs")
    torch.save(build_model("yolov4-csp-n").state_dict(), folder / "n.pt")
    write_case(CASES["yolox-raw"](), folder / "foreign.onnx")
    write_dataset(folder / "data", train=4, val=2, classes=1)
    for name, count in (("train", 4), ("val", 2)):
        for kind in ("one", "other"):
            (folder / "kinds" / name / kind).mkdir(parents=True)
            for i in range(count):
                cv2.imwrite(str(folder / f"kinds/{name}/{kind}/{i}.png"), drawn_image((48, 48), i))
    for kind, path in micro_artefacts.items():
        shutil.copy(path, folder / f"{kind}{path.suffix}")
    return folder


QUICK = "--epochs 1 --size 64 --batch 4 --workers 0 --threads 1 --device cpu --model yolov4-csp-n"
PICTURES = "data/images/val"


@pytest.mark.parametrize(
    ("extras", "commands"),
    [
        (
            (),
            (
                "models",
                "doctor",
                "init skeleton",
                "info onnxruntime.onnx",
                "train --help",
                "export --help",
            ),
        ),
        (
            ("cpu",),
            (
                f"detect {PICTURES} -m onnxruntime.onnx -o out",
                f"label {PICTURES} -m onnxruntime.onnx -o labelled --conf 0.001",
                f"verify onnxruntime.onnx onnxruntime.onnx --images {PICTURES}",
                "benchmark onnxruntime.onnx --rounds 1 --no-ceiling",
            ),
        ),
        (
            ("eval",),
            ("data check data/data.yaml", "data convert data/data.yaml coco --format coco"),
        ),
        (("eval", "plot"), ("data check data/data.yaml -o pictures",)),
        (("eval", "cpu"), ("val onnxruntime.onnx data/data.yaml --map ant=box",)),
        pytest.param(
            ("export", "cpu"), ("export torch.safetensors -o made.onnx",), marks=pytest.mark.slow
        ),
        pytest.param(
            ("train",),
            (
                f"train data/data.yaml -o run {QUICK}",
                f"train-backbone kinds --output backbones {QUICK.replace('--workers 0 ', '')}",
            ),
            marks=pytest.mark.slow,
        ),
        (("torch",), ("import n.pt -o again.safetensors",)),
        (
            ("export", "cpu"),
            ("adopt foreign.onnx --as yolox-raw --names a,b,c -o adopted.onnx",),
        ),
    ],
    ids=lambda value: "+".join(value) if value and " " not in value[0] else "",
)
def test_a_command_runs_with_its_extra_only(
    folder: Path, extras: tuple[str, ...], commands: tuple[str, ...]
) -> None:
    for command, (code, said) in zip(commands, run(extras, folder, *commands), strict=True):
        assert code == 0, f"{command}: {said}"


def test_the_service_runs_with_its_extra_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker and decoders too."""
    for name, value in environment(("serve", "cpu"), folder).items():
        monkeypatch.setenv(name, value)
    with Service(str(folder / "onnxruntime.onnx")) as service:
        answer = httpx.post(
            f"http://127.0.0.1:{service.port}/v1/detect", content=PHOTOGRAPH.read_bytes()
        )
        assert answer.status_code == 200, answer.text
        service.terminate()
        assert service.wait() == 0


def test_a_command_names_the_extra_that_it_lacks(folder: Path) -> None:
    commands = {
        "export torch.safetensors": "export",
        "export onnxruntime.onnx -o half.onnx --precision fp16": "export",
        f"train data/data.yaml -o other {QUICK}": "train",
        "train-backbone data": "train",
        "import x.pt": "torch",
        "val onnxruntime.onnx data/data.yaml": "eval",
        "serve onnxruntime.onnx": "serve",
        "detect data/images/val -m torch.safetensors -o o": "torch",
    }
    for (command, extra), (code, said) in zip(
        commands.items(), run(("cpu",), folder, *commands), strict=True
    ):
        assert code == 2 and f'pip install "yolov4sdk[{extra}]"' in said, f"{command}: {said}"
        assert len(said.strip().splitlines()) == 1, f"{command}: {said}"


def test_every_extra_of_the_table_exists() -> None:
    assert {row.extra for row in TABLE.values()} - {""} <= set(PROJECT["optional-dependencies"])


def test_the_figures_of_the_models_are_counted() -> None:
    assert tuple(BUILT_IN) == MODELS
    rows = [summary(name) for name in BUILT_IN]
    assert [dict(zip(COLUMNS, row, strict=True)) for row in FIGURES] == [
        {**row, "strides": tuple(row["strides"])} for row in rows
    ]


def test_the_core_says_which_runtime_it_lacks(folder: Path) -> None:
    ((code, said),) = run((), folder, f"detect {PICTURES} -m onnxruntime.onnx -o o")
    assert code == 2 and 'pip install "yolov4sdk[cpu]"' in said and "[gpu]" in said
