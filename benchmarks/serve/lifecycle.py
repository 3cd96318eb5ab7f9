"""Checks 5, 6, 7 and 14, starts, ends and changes: `python -m benchmarks.serve.lifecycle`.

5. SIGKILL of the worker amid a batch: its clients get 503 within a second, the others are
   answered, ready again in 10 s; each request is answered once.
6. SIGTERM under load: nothing accepted is lost, ready 503 while live 200, exit code 0.
7. The first request after ready against the steady median.
14. Model swaps under load without an error; a corrupt model keeps the old one; the totals of the
    metrics equal the clients' counts.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import shutil
import statistics
import tempfile
import time
from itertools import repeat
from pathlib import Path
from typing import Any

import orjson

from tests.support.images import seeds
from tests.support.service import PHOTOGRAPH, ROOT, Service

from .load import Answer, Client, closed_loop, post, statuses

KEY = "benchmark"


async def crash(service: Service, count: int) -> dict[str, Any]:
    """Send `count` requests at once and kill the worker while it runs the first of them."""
    worker = service.child("serve.worker")
    request, ended = post("/v1/detect", PHOTOGRAPH.read_bytes()), list[tuple[float, int]]()

    async def one() -> Answer:
        answer = await Client(service.port).send(request)
        ended.append((time.perf_counter(), answer.status))
        return answer

    tasks = [asyncio.create_task(one()) for _ in range(count)]
    while not await asyncio.to_thread(service.metrics, "yolov4sdk_batch_size_sum"):
        await asyncio.sleep(0.01)
    worker.kill()
    killed = time.perf_counter()
    while (await asyncio.to_thread(service.get, "/readyz"))[0] == 200:
        await asyncio.sleep(0.005)
    await asyncio.to_thread(service.wait_ready, 60)
    ready = time.perf_counter() - killed
    answers = await asyncio.gather(*tasks)
    lost = [when - killed for when, status in ended if status == 503]
    return {
        "statuses": statuses(answers), "lost_after": max(lost, default=0.0), "ready_after": ready,
    }  # fmt: skip


async def drain(service: Service, clients: int, before: float) -> dict[str, Any]:
    """Send SIGTERM under load; what clients got, what the service logged, and its exit code."""
    request, answers, going = post("/v1/detect", seeds()["JPEG"]), list[Answer](), True

    async def one() -> None:
        client = Client(service.port)
        while going:
            answer = await client.send(request)
            answers.append(answer)
            if answer.status == 0:
                await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(one()) for _ in range(clients)]
    await asyncio.sleep(before)
    service.terminate()
    await asyncio.sleep(0.3)
    ready, live = [await asyncio.to_thread(service.get, path) for path in ("/readyz", "/livez")]
    code = await asyncio.to_thread(service.wait, 60)
    going = False
    await asyncio.gather(*tasks)
    logged = [json.loads(line) for line in service.lines().splitlines() if line.startswith("{")]
    done = [line["status"] for line in logged if line.get("route") == "/v1/detect"]
    return {
        "exit": code, "ready": ready[0], "live": live[0],
        "received": sum(a.status == 200 for a in answers), "logged": done.count(200),
        "unanswered": len(done) - done.count(200),
        "other": {k: v for k, v in statuses(answers).items() if k not in (0, 200)},
    }  # fmt: skip


async def first(service: Service, steady: int) -> tuple[float, float]:
    """Seconds of the first request after ready, and the median of the following."""
    request, client = post("/v1/detect", PHOTOGRAPH.read_bytes()), Client(service.port)
    seconds = [(await client.send(request)).seconds for _ in range(steady + 1)]
    client.close()
    return seconds[0], statistics.median(seconds[1:])


async def swaps(service: Service, files: list[str], count: int) -> dict[str, Any]:
    """Swap the model `count` times under load, a corrupt file among them; see check 14."""
    done = False
    more = f"Authorization: Bearer {KEY}\r\n"
    request = post("/v1/detect?model=m", seeds()["JPEG"], more=more)
    load = asyncio.create_task(closed_loop(service.port, repeat(request), 4, lambda: done))
    admin, loads = Client(service.port), list[Answer]()
    for number in range(count):
        body = orjson.dumps({"file": files[number % len(files)]})
        loads.append(await admin.send(post("/v1/models/m", body, "application/json", "PUT", more)))
    done = True
    answers = await load
    counted = await asyncio.to_thread(service.metrics, "yolov4sdk_requests_total")
    totals = {
        int(name.partition('status="')[2][:3]): value
        for name, value in counted.items()
        if 'route="/v1/detect"' in name
    }
    return {"answers": statuses(answers), "loads": statuses(loads), "metrics": totals}


def swap_settings(folder: Path) -> dict[str, Any]:
    """Settings of a service whose admin may load what lies in `folder`."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys = [{"name": "bench", "sha256": digest, "admin": True}]
    return {"models_dir": folder, "api_keys": json.dumps(keys)}


def prepare(model: Path, folder: Path) -> list[str]:
    """Two good files and a corrupt one in `folder`; their names."""
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(model, folder / name)
    data = model.read_bytes()
    (folder / "corrupt.onnx").write_bytes(data[: len(data) // 2])
    return ["a.onnx", "b.onnx", "corrupt.onnx"]


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument(
        "model", type=Path, nargs="?", default=ROOT / "yolov4sdk" / "assets" / "default.onnx"
    )
    args = parser.parse_args()
    model = f"m={args.model}"
    with Service(model, batch_size=4, deadline=30) as service:
        start, steady = asyncio.run(first(service, 50))
        print(
            f"7. first request {1e3 * start:.0f} ms, steady median {1e3 * steady:.0f} ms, ", end=""
        )
        print(f"ratio {start / steady:.2f}")
    with Service(model, batch_size=4, deadline=30) as service:
        print("5.", asyncio.run(crash(service, 32)))
    with Service(model, drain_delay=3) as service:
        print("6.", asyncio.run(drain(service, 8, 3)))
    with tempfile.TemporaryDirectory() as name:
        files = prepare(args.model, Path(name))
        with Service(model, **swap_settings(Path(name))) as service:
            print("14.", asyncio.run(swaps(service, files, args.swaps)))


if __name__ == "__main__":
    main()
