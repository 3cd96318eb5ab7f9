"""Whole files or none: atomic writes, and hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..errors import OutputError, SettingError

NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PART: Final = 24
"""Characters of a name that its temporary file shows: at most 4 bytes each."""


@contextmanager
def atomic_write(path: str | os.PathLike[str], replace: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    A reader sees the old file or the whole new one, never a part; after an error the
    temporary file is gone and the old file is as it was. The folder is made when missing.

    Args:
        path: of the file.
        replace: whether a file that is there may be replaced.

    Yields:
        The temporary path (same folder and suffix, so that libraries that look at the suffix
        write the right format).

    Raises:
        OutputError: nothing can be written there, the disk is full, or a file is there that is not
            to be replaced.
    """
    target = Path(path)
    # The longest name of a file is 255 bytes: the temporary one holds only a part of it.
    start, suffix = target.stem[:_PART], target.suffix[:_PART]
    with _output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{start}.", suffix=suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with _output_errors(target, NO_ROOM):
            yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes 0600; a normal file is what is wanted
        if replace:
            temporary.replace(target)
        else:
            _place(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _place(temporary: Path, target: Path) -> None:
    """Give the file its name; never the name of another file."""
    taken = OutputError(f"{target} is there already: another program wrote it; it is left as it is")
    try:
        os.link(temporary, target)  # unlike a renaming, it fails where a file is
    except FileExistsError:
        raise taken from None
    except OSError:  # a file system without links, such as FAT
        if os.path.lexists(target):
            raise taken from None
        temporary.replace(target)


def printable(text: object) -> str:
    """A path or message as text that every file and terminal takes.

    Bytes of a file name that are not UTF-8 become escapes: `caf\\xe9.jpg`.
    """
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


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


def check_new_files(paths: Iterable[str | os.PathLike[str]]) -> None:
    """See that none of the files that a run will write is there.

    Raises:
        SettingError: one is; it may be the user's, so it is not replaced.
    """
    for path in paths:
        if os.path.lexists(path):
            raise SettingError(f"{path} is there already and is not replaced; give another name")


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


def require_own(path: Path, variable: str) -> None:
    """Raise unless only this user (and root) can have written what lies at `path`.

    What is there must belong to the user and not be writable by others, and nobody else may be
    able to put something in its place. Windows keeps other rights, in the user's profile.

    Args:
        path: a folder or file that is there.
        variable: name of the environment variable that names another place.

    Raises:
        SettingError: says what is wrong and the command that puts it right.
    """
    if os.name != "posix":
        return
    found, user = path.stat(), os.geteuid()
    if found.st_uid != user:
        raise SettingError(
            f"{path} belongs to another user (id {found.st_uid}, this is {user}), so what lies "
            f"there is not trusted; set {variable} to a folder of your own"
        )
    if found.st_mode & 0o022:
        raise SettingError(
            f"{path} can be written by others, so what lies there is not trusted; `chmod go-w "
            f"{path}` after looking at it, or set {variable} to a folder of your own"
        )
    for parent in path.resolve().parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise SettingError(
                f"{parent} can be written by everyone, so {path} can be exchanged; set {variable} "
                "to a folder of your own"
            )


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
