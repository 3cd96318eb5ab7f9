"""Detection on Ray: the rows of one process, resumed jobs, broken inputs, a node that dies."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.s3server import local_s3
from tests.test_cli import run
from tests.tritonserver import free_port
from yolov4sdk import Detector
from yolov4sdk.cluster.batch_predictor import BatchPredictor, row
from yolov4sdk.errors import (
    ArtefactNotFoundError,
    ImageNotFoundError,
    OutputError,
    SettingError,
)

pytest.importorskip("ray", reason='no Ray here: pip install "yolov4sdk[ray]"')
import pyarrow as pa
from pyarrow import fs, parquet

from yolov4sdk.cluster import ray_job
from yolov4sdk.cluster.partitions import Reader
from yolov4sdk.cluster.ray_job import detect_with_ray

CONF = 0.001
STORE = 80_000_000


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one processor each, as two raylets of this machine."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so; 15 would starve
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False,
            "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 3},
        },
    )  # fmt: skip
    made.add_node(num_cpus=1, object_store_memory=STORE, resources={"second": 1})
    ray.init(made.address, logging_level="error", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def model(micro_artefacts) -> str:
    return str(micro_artefacts["onnxruntime"])


@pytest.fixture(scope="module")
def folder(photos_dir, tmp_path_factory) -> Path:
    """Ten images of four photographs, one of them broken and one empty."""
    root = tmp_path_factory.mktemp("photographs")
    photographs = sorted(photos_dir.glob("*.*g"))[:4]
    for i in range(8):
        image = cv2.imread(str(photographs[i % 4]))
        cv2.imwrite(str(root / f"{i}.jpg"), cv2.resize(image, (200 + 10 * i, 160)))
    (root / "3b.jpg").write_bytes(b"\xff\xd8\xff no photograph")
    (root / "5b.png").write_bytes(b"")
    return root


def rows(output: Path) -> list[dict[str, Any]]:
    """All rows of a job, in the order of its partitions."""
    found: list[dict[str, Any]] = []
    for file in sorted(output.glob("part-*")):
        if file.suffix == ".parquet":
            found += parquet.read_table(file).to_pylist()
        else:
            found += map(json.loads, file.read_text().splitlines())
    return found


@pytest.fixture(scope="module")
def expected(folder, model) -> list[dict[str, Any]]:
    """What one process says of the good images, image by image."""
    with Detector(model, conf=CONF) as detector:
        return [
            {"file": str(file), **row(detector(file))}
            for file in sorted(folder.iterdir())
            if "b" not in file.name
        ]


def test_rows_are_those_of_one_process(cluster, folder, model, expected, tmp_path) -> None:
    summary = detect_with_ray([str(folder)], tmp_path, model=model, partition=4, conf=CONF)
    assert summary.to_dict() == {"images": 10, "failed": 2, "partitions": 3, "skipped": 0}
    found = rows(tmp_path)
    assert [r["file"] for r in found] == sorted(map(str, folder.iterdir()))
    assert [r for r in found if r["error"] is None] == expected
    assert sum(len(r["detections"]) for r in found) > 10
    broken = [r for r in found if r["error"]]
    assert [Path(r["file"]).name for r in broken] == ["3b.jpg", "5b.png"]
    assert "not an image" in broken[0]["error"] and broken[0]["detections"] == []
    assert not list(tmp_path.glob(".*"))

    # a second run computes what is missing, and nothing else
    kept, missing = (tmp_path / f"part-0000{i}.parquet" for i in (0, 1))
    before = kept.stat().st_mtime_ns
    missing.unlink()
    again = detect_with_ray([str(folder)], tmp_path, model=model, partition=4, conf=CONF)
    assert again.skipped == 2
    assert rows(tmp_path) == found and kept.stat().st_mtime_ns == before
    with pytest.raises(SettingError, match=r"another job \(options differ\)"):
        detect_with_ray([str(folder)], tmp_path, model=model, partition=4, conf=0.5)
    with pytest.raises(SettingError, match=r"another job \(inputs differ\)"):
        detect_with_ray([str(folder)], tmp_path, model=model, partition=5, conf=CONF)


def test_the_command_and_json_lines(cluster, folder, model, expected, capsys, tmp_path) -> None:
    code, out, _ = run(
        capsys, "detect", folder, "-m", model, "-o", tmp_path, "--ray", "--format", "jsonl",
        "--conf", CONF, "--json",
    )  # fmt: skip
    assert code == 1  # two images are broken
    assert json.loads(out) == {"images": 10, "failed": 2, "partitions": 1, "skipped": 0}
    assert [r for r in rows(tmp_path) if r["error"] is None] == expected


def test_a_bucket_in_and_rows_out(cluster, folder, model, expected, capsys, tmp_path) -> None:
    with local_s3() as s3:
        for file in folder.iterdir():
            s3.put(f"photographs/{file.name}", file.read_bytes(), public=file.name != "5b.png")
        source = s3.address("bucket/photographs")
        code, out, _ = run(
            capsys, "detect", source, "-m", model, "-o", tmp_path, "--ray", "--partition", 4,
            "--conf", CONF, "--json",
        )  # fmt: skip
    assert code == 1  # two images are broken
    assert json.loads(out) == {"images": 10, "failed": 2, "partitions": 3, "skipped": 0}
    found = rows(tmp_path)
    assert [r for r in found if r["error"] is None] == [
        {**r, "file": f"bucket/photographs/{Path(r['file']).name}"} for r in expected
    ]
    assert ["ACCESS_DENIED" in r["error"] for r in found if r["error"]] == [False, True]


def test_images_in_parquet(cluster, folder, model, expected, tmp_path) -> None:
    """In two row groups and both forms of the column; a row without an image; only broken ones."""
    files = sorted(folder.iterdir())
    entries = [{"path": str(f), "bytes": f.read_bytes()} for f in files]
    source = tmp_path / "in"
    source.mkdir()
    parquet.write_table(pa.Table.from_pylist(entries), source / "a.parquet", row_group_size=6)
    nested = [{"image": {"bytes": None, "path": "x.jpg"}}, {"image": {"bytes": b"?", "path": None}}]
    parquet.write_table(pa.Table.from_pylist(nested), source / "b.parquet")
    out = tmp_path / "out"
    summary = detect_with_ray([str(source)], out, model=model, conf=CONF)
    assert summary.to_dict() == {"images": 12, "failed": 4, "partitions": 3, "skipped": 0}
    found = rows(out)
    assert [r for r in found if r["error"] is None] == expected
    assert [(r["file"], r["error"] is None) for r in found[-2:]] == [
        ("x.jpg", False),
        (f"{source}/b.parquet#1", False),
    ]


def test_a_predictor_in_a_pipeline_of_ones_own(cluster, folder, model, expected) -> None:
    import ray

    results = ray.data.read_binary_files(str(folder), include_paths=True).map_batches(
        BatchPredictor,
        fn_constructor_kwargs={"model": model, "conf": CONF, "threads": 1},
        batch_format="pyarrow",
        batch_size=4,
        num_cpus=0.5,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    found = sorted(results.take_all(), key=lambda r: r["path"])
    good = [{"file": r.pop("path"), **r} for r in found if r["error"] is None]
    assert good == expected


def test_a_predictor_is_picklable_and_loads_its_model_once(folder, model) -> None:
    predictor = BatchPredictor(model, conf=CONF)
    loaded = predictor.detector
    assert predictor.detector is loaded
    copy = pickle.loads(pickle.dumps(predictor))
    assert copy._detector is None
    table = pa.table({"bytes": [(folder / "0.jpg").read_bytes()], "key": [7]})
    assert copy(table).equals(predictor(table))
    assert copy(table)["key"].to_pylist() == [7]


def test_a_file_that_cannot_be_read_has_an_error(folder) -> None:
    batch = {"number": [4], "row_group": [None], "files": [[str(folder / "gone.jpg")]]}
    (table,) = Reader(fs.LocalFileSystem())(batch)
    assert "gone.jpg cannot be read" in table["error"][0].as_py()
    assert table["partition"].to_pylist() == [4]


def test_wrong_inputs_are_said_and_leave_nothing(folder, model, capsys, tmp_path) -> None:
    out = tmp_path / "out"
    closed = "s3://bucket/x?endpoint_override=127.0.0.1:9&scheme=http&region=r"
    code, _, err = run(capsys, "detect", closed, "-m", model, "-o", out, "--ray")
    assert code == 2 and "s3://bucket/x cannot be read" in err
    with pytest.raises(ImageNotFoundError, match="no image"):
        detect_with_ray([str(tmp_path / "none")], out, model=model)
    with pytest.raises(SettingError, match="not both"):
        detect_with_ray([str(folder), "s3://bucket/x"], out, model=model)
    with pytest.raises(SettingError, match="parquet, jsonl"):
        detect_with_ray([str(folder)], out, model=model, format="csv")
    with pytest.raises(ArtefactNotFoundError):
        detect_with_ray([str(folder)], out, model="none.onnx")
    (tmp_path / "x.parquet").write_bytes(b"no Parquet")
    with pytest.raises(ImageNotFoundError, match="not a Parquet file"):
        detect_with_ray([str(tmp_path / "x.parquet")], out, model=model)
    assert not out.exists()


def test_a_cluster_that_is_not_there_or_does_not_fit(monkeypatch, cluster, folder, model, tmp_path):
    """Each in a process of its own: this one has joined the cluster already."""
    import ray

    out = tmp_path / "out"

    def error_at(address: str, before: str = "pass") -> str:
        code = f"{before}; from yolov4sdk.cli import main; main()"
        command = ["detect", folder, "-m", model, "-o", out, "--ray"]
        done = subprocess.run(
            [sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=120,
            env={**os.environ, "RAY_ADDRESS": address},
        )  # fmt: skip
        assert done.returncode == 2 and not out.exists(), done.stderr
        return done.stderr.strip().splitlines()[-1]

    nobody = f"127.0.0.1:{free_port()}"
    said = error_at(nobody)
    assert said.startswith(f"error: the Ray cluster at {nobody} cannot be joined: [Errno ")
    here = ray.get_runtime_context().gcs_address
    said = error_at(here, "import ray; ray.__version__ = '2.50.1'")
    assert f"{here} cannot be joined: Version mismatch" in said
    assert f"Ray: {ray.__version__}" in said and "Ray: 2.50.1" in said
    monkeypatch.setattr(ray, "__version__", "2.9.3")
    with pytest.raises(ImportError, match=r"Ray 2\.9\.3 is too old, 2\.44 or newer"):
        detect_with_ray([str(folder)], out, model=model)


def test_a_full_disk_keeps_what_is_finished(small_disk) -> None:
    writer = ray_job._Writer(small_disk, "jsonl")
    writer.claim({"model": None})
    table = pa.table({"partition": [0], "index": [0], "file": ["x" * 20_000]})
    writer.add(table, {0: 1, 1: 1})
    large = pa.table({"partition": [1], "index": [0], "file": ["x" * 200_000]})
    with pytest.raises(OutputError, match=os.strerror(errno.ENOSPC)):
        writer.add(large, {0: 1, 1: 1})
    assert sorted(p.name for p in small_disk.iterdir()) == ["job.json", "part-00000.jsonl"]


def test_a_node_that_dies_loses_and_repeats_nothing(folder, model, tmp_path) -> None:
    """In a process of its own, because its cluster is not the one of the other tests."""
    code = (
        "import sys; from tests.test_ray_job import kill_a_node; "
        "from pathlib import Path; kill_a_node(*map(Path, sys.argv[1:]))"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", code, folder, model, out],
        capture_output=True, text=True, timeout=500, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(out)
    names = [r["file"] for r in found]
    assert len(names) == 120 and len(set(names)) == 120
    alone = tmp_path / "alone"
    with Detector(model, conf=CONF) as detector:
        for r in found:
            if r["error"] is None:
                assert r == {"file": r["file"], **row(detector(r["file"]))}
    assert not alone.exists()


def kill_a_node(folder: Path, model: Path, out: Path) -> None:
    """Kill the second of two nodes once two partitions are finished."""
    import ray
    from ray.cluster_utils import Cluster

    many = out.parent / "many"
    many.mkdir()
    for i in range(120):
        shutil.copy(sorted(folder.iterdir())[i % 10], many / f"{i:03d}.jpg")
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False,
            "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 3},
        },
    )  # fmt: skip
    second = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    ray.init(cluster.address, logging_level="error", log_to_driver=False)
    killed: list[int] = []

    def progress(done: int, total: int) -> None:
        if done >= 2 and not killed:
            killed.append(done)
            cluster.remove_node(second, allow_graceful=False)

    summary = detect_with_ray(
        [str(many)], out, model=str(model), partition=5, conf=CONF, progress=progress
    )
    print(killed, summary)
    assert killed and killed[0] < 24 and summary.images == 120
    assert sum(node["Alive"] for node in ray.nodes()) == 1
    ray.shutdown()
    cluster.shutdown()
