"""Whole files or none: atomic writes, and hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..errors import OutputError, SettingError

NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    A reader sees the old file or the whole new one, never a part; after an error the
    temporary file is gone and the old file is as it was. The folder is made when missing.

    Yields:
        The temporary path (same folder and suffix, so that libraries that look at the suffix
        write the right format).

    Raises:
        OutputError: nothing can be written there, or the disk is full.
    """
    target = Path(path)
    with _output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent
        )
    os.close(handle)
    temporary = Path(name)
    try:
        with _output_errors(target, NO_ROOM):
            yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes 0600; a normal file is what is wanted
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: str | os.PathLike[str]) -> str:
    """The file's SHA-256 as lower-case hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_new_folder(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a folder that is still to be made.

    Raises:
        SettingError: something is there already, other than an empty folder.
    """
    target = Path(path).resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SettingError(f"{path} holds something already; give a new or an empty folder")
    return target


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As `atomic_write`, for a new folder: it appears whole when the block ends well, or not.

    Raises:
        SettingError: the folder holds something already.
        OutputError: nothing can be written there, or the disk is full.
    """
    target = check_new_folder(path)
    with _output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with _output_errors(target, NO_ROOM):
            yield temporary
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes 0700
        if target.exists():
            target.rmdir()  # it was empty; the system refuses if it no longer is
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _output_errors(target: Path, only: Container[int | None] | None = None) -> Iterator[None]:
    """Say what the system says of `target`; `only` these numbers, as a block also reads files."""
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError) or (only is not None and error.errno not in only):
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        said = OutputError(f"{target} cannot be written: {reason}")
        said.errno = error.errno  # for who asks whether the disk was full
        raise said from error


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
