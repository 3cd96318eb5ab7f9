"""Two gloo processes against one: the same loss and gradients, the same weights on both."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.train.ddp_worker import one_batch
from tests.train.synthetic import quick, write_dataset
from train.distributed import World, joined_world
from train.job import prepare
from train.run import RESULTS_FILE
from yolov4sdk.errors import TrainingError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), train=10, val=4)


def launch(what: str, data: Path, output: Path) -> tuple[str, list[dict]]:
    """Run the worker in two processes: what they printed, and what each of them wrote."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        str(REPOSITORY / "tests/train/ddp_worker.py"), what, str(data), str(output),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        text, _ = started.communicate(timeout=300)
    finally:  # the workers too: they would wait for one another for ever
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == 0, text
    name = {"measure": "batch", "run": "run"}[what]
    return text, [torch.load(output / f"{name}{r}.pt", weights_only=True) for r in range(2)]


def test_both_ranks_end_with_the_same_weights(data, tmp_path):
    quick(data, tmp_path)  # writes the tiny model once, before two processes would
    text, ranks = launch("run", data, tmp_path)
    assert (tmp_path / "run" / RESULTS_FILE).is_file()
    assert text.count("finished after") == 1  # rank 0 alone talks
    first, second = (r["model"] for r in ranks)
    assert first.keys() == second.keys()
    learnt = [k for k in first if "running" not in k and "num_batches" not in k]
    assert all(torch.equal(first[k], second[k]) for k in learnt)
    assert ranks[0]["updates"] == ranks[1]["updates"] > 0


def test_loss_and_gradients_equal_one_process(data, tmp_path):
    quick(data, tmp_path)
    _, ranks = launch("measure", data, tmp_path)
    job = prepare(quick(data, tmp_path), World(), torch.device("cpu"), lambda _: None)
    alone = one_batch(job, World())
    for batch in ranks:
        torch.testing.assert_close(batch["loss"], alone["loss"], rtol=1e-4, atol=1e-6)
        for name, gradient in alone.items():
            torch.testing.assert_close(
                batch[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())
            )


def test_alone_there_is_a_world_of_one(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with joined_world(use_cuda=False) as world:
        assert world == World(0, 1, 0)
        assert world.total([1.0, 2.0]) == [1.0, 2.0]


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "99")
    with pytest.raises(TrainingError, match="nproc-per-node"), joined_world(use_cuda=True):
        pass
