"""Inputs in a bucket, and what is said of those that cannot be read; without Ray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.s3server import LocalS3, local_s3
from tests.test_cli import run
from yolov4sdk.errors import ImageNotFoundError

pytest.importorskip("pyarrow", reason='pip install "yolov4sdk[ray]"')
import pyarrow as pa
from pyarrow import fs, parquet

from yolov4sdk.cluster.partitions import UNREADABLE, Inputs, Reader, fingerprint


@pytest.fixture(scope="module")
def s3():
    with local_s3() as server:
        server.put("photographs/b.jpg", b"second")
        server.put("photographs/a/a.PNG", b"first")
        server.put("photographs/notes.txt", b"no image")
        server.put("private/secret.jpg", b"mine", public=False)
        server.put("private/shown.jpg", b"all's")
        table = pa.Table.from_pylist([{"path": str(i), "bytes": b"%d" % i} for i in range(5)])
        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink, row_group_size=3)
        server.put("tables/images.parquet", sink.getvalue().to_pybytes())
        yield server


def read(inputs: Inputs, size: int) -> list[dict]:
    reader, found = inputs.reader(), []
    for p in inputs.partitions(size):
        batch = {key: [value] for key, value in p.to_dict().items()}
        found += [row for table in reader(batch) for row in table.to_pylist()]
    return found


def test_images_of_a_bucket(s3: LocalS3) -> None:
    found = read(Inputs([s3.address("bucket/photographs")]), 1)
    assert [(r["partition"], r["file"], r["bytes"]) for r in found] == [
        (0, "bucket/photographs/a/a.PNG", b"first"),
        (1, "bucket/photographs/b.jpg", b"second"),
    ]
    (one,) = read(Inputs([s3.address("bucket/photographs/b.jpg")]), 8)
    assert one["bytes"] == b"second"


def test_parquet_of_a_bucket(s3: LocalS3) -> None:
    found = read(Inputs([s3.address("bucket/tables")]), 8)
    assert [(r["partition"], r["index"], r["bytes"]) for r in found] == [
        (i // 3, i % 3, b"%d" % i) for i in range(5)
    ]


def test_an_object_without_access_has_an_error(s3: LocalS3) -> None:
    secret, shown = read(Inputs([s3.address("bucket/private")]), 8)
    assert "secret.jpg cannot be read" in secret["error"] and "ACCESS_DENIED" in secret["error"]
    assert shown["error"] is None and shown["bytes"] == b"all's"


def test_a_bucket_that_is_not_there_or_not_open(s3: LocalS3) -> None:
    for place in ("bucket/none", "other/photographs"):
        with pytest.raises(ImageNotFoundError, match=f"no images or Parquet files in s3://{place}"):
            Inputs([s3.address(place)])
    with pytest.raises(ImageNotFoundError, match=r"s3://bucket/private/secret.jpg cannot be read"):
        Inputs([s3.address("bucket/private/secret.jpg")])
    with pytest.raises(ImageNotFoundError) as raised:
        Inputs(["s3://key:hidden@bucket/x?endpoint_override=127.0.0.1:9&scheme=http&region=r"])
    assert "s3://bucket/x cannot be read" in str(raised.value)
    assert "hidden" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_store_that_goes_away_is_no_row_of_errors(tmp_path: Path) -> None:
    """A row counts as finished; what another run could read must not be one."""
    closed = [tmp_path / f"{i}.jpg" for i in range(UNREADABLE)]
    for folder in closed:
        folder.mkdir()  # there, and cannot be read
    (tmp_path / "good.jpg").write_bytes(b"x")
    good = str(tmp_path / "good.jpg")
    reader = Reader(fs.LocalFileSystem())
    batch = {"number": [0], "row_group": [None], "files": [[good, *map(str, closed)]]}
    with pytest.raises(ImageNotFoundError, match=r"7\.jpg cannot be read.*nor can the 7 before"):
        list(reader(batch))
    # with readable or missing ones between them, the files are to blame
    batch["files"] = [[*map(str, closed[1:]), good, *map(str, closed[1:])]]
    assert sum(t["error"].null_count for t in reader(batch)) == 1
    batch["files"] = [[str(tmp_path / f"gone{i}.jpg") for i in range(UNREADABLE + 1)]]
    assert sum(t.num_rows for t in reader(batch)) == UNREADABLE + 1


def test_without_ray_the_way_is_told(capsys, tmp_path) -> None:
    for source in ("s3://bucket/x", "gs://bucket/x", "many.parquet"):
        for sources in ([source], ["examples/images", source]):
            code, _, err = run(capsys, "detect", *sources, "-o", tmp_path / "o")
            assert code == 2 and f"{source}: buckets and Parquet files are read with --ray" in err
    assert not (tmp_path / "o").exists()


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"b")
    inputs = Inputs([str(tmp_path)])
    partitions = inputs.partitions(2)
    assert fingerprint(partitions) == fingerprint(inputs.partitions(2))
    (row,) = [p.to_dict() for p in partitions]
    batch = {key: [value] for key, value in row.items()}
    (table,) = inputs.reader()(batch)
    assert table["bytes"].to_pylist() == [b"a", b"b"]
    assert table["file"].to_pylist() == [f"{tmp_path}/a.jpg", f"{tmp_path}/caf\\xe9.jpg"]
