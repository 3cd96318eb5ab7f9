"""The simulation behind docs/scale.md, against what is known of queues."""

from __future__ import annotations

import pytest

from benchmarks.scale_simulation import Fleet, plan, simulate


def test_little_load_waits_for_nothing() -> None:
    fleet = Fleet(rate=1.0, workers=20, batch=8, fixed=0.02, each=0.05)
    seen = simulate(fleet, 500)
    assert seen.refused == 0 and seen.median == pytest.approx(0.07)
    assert seen.done == pytest.approx(500, rel=0.15)


def test_a_queue_of_one_worker_is_the_one_of_the_textbook() -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) services; here the median of one is checked
    by its utilisation, and the mean through Little's law by the time in the system."""
    load, service = 0.7, 0.1
    fleet = Fleet(load / service, workers=1, batch=1, fixed=service, each=0.0, queue=10**9)
    seen = simulate(fleet, 20_000)
    assert seen.utilisation == pytest.approx(load, rel=0.03)
    assert seen.refused == 0
    mean_wait = load / (2 * (1 - load)) * service
    assert service <= seen.median <= service + mean_wait  # the wait is skewed: median below mean


def test_overload_is_refused_and_the_queue_bounds_the_wait() -> None:
    fleet = Fleet(rate=300.0, workers=10, batch=8, fixed=0.02, each=0.05, queue=200)
    assert fleet.capacity == pytest.approx(190.5, abs=0.1)
    seen = simulate(fleet, 200)
    assert seen.done / 200 == pytest.approx(fleet.capacity, rel=0.03)  # nothing of it is lost
    assert seen.refused / (seen.refused + seen.done) == pytest.approx(1 - 190.5 / 300, abs=0.03)
    assert seen.longest_queue == 200
    assert seen.p99 < 200 / fleet.capacity + 2 * 0.42  # the queue, and the batches around it


def test_lost_workers_lose_no_image() -> None:
    fleet = Fleet(
        rate=50.0, workers=6, batch=8, fixed=0.02, each=0.05, queue=10**9,
        failure_every=5.0, away=10.0,
    )  # fmt: skip
    calm = simulate(Fleet(50.0, 6, queue=10**9), 300)
    seen = simulate(fleet, 300)
    assert seen.refused == 0
    assert seen.done == pytest.approx(50 * 300, rel=0.05)
    assert seen.p99 > calm.p99


def test_the_same_seed_gives_the_same_outcome() -> None:
    fleet = Fleet(20.0, 3, swing=0.5)
    assert simulate(fleet, 100, seed=3) == simulate(fleet, 100, seed=3)
    assert simulate(fleet, 100, seed=3) != simulate(fleet, 100, seed=4)


def test_the_plan_is_arithmetic() -> None:
    made = plan(86_400_000, a_core=10, kilobytes=125, row_bytes=1000, cores_a_node=10,
                utilisation=0.5, images_a_request=100)  # fmt: skip
    assert made.rate == pytest.approx(1000)
    assert made.cores == pytest.approx(200) and made.nodes == 20
    assert made.gigabits == pytest.approx(1.0) and made.gigabits_a_node == pytest.approx(0.05)
    assert made.requests == pytest.approx(10)
    assert made.terabytes_in == pytest.approx(10.8) and made.terabytes_out == pytest.approx(0.0864)
