from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yolov4sdk.contract.names import COCO

from ..conftest import REPOSITORY
from ..tiny import make_micro
from .sandbox import Sandbox


@pytest.fixture(scope="session")
def coco_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network of five convolutions with COCO's 80 classes, as a file for each suffix."""
    from export import export_model
    from yolov4sdk.models.checkpoints import save_checkpoint

    folder = tmp_path_factory.mktemp("coco")
    model = make_micro(COCO)
    save_checkpoint(model, folder / "model.safetensors")
    # every box: ONNX's reference cannot gather along axes longer than 64
    export_model(model, "onnx", folder / "model.onnx", batch=None, dynamic=True, raw_outputs=True)
    export_model(folder / "model.onnx", "openvino", folder / "model.xml", batch=None, dynamic=True)
    return {path.suffix: path for path in folder.iterdir() if path.suffix != ".bin"}


@pytest.fixture
def registries() -> Iterator[None]:
    """What examples register is taken back."""
    from train.augment import STEPS
    from yolov4sdk.backends.runtimes import RUNTIMES, TABLE
    from yolov4sdk.conventions import conventions

    tables: list[dict[str, Any]] = [RUNTIMES, TABLE, conventions()]
    before, steps = [dict(table) for table in tables], list(STEPS)
    yield
    STEPS[:] = steps
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)


@pytest.fixture
def sandbox(
    tmp_path: Path,
    coco_models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    registries: None,
) -> Sandbox:
    """An empty folder with the repository's examples/, and the current directory."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    return Sandbox(tmp_path, coco_models, REPOSITORY / "examples" / "images" / "dog.jpg")
