"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with oracles and data that are not part of the repository."""
    folder = Path(os.environ.get("YOLOV4SDK_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set YOLOV4SDK_SHARED)")
    return folder


@pytest.fixture(scope="session")
def oracle_dir(shared_dir: Path) -> Path:
    """Numbers from independent implementations."""
    return shared_dir / "oracle"


@pytest.fixture(scope="session")
def photos_dir() -> Path:
    """The photographs that are part of the repository."""
    return REPOSITORY / "examples" / "images"
