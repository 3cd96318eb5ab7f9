"""A service in a process of its own, as the checks need it: started, watched, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
PHOTOGRAPH = ROOT / "examples" / "images" / "dog.jpg"


class Service:
    """`yolov4sdk serve MODELS --set NAME=VALUE ...` on a free port of 127.0.0.1.

    Args:
        models: of the command line; none is the embedded model.
        wait: seconds to wait until it is ready; 0 is not at all.
        settings: anything of `serve.settings.Settings`.
    """

    def __init__(self, *models: str, wait: float = 120, **settings: Any) -> None:
        self.port = free_port()
        self._models, self._settings, self._wait = models, settings, wait
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed at the exit

    def __enter__(self) -> Self:
        flags = [
            part for name, value in self._settings.items() for part in ("--set", f"{name}={value}")
        ]
        command = [sys.executable, "-m", "yolov4sdk", "serve", *self._models]
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port), *flags],
            cwd=ROOT, stderr=self.log, env={**os.environ, "YOLOV4SDK_DRAIN_DELAY": "0"},
        )  # fmt: skip
        if self._wait:
            self.wait_ready(self._wait)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.log.close()

    def wait_ready(self, seconds: float) -> float:
        """Seconds until /readyz answers 200."""
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            if self._process.poll() is not None:
                raise RuntimeError(f"the service ended: {self.lines()}")
            if self.get("/readyz")[0] == 200:
                return time.perf_counter() - started
            time.sleep(0.02)
        raise TimeoutError(f"not ready after {seconds} s: {self.lines()}")

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; status 0 where nothing listens."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def metrics(self, prefix: str) -> dict[str, float]:
        """Values of the metrics whose line starts so, by name and labels."""
        text = self.get("/metrics")[1].decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(prefix))
        return {name: float(value) for name, _, value in lines}

    @property
    def process(self) -> psutil.Process:
        """The API process."""
        return psutil.Process(self._process.pid)

    def child(self, module: str) -> psutil.Process:
        """The first child process that runs a module ("serve.worker")."""
        return next(p for p in self.process.children() if module in p.cmdline())

    def memory(self) -> int:
        """Bytes of all its processes, shared pages counted once."""
        processes = [self.process, *self.process.children()]
        return sum(p.memory_full_info().pss for p in processes)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 60) -> int:
        """The exit code."""
        return self._process.wait(seconds)

    def lines(self) -> str:
        """What it logged so far."""
        self.log.seek(0)
        return self.log.read().decode()


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
