"""Two nodes of one process each, with addresses of their own; one dies, and both go on."""

from __future__ import annotations

import contextlib
import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.train.synthetic import write_dataset, write_tiny_model
from tests.tritonserver import free_port
from train.checkpoint import STATE_FILE, read_state

EPOCHS = 8


def start(node: int, port: int, log: Path, *arguments: object) -> subprocess.Popen[str]:
    """What is typed on one machine: torchrun with its number and the first machine's address."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(node),
        "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port),
        "--local-addr", f"127.0.0.{node + 1}", "-m", "yolov4sdk", "train", *map(str, arguments),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with log.open("a") as file:
        return subprocess.Popen(
            command, env=environment, text=True, start_new_session=True, stdout=file, stderr=file
        )


def kill(node: subprocess.Popen[str]) -> None:
    """As a machine that loses its power: no signal that could be handled.

    torchrun's workers have sessions of their own, and would live on without it.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        machine = psutil.Process(node.pid)
        for process in [machine, *machine.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    node.wait()


def test_a_node_dies_and_a_restart_goes_on_from_the_checkpoint(tmp_path) -> None:
    data = write_dataset(tmp_path / "data", train=8, val=2)
    run, logs = tmp_path / "run", [tmp_path / "node0.log", tmp_path / "node1.log"]
    options = [
        data, "--model", write_tiny_model(tmp_path), "--size", 64, "--epochs", EPOCHS, "--batch", 4,
        "--device", "cpu", "--threads", 1, "--workers", 0, "--output", run,
        "--nominal-batch", 4, "--save-minutes", 0.0001,  # an update, so a state, within each epoch
    ]  # fmt: skip
    nodes = [start(i, port, logs[i], *options) for port in [free_port()] for i in (0, 1)]
    try:
        deadline = time.monotonic() + 300
        while not (run / STATE_FILE).exists() or len(rows(run)) < 2:
            assert time.monotonic() < deadline and nodes[0].poll() is None, logs[0].read_text()
            time.sleep(0.05)
        kill(nodes[1])
        assert nodes[0].wait(timeout=120) != 0  # it ends with an error, and does not wait for ever
        saved = read_state(run / STATE_FILE)["position"]
        assert 1 <= saved["epoch"] < EPOCHS
        nodes = [start(i, port, logs[i], "--resume", run) for port in [free_port()] for i in (0, 1)]
        assert [node.wait(timeout=300) for node in nodes] == [0, 0], logs[0].read_text()
    finally:
        for node in nodes:
            kill(node)
    assert [int(row["epoch"]) for row in rows(run)] == list(range(1, EPOCHS + 1))
    first, second = (log.read_text() for log in logs)
    assert first.count("epoch 1/") == 1  # it went on, and did not begin again
    assert "finished after" in first and "finished after" not in second


def rows(run: Path) -> list[dict[str, str]]:
    file = run / "results.csv"
    return list(csv.DictReader(file.read_text().splitlines())) if file.exists() else []
