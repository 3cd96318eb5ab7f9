"""Many images as partitions: what one result file is made of, and how it is read.

A partition is a run of image files, or a row group of a Parquet file. The same inputs give the
same partitions, so that a job that was stopped goes on with those that are missing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ..errors import ImageNotFoundError, MissingExtraError, SettingError
from ..imaging.images import SUFFIXES
from ..imaging.sources import expand, natural
from ..system.files import printable
from ..system.text import first_line

if TYPE_CHECKING:
    import pyarrow

CHUNK: Final = 16
"""Images that are read before they are handed on: bounds the memory of a reader."""
UNREADABLE: Final = 8
"""Files in a row that cannot be read until the store is blamed and not the file."""


@dataclass(frozen=True)
class Partition:
    """The inputs of one result file.

    Attributes:
        number: of the partition, from 0.
        files: paths of images, or of one Parquet file.
        rows: images in it.
        row_group: of the Parquet file; None for images.
    """

    number: int
    files: tuple[str, ...]
    rows: int
    row_group: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a row of a data set; names as bytes, as they need not be UTF-8."""
        return {**asdict(self), "files": [os.fsencode(file) for file in self.files]}


class Inputs:
    """Images on a file system that pyarrow reads: local, s3://, gs://, hdfs://.

    Args:
        sources: local files, folders and globs, or addresses ("s3://bucket/prefix"; an S3 of
            another kind by "s3://bucket/prefix?endpoint_override=host:9000&scheme=http", without
            credentials by "s3://anonymous@bucket/prefix").
            Parquet files, or folders of them, hold images in a column `bytes` (beside `path`), or
            `image` with the fields `bytes` and `path`.

    Raises:
        ImageNotFoundError: nothing there, or a bucket that cannot be read.
        SettingError: sources on different file systems, or images mixed with Parquet files.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        try:
            from pyarrow import fs
        except ImportError as error:
            raise MissingExtraError("Detection with Ray", "ray", "pyarrow") from error
        remote = [source for source in sources if "://" in source]
        if remote and len(remote) < len(sources):
            raise SettingError("give local sources or addresses, not both in one job")
        self.filesystem: Any = fs.LocalFileSystem()
        self.files: list[str] = self._listed(remote) if remote else _local(sources)
        parquet = [file.endswith(".parquet") for file in self.files]
        if any(parquet) and not all(parquet):
            raise SettingError("give images or Parquet files, not both in one job")
        self.parquet: bool = all(parquet)

    def _listed(self, addresses: Sequence[str]) -> list[str]:
        from pyarrow import fs

        found: list[str] = []
        for address in addresses:
            place = re.sub("//.*@", "//", address.partition("?")[0])  # without a secret key
            try:
                filesystem, path = fs.FileSystem.from_uri(address)
                if found and filesystem != self.filesystem:
                    raise SettingError("give addresses of one file system in one job")
                self.filesystem = filesystem
                info = filesystem.get_file_info(path)
                if info.type == fs.FileType.Directory:
                    inside = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
                else:
                    inside = [info] if info.type == fs.FileType.File else []
            except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
                raise ImageNotFoundError(f"{place} cannot be read: {first_line(error)}") from error
            paths = [PurePosixPath(i.path) for i in inside if i.type == fs.FileType.File]
            names = [str(path) for path in natural(paths)]
            wanted = [n for n in names if PurePosixPath(n).suffix.lower() in _WANTED]
            if not wanted:
                raise ImageNotFoundError(f"no images or Parquet files in {place}")
            found += wanted
        return list(dict.fromkeys(found))

    def partitions(self, size: int) -> list[Partition]:
        """Runs of `size` images; of Parquet files their row groups."""
        if size < 1:
            raise SettingError(f"a partition has at least 1 image, got {size}")
        if not self.parquet:
            runs = [tuple(self.files[i : i + size]) for i in range(0, len(self.files), size)]
            return [Partition(number, run, len(run)) for number, run in enumerate(runs)]
        from pyarrow import parquet

        found: list[Partition] = []
        for file in self.files:
            try:
                groups = parquet.read_metadata(file, filesystem=self.filesystem)
            except (OSError, ValueError) as error:
                raise ImageNotFoundError(
                    f"{file} is not a Parquet file: {first_line(error)}"
                ) from error
            for group in range(groups.num_row_groups):
                rows = groups.row_group(group).num_rows
                found.append(Partition(len(found), (file,), rows, group))
        return found

    def reader(self) -> Reader:
        """What reads a partition, on any node."""
        return Reader(self.filesystem)


class Reader:
    """A partition to tables of `partition`, `index`, `file`, `bytes`, `error`; picklable."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem

    def __call__(self, batch: dict[str, Any]) -> Iterator[pyarrow.Table]:
        """For `map_batches` over rows made by `Partition.to_dict`."""
        for item in range(len(batch["number"])):
            number, group = int(batch["number"][item]), batch["row_group"][item]
            files = [os.fsdecode(file) for file in batch["files"][item]]
            missing = group is None or group != group  # a null comes as None or NaN
            rows = self._images(files) if missing else self._row_group(files[0], int(group))
            yield from _tables(number, rows)

    def _images(self, files: Iterable[str]) -> Iterator[tuple[str, bytes, str | None]]:
        failures = 0
        for file in files:
            try:
                data, reason = self._read(file), None
                failures = 0
            except OSError as error:
                data, reason = (
                    b"",
                    f"{printable(file)} cannot be read: {error.strerror or first_line(error)}",
                )
                failures += not isinstance(error, FileNotFoundError)  # which the store answered
                if failures == UNREADABLE:
                    # rows of errors would count as finished, and never be tried again
                    raise ImageNotFoundError(
                        f"{reason}; nor can the {failures - 1} before it"
                    ) from error
            yield printable(file), data, reason

    def _read(self, file: str) -> bytes:
        from pyarrow import fs

        if isinstance(self._filesystem, fs.LocalFileSystem):  # pyarrow takes UTF-8 names only
            return Path(file).read_bytes()
        with self._filesystem.open_input_stream(file) as stream:
            data: bytes = stream.read()
        return data

    def _row_group(self, file: str, group: int) -> Iterator[tuple[str, bytes, str | None]]:
        from pyarrow import parquet

        opened = parquet.ParquetFile(file, filesystem=self._filesystem)
        start = sum(opened.metadata.row_group(i).num_rows for i in range(group))
        column = next((c for c in ("bytes", "image") if c in opened.schema_arrow.names), None)
        if column is None:
            raise ImageNotFoundError(
                f"{file} has no column `bytes` or `image`; it has {opened.schema_arrow.names}"
            )
        wanted = [c for c in (column, "path") if c in opened.schema_arrow.names]
        row = start
        for batch in opened.iter_batches(CHUNK, row_groups=[group], columns=wanted):
            for entry in batch.to_pylist():
                image = entry[column]
                data = image.get("bytes") if isinstance(image, dict) else image
                named = entry.get("path") or (isinstance(image, dict) and image.get("path"))
                yield named or f"{file}#{row}", data or b"", None if data else "no image in the row"
                row += 1


def fingerprint(partitions: Iterable[Partition]) -> str:
    """SHA-256 of what the partitions are made of."""
    digest = hashlib.sha256()
    for p in partitions:
        line = f"{p.number}\0{p.rows}\0{p.row_group}\0{chr(0).join(p.files)}\n"
        digest.update(os.fsencode(line))
    return digest.hexdigest()


_WANTED: Final = {*SUFFIXES, ".parquet"}


def _local(sources: Sequence[str]) -> list[str]:
    """Parquet files where a source is or holds some, images otherwise."""
    parquet: list[str] = []
    images: list[str] = []
    for source in sources:
        path = Path(source)
        inside = [path] if path.suffix == ".parquet" else natural(path.rglob("*.parquet"))
        if inside and path.exists():
            parquet += map(str, inside)
        else:
            images.append(source)
    return list(dict.fromkeys([*parquet, *map(str, expand(images, all_of_them=True))]))


def _tables(number: int, rows: Iterable[tuple[str, bytes, str | None]]) -> Iterator[pyarrow.Table]:
    import pyarrow as pa

    schema = pa.schema(
        [
            ("partition", pa.int64()), ("index", pa.int64()), ("file", pa.string()),
            ("bytes", pa.binary()), ("error", pa.string()),
        ]
    )  # fmt: skip
    chunk: list[dict[str, Any]] = []
    for index, (file, data, error) in enumerate(rows):
        entry = {"partition": number, "index": index, "file": file, "bytes": data, "error": error}
        chunk.append(entry)
        if len(chunk) == CHUNK:
            yield pa.Table.from_pylist(chunk, schema)
            chunk = []
    if chunk:
        yield pa.Table.from_pylist(chunk, schema)
