"""The files under deploy/ and the Dockerfile: no Docker runs here, so what can go wrong is checked.

Each setting, route, metric, extra and stage that they name must exist; the manifests fit the
Kubernetes schemas; the steps of the image are run in a fresh environment (slow).
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
settings = pytest.importorskip("serve.settings", reason="the extra `serve` is not installed")


def stage(name: str) -> list[tuple[str, str]]:
    """The instructions of one stage of the Dockerfile, those of the stage it starts from first."""
    text = re.sub(r"\\\n\s*", "", (REPOSITORY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    stages: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, _, current = rest.partition(" AS ")
            stages[current] = list(stages.get(base, []))
        else:
            stages[current].append((word, rest))
    return stages[name]


def last(instructions: list[tuple[str, str]], word: str) -> str:
    return [rest for name, rest in instructions if name == word][-1]


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def routes() -> set[str]:
    from serve.app import create_app

    return set(create_app(settings.Settings()).openapi()["paths"])


def test_every_setting_that_is_named_exists() -> None:
    known = {settings.PREFIX + name.upper() for name in settings.Settings.model_fields}
    files = [REPOSITORY / "Dockerfile", *DEPLOY.iterdir()]
    named = {n for file in files for n in re.findall(r"YOLOV4SDK_[A-Z_]+", file.read_text())}
    assert len(named) >= 4 and not named - known


def test_every_metric_that_is_named_exists() -> None:
    from serve.metrics import Metrics

    families = list(Metrics().registry.collect())
    known = {f.name for f in families} | {
        f"{f.name}_{end}" for f in families for end in ("total", "bucket")
    }
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
    named = {n for rule in rules for n in re.findall(r"\byolov4sdk_\w+", rule["expr"])}
    assert len(named) >= 4 and not named - known


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_reads_its_files() -> None:
    run = subprocess.run(
        ["promtool", "check", "config", DEPLOY / "prometheus.yml"], capture_output=True, text=True
    )
    assert run.returncode == 0 and "5 rules found" in run.stdout, run.stdout + run.stderr


def test_kubernetes_schemas() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for manifest in manifests():
        validate.validate(manifest, "1.33", strict=True)
    deployment = next(m for m in manifests() if m["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    probed = {
        container[f"{p}Probe"]["httpGet"]["path"] for p in ("startup", "readiness", "liveness")
    }
    assert probed == {"/readyz", "/livez"} and probed <= routes()
    value = settings.Settings.model_fields
    delay = next(int(e["value"]) for e in container["env"] if e["name"] == "YOLOV4SDK_DRAIN_DELAY")
    assert pod["terminationGracePeriodSeconds"] >= delay + value["deadline"].default + 30


def test_compose_builds_a_stage_that_exists() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    service = services["yolov4sdk"]
    assert stage(service["build"]["target"]) and service["read_only"]
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    host, port = scraped["static_configs"][0]["targets"][0].split(":")
    assert host in services and f"EXPOSE {port}" in (REPOSITORY / "Dockerfile").read_text()
    for mount in services["prometheus"]["volumes"]:
        source = mount.split(":")[0]
        assert not source.startswith("./") or (DEPLOY / source).is_file()


def test_dockerfile() -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    assert re.findall(r"^FROM .* AS (\w+)", text, re.MULTILINE)[-1] == "runtime"  # the default
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"\.whl\)\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    serve = stage("serve")
    assert last(serve, "USER") == "yolov4sdk" and last(serve, "STOPSIGNAL") == "SIGTERM"
    assert json.loads(last(serve, "ENTRYPOINT")) == ["yolov4sdk"]
    assert "/readyz" in routes()
    ast.parse(health_check()[-1])
    ignore = (REPOSITORY / ".dockerignore").read_text().split()
    copied = re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
    assert {f"!{name}" for line in copied for name in line.split()} <= set(ignore)


def health_check() -> list[str]:
    _, _, command = last(stage("serve"), "HEALTHCHECK").partition("CMD ")
    words: list[str] = json.loads(command)
    return words


def python() -> str:
    """A Python that other users may run too; a home folder's is closed to them."""
    for candidate in (Path(sys.executable).resolve(), Path("/usr/bin/python3").resolve()):
        folders = candidate.parents
        if candidate.exists() and all(folder.stat().st_mode & 0o001 for folder in folders):
            return str(candidate)
    pytest.skip("every Python here is closed to other users")


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The virtual environment that the steps of the stages `wheel` and `serve` give."""
    # Not pytest's folder, which is closed: the service runs as another user.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        _build(Path(folder))
        yield Path(folder)


def _build(folder: Path) -> None:
    source, wheels = folder / "source", folder / "wheels"
    source.mkdir()
    for word, rest in stage("wheel"):
        if word == "COPY":
            *names, target = rest.split()
            for name in names:
                copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
                copy(REPOSITORY / name, source / (name if target == "./" else target))
    subprocess.run([python(), "-m", "venv", folder / "env"], check=True)
    step = next(rest for word, rest in stage("serve") if word == "RUN" and "whl" in rest)
    for command in (*[rest for word, rest in stage("wheel") if word == "RUN"], step):
        command = re.sub(r"--mount=\S+\s+", "", command).replace("/wheels", str(wheels))
        environment = {**os.environ, "PATH": f"{folder / 'env/bin'}:{os.environ['PATH']}"}
        run = subprocess.run(
            ["sh", "-c", command], cwd=source, env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
def test_steps_of_the_image(image: Path, photos_dir: Path) -> None:
    """Installed as root, run as another user who may write nowhere but to /tmp and /dev/shm."""
    bin_ = image / "env" / "bin"
    listed = subprocess.check_output([bin_ / "pip", "list"], text=True)
    assert "onnxruntime" in listed and not re.search(r"^torch ", listed, re.MULTILINE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = dict(shlex.split(last(stage("serve"), "ENV"))[i].split("=") for i in (0, 1))
    environment |= {"PATH": f"{bin_}:/usr/bin:/bin", "YOLOV4SDK_DRAIN_DELAY": "0.1"}
    environment |= {"YOLOV4SDK_HOST": "127.0.0.1", "YOLOV4SDK_PORT": str(port)}
    command = [
        *json.loads(last(stage("serve"), "ENTRYPOINT")),
        *json.loads(last(stage("serve"), "CMD")),
    ]
    user: dict[str, Any] = {"user": 10001, "group": 10001} if os.geteuid() == 0 else {}
    service = subprocess.Popen(
        [str(bin_ / command[0]), *command[1:]], cwd="/", env=environment, **user,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        check = [str(bin_ / "python"), *health_check()[1:]]
        ends = time.monotonic() + 60
        while subprocess.run(check, env=environment, capture_output=True).returncode:
            assert service.poll() is None, service.stderr.read() if service.stderr else ""
            assert time.monotonic() < ends, "never healthy"
            time.sleep(0.5)
        import httpx

        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/detect", content=(photos_dir / "dog.jpg").read_bytes(),
            headers={"Content-Type": "image/jpeg"},
        )  # fmt: skip
        assert answer.status_code == 200 and answer.json()["image"] == {"height": 576, "width": 768}
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200  # the page is in the wheel
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    finally:
        service.kill()
