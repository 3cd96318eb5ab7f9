"""Ours, LitServe and pytriton's Triton, side by side: `python -m benchmarks.serve.peers`.

One ONNX model (the embedded yolov4-csp-n at 320 x 320), a float32 tensor in, boxes and scores out,
raw bytes both ways, ONNX Runtime with the same threads, batches of the same size and delay. Each
server runs in a process with an environment of its own, made by the first run. All are up for the
whole run, idle but for the one under load; each round measures each of them in turn:

- throughput: `--clients` connections, each with its next request after its answer;
- overload: four times the best throughput of the round, whether or not answers come. Goodput counts
  the answers that come within the deadline and one batch.

The load generator shares the processors with the servers. Loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.support.service import ROOT, free_port
from yolov4sdk.backends.kserve import HEADER_LENGTH, encode
from yolov4sdk.measure.timing import machine, median_ratio
from yolov4sdk.system.cpu import available_cpus

from ..load import Answer, closed_loop, for_seconds, open_loop, percentile, post, statuses

MODEL: Final = ROOT / "yolov4sdk" / "assets" / "default.onnx"
BATCH, DELAY, QUEUE = 8, 0.005, 64
KIND: Final = "application/octet-stream"


@dataclass
class Peer:
    """One server and what was measured."""

    name: str
    command: list[str]
    request: bytes
    port: int
    throughput: list[float] = field(default_factory=list)
    goodput: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


def environment(folder: Path, python: str, *packages: str) -> tuple[str, str]:
    """The Python of an environment with these packages, made when missing, and the versions."""
    inside = str(folder / "bin" / "python")
    if not (folder / ".complete").exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([inside, "-m", "pip", "install", "-q", *packages], check=True)
        (folder / ".complete").touch()
    code = "import sys, importlib.metadata as m; print(*(m.version(p) for p in sys.argv[1:]))"
    versions = subprocess.check_output([inside, "-c", code, *packages], text=True).split()
    return inside, ", ".join(f"{p} {v}" for p, v in zip(packages, versions, strict=True))


def make_peers(folder: Path, triton_python: str, deadline: float) -> list[Peer]:
    """The three, with the same limits where they have them."""
    limits = {"batch": BATCH, "delay": DELAY, "queue": QUEUE, "deadline": deadline}
    limits["threads"] = available_cpus()
    flags = [part for name, value in limits.items() for part in (f"--{name}", str(value))]
    tensor = np.random.default_rng(0).random((1, 3, 320, 320), np.float32)
    binary = {"parameters": {"binary_data_output": True}}
    body, length = encode(binary, {"images": tensor}, "inputs", {"images"})
    kserve = post("/v2/models/default/infer", body, KIND, more=f"{HEADER_LENGTH}: {length}\r\n")

    def peer(name: str, python: str, script: str, request: bytes) -> Peer:
        port, file = free_port(), str(Path(__file__).parent / script)
        return Peer(name, [python, file, str(MODEL), *flags, "--port", str(port)], request, port)

    port = free_port()
    ours = [
        sys.executable, "-m", "yolov4sdk", "serve", f"default={MODEL}", "--port", str(port),
        "--batch-size", str(BATCH), "--batch-delay", str(DELAY), "--queue-length", str(QUEUE),
        "--deadline", str(deadline), "--set", "drain_delay=0",
    ]  # fmt: skip
    lit, lit_versions = environment(folder / "litserve", sys.executable, "litserve", "onnxruntime")
    tri, tri_versions = environment(
        folder / "pytriton", triton_python, "nvidia-pytriton", "onnxruntime"
    )
    import onnxruntime

    return [
        Peer(f"yolov4sdk, onnxruntime {onnxruntime.__version__}", ours, kserve, port),
        peer(lit_versions, lit, "litserve_server.py", post("/predict", tensor.tobytes(), KIND)),
        peer(tri_versions, tri, "triton_server.py", kserve),
    ]


@contextmanager
def running(peer: Peer, logs: Path) -> Iterator[None]:
    """The server, up and answering the request."""
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{peer.port}.log").open("w") as log:
        process = subprocess.Popen(
            peer.command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        try:
            ends = time.perf_counter() + 120
            while True:
                (answer,) = asyncio.run(closed_loop(peer.port, [peer.request], 1))
                if answer.status == 200:
                    break
                if process.poll() is not None or time.perf_counter() > ends:
                    raise RuntimeError(f"{peer.name} does not answer; see {log.name}")
                time.sleep(0.5)
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):  # LitServe leaves its workers behind
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def measure(peers: list[Peer], clients: int, seconds: float, deadline: float) -> None:
    """One round."""
    for peer in peers:
        started = time.perf_counter()
        answers = asyncio.run(
            closed_loop(peer.port, repeat(peer.request), clients, for_seconds(seconds))
        )
        count = sum(answer.status == 200 for answer in answers)
        peer.throughput.append(count / (time.perf_counter() - started))
    rate = 4 * max(peer.throughput[-1] for peer in peers)
    for peer in peers:
        answers = asyncio.run(open_loop(peer.port, peer.request, rate, seconds))
        limit = deadline + BATCH / peer.throughput[-1]
        taken = [answer.seconds for answer in answers if answer.status == 200]
        # When each good answer came: requests were sent at an even rate, in this order.
        good = [
            number / rate + answer.seconds
            for number, answer in enumerate(answers)
            if answer.status == 200 and answer.seconds <= limit
        ]
        peer.goodput.append(len(good) / max(good, default=seconds))
        peer.p99.append(percentile(taken, 99))
        peer.answers += answers


def table(peers: list[Peer]) -> str:
    """Medians over the rounds; ours is the first."""
    lines = [
        "| server | throughput, images/s | to ours | goodput at 4x, images/s "
        "| p99 of answers at 4x, s | answers at 4x by status |",
        "|---|---|---|---|---|---|",
    ]
    for peer in peers:
        counts = statuses(peer.answers)
        told = ", ".join(f"{status or 'none'}: {count}" for status, count in counts.items())
        lines.append(
            f"| {peer.name} | {statistics.median(peer.throughput):.1f} "
            f"| {median_ratio(peer.throughput, peers[0].throughput):.2f} "
            f"| {statistics.median(peer.goodput):.1f} | {statistics.median(peer.p99):.2f} "
            f"| {told} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--deadline", type=float, default=2)
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-peers")
    parser.add_argument(
        "--triton-python", default="/usr/bin/python3", help="pytriton takes a system's Python only"
    )
    args: Any = parser.parse_args()
    peers = make_peers(args.environments, args.triton_python, args.deadline)
    with ExitStack() as stack:
        for peer in peers:
            stack.enter_context(running(peer, args.environments / "logs"))
        for _ in range(args.rounds):
            measure(peers, args.clients, args.seconds, args.deadline)
    print(f"{machine()}; yolov4-csp-n at 320 x 320, float32 tensors of 1.2 MB, batches")
    print(f"of up to {BATCH}, {args.clients} clients, deadline {args.deadline:g} s, ", end="")
    print(f"{args.rounds} alternating rounds of {args.seconds:g} s, medians.\n")
    print(table(peers))


if __name__ == "__main__":
    main()
