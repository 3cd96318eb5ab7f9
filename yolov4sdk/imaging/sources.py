"""What a user points at (files, folders, globs) to a list of image files."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import ImageNotFoundError
from .images import SUFFIXES


def expand(sources: Iterable[str | Path]) -> list[Path]:
    """Files as they are, folders and globs to the images in them, sorted, each once.

    Args:
        sources: paths of images, folders (searched with their subfolders) or globs
            ("shots/**/*.jpg").

    Raises:
        ImageNotFoundError: a source that does not exist, or holds no image.
    """
    found: dict[Path, None] = {}
    for source in sources:
        files = list(_expand_one(source))
        if not files:
            raise ImageNotFoundError(
                f"no images in {source}; the suffixes read are {' '.join(sorted(SUFFIXES))}"
            )
        found.update(dict.fromkeys(files))
    return list(found)


def _expand_one(source: str | Path) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    elif path.exists():
        yield path
    elif glob.has_magic(str(source)):
        matches = sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207 - takes absolute patterns
        yield from (p for p in map(Path, matches) if p.suffix.lower() in SUFFIXES)
    else:
        raise ImageNotFoundError(f"no image, folder or match at {source}")
