"""Starts, overload, crashes and ends: the acceptance checks in short."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serve.hostile import bombs, mutations
from benchmarks.serve.lifecycle import crash, drain, prepare, swap_settings, swaps
from benchmarks.serve.load import statuses
from benchmarks.serve.overload import abandon, overload
from benchmarks.serve.soak import soak
from tests.support.service import ROOT, Service


def test_mutated_files(service: Service) -> None:
    answers = mutations(service, 200)
    assert set(statuses(answers)) <= {200, 415, 422}
    assert answers[-1].status == 200


def test_bombs_cost_nothing(service: Service) -> None:
    for name, (answer, memory) in bombs(service).items():
        assert 400 <= answer.status < 500, name
        assert memory < 20e6, name


def test_overload_is_refused_with_retry_after() -> None:
    with Service(batch_size=2, queue_length=6, deadline=3) as service:
        found = asyncio.run(overload(service, 2, 4))
        answers = found["answers"]
        assert set(statuses(answers)) <= {200, 503, 504}
        refused = [answer for answer in answers if answer.status == 503]
        assert refused and all(int(answer.retry_after) >= 1 for answer in refused)
        counted = service.metrics('yolov4sdk_requests_total{method="POST",route="/v1/detect"')
        sent = sum(counted.values())
        assert sum(statuses(answers).values()) <= sent
        overloads = service.metrics("yolov4sdk_images_total")
        assert overloads['yolov4sdk_images_total{model="default",outcome="overload"}'] == len(
            refused
        )


def test_work_of_clients_that_went_is_not_run() -> None:
    with Service(queue_length=300, deadline=60, batch_size=4) as service:
        ran, queued = asyncio.run(abandon(service, 60))
        assert queued > 30
        assert ran <= 8  # the batch that ran when they went, and the one being put together


def test_a_killed_worker_costs_its_batch_alone() -> None:
    with Service(batch_size=2, deadline=60) as service:
        found = asyncio.run(crash(service, 10))
        assert set(found["statuses"]) == {200, 503}
        assert 1 <= found["statuses"][503] <= 2
        assert sum(found["statuses"].values()) == 10
        outcomes = service.metrics("yolov4sdk_images_total")
        assert sum(outcomes.values()) == 10


def test_sigterm_loses_nothing_that_was_accepted(micro: Path) -> None:
    with Service(f"m={micro}", drain_delay=2) as service:
        found = asyncio.run(drain(service, 4, 1))
    assert (found["exit"], found["ready"], found["live"]) == (0, 503, 200)
    assert found["received"] == found["logged"] > 0
    assert not found["unanswered"] and not found["other"]


def test_swaps_under_load(micro: Path, tmp_path: Path) -> None:
    files = prepare(micro, tmp_path)
    with Service(f"m={micro}", **swap_settings(tmp_path)) as service:
        found = asyncio.run(swaps(service, files, 9))
    assert found["loads"] == {200: 6, 422: 3}
    assert set(found["answers"]) == {200} and found["metrics"] == found["answers"]


def test_nothing_leaks(service: Service) -> None:
    before, after, counts = soak(service, 600, 200)
    assert set(counts) <= {200, 415, 422}
    assert after.descriptors == before.descriptors
    assert after.threads <= before.threads
    assert after.memory < before.memory * 1.05 + 5e6


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--batch-size", "0"], {}, "batch_size"),
        (["--set", "qeue_length=3"], {}, "YOLOV4SDK_QUEUE_LENGTH"),
        (["nothing.onnx"], {}, "nothing.onnx"),
        ([], {"YOLOV4SDK_BATCHSIZE": "4"}, "YOLOV4SDK_BATCH_SIZE"),
        ([], {"YOLOV4SDK_DEADLINE": "soon"}, "YOLOV4SDK_DEADLINE"),
        ([], {"YOLOV4SDK_API_KEYS": "[1]"}, "YOLOV4SDK_API_KEYS"),
        ([], {"YOLOV4SDK_CONFIG": "missing.toml"}, "missing.toml"),
        (["--models-dir", "/nowhere"], {}, "models_dir"),
    ],
)
def test_a_wrong_setting_stops_the_start_in_a_sentence(
    arguments: list[str], environment: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "yolov4sdk", "serve", "--port", "0", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_model_that_does_not_load_stops_the_start(micro: Path) -> None:
    environment = {**os.environ, "YOLOV4SDK_MODELS": str(micro), "YOLOV4SDK_DEVICE": "cuda:7"}
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "serve.app:app", "--port", "0"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 3
    assert "CUDA" in done.stderr and "Traceback" not in done.stderr
