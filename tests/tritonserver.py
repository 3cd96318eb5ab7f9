"""The real Triton of the nvidia-pytriton wheel: Python backend alone, no GPU needed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def triton_folder() -> Path:
    """Where the wheel keeps its server; skips the test without it."""
    spec = find_spec("pytriton")
    if spec is None or spec.origin is None:
        pytest.skip("no Triton here: pip install --no-deps nvidia-pytriton")
    return Path(spec.origin).parent / "tritonserver"


def _python(work: Path) -> Path:
    """The bin folder of an environment like this one, but with the NumPy that this Triton takes.

    Its Python backend was built before NumPy 2, and loses every array of it.
    """
    folder = work / "python"
    if (folder / "bin").is_dir():
        return folder / "bin"
    run = partial(subprocess.run, check=True, capture_output=True, text=True, timeout=120)
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    try:
        run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", packages,
             "numpy<2"])  # fmt: skip
    except subprocess.SubprocessError as error:
        pytest.skip(f"numpy<2 cannot be installed for Triton: {error}")
    outer = [path for path in sys.path if Path(path).is_dir() and "packages" in path]
    (packages / "outer.pth").write_text("\n".join([str(REPOSITORY), *outer]))
    return folder / "bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def triton(repository: Path, work: Path) -> Iterator[str]:
    """Serve a repository; gives the gRPC address when every model is ready.

    Args:
        work: a folder for its log and its Python; the same one is quicker the second time.
    """
    from tritonclient import grpc
    from tritonclient.utils import InferenceServerException

    folder = triton_folder()
    backend = work / "backends" / "python"
    shutil.rmtree(backend, ignore_errors=True)
    backend.mkdir(parents=True)
    for file in (folder / "backends" / "python").iterdir():
        (backend / file.name).symlink_to(file)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = "triton_python_backend_stub"
    (backend / stub).symlink_to(folder / "python_backend_stubs" / version / stub)
    environment = {  # its isolated Python finds packages by the python3 on the path alone
        **os.environ,
        "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR"),
        "PATH": os.pathsep.join((str(_python(work)), os.environ["PATH"])),
    }
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [
        folder / "bin" / "tritonserver", "--model-repository", repository,
        "--backend-directory", backend.parent, "--grpc-address", "127.0.0.1",
        "--grpc-port", str(port), "--allow-http", "false", "--allow-metrics", "false",
    ]  # fmt: skip
    log = work / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    client = grpc.InferenceServerClient(address)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if server.poll() is not None:
                break
            try:
                if client.is_server_ready(client_timeout=1):
                    break
            except InferenceServerException:
                time.sleep(0.2)
        else:
            raise AssertionError(f"not ready in 120 s\n{log.read_text()}")
        assert server.poll() is None, log.read_text()
        yield address
    finally:
        client.close()
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # with its stubs, which would outlive it
        server.wait()
