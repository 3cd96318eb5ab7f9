from __future__ import annotations

from pathlib import Path

import pytest

from yolov4sdk.names import COCO

from ..conftest import REPOSITORY, _artefacts
from ..tiny import make_micro
from .sandbox import Sandbox


@pytest.fixture(scope="session")
def coco_artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network of five convolutions with COCO's 80 classes, as a file for each suffix."""
    files = _artefacts(make_micro(COCO), tmp_path_factory.mktemp("coco"))
    return {path.suffix: path for path in files.values()}


@pytest.fixture
def sandbox(
    tmp_path: Path, coco_artefacts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Sandbox:
    """An empty folder with the repository's examples/, and the current directory."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    return Sandbox(tmp_path, coco_artefacts, REPOSITORY / "examples" / "images" / "dog.jpg")
