"""The five examples of docs/extending.md do what the page says; test_python.py runs them too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ..conftest import REPOSITORY
from .blocks import Block, blocks
from .sandbox import Sandbox
from .test_python import run

PAGE = REPOSITORY / "docs" / "extending.md"
RUNTIME, CONVENTION, AUGMENTATION, ENDPOINT, OPTION = (
    block for block in blocks(PAGE) if block.language == "python"
)


def example(block: Block, sandbox: Sandbox) -> dict[str, Any]:
    sandbox.supply_python(block.text)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    run(block, namespace)
    return namespace


def test_the_runtime_answers_as_onnx_runtime(sandbox: Sandbox) -> None:
    from yolov4sdk.backends import TABLE, load_backend

    pytest.importorskip("onnx")
    example(RUNTIME, sandbox)
    assert "reference" in TABLE
    batch = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    with load_backend("model.onnx", "reference") as one, load_backend("model.onnx") as other:
        np.testing.assert_allclose(one.infer(batch).boxes, other.infer(batch).boxes, atol=1e-2)


def test_the_convention_is_in_the_registry(sandbox: Sandbox) -> None:
    from yolov4sdk.conventions import convention

    row = example(CONVENTION, sandbox)["row"]
    assert convention("eighths") is row


def test_the_augmentation_is_used(sandbox: Sandbox) -> None:
    pytest.importorskip("torch")
    from train.augment import Augmentation, Sample, augment

    example(AUGMENTATION, sandbox)
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    sample = Sample.of(picture, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    results = [
        augment(
            lambda _: sample, 0, 1, (64, 64), Augmentation.none(), np.random.default_rng(seed)
        ).image
        for seed in range(60)
    ]
    greys = [bool((image == image[..., :1]).all()) for image in results]
    assert 0 < sum(greys) < 20


def test_the_endpoint_is_found_and_closed(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a file in the folder of routes, and nothing else knows of it."""
    pytest.importorskip("fastapi")
    import serve.routes
    from serve.access import DEFAULT, find

    folder = tmp_path / "routes"
    folder.mkdir()
    (folder / "zz_classes.py").write_text(ENDPOINT.text)
    monkeypatch.setattr(serve.routes, "__path__", [*serve.routes.__path__, str(folder)])
    scope = {"type": "http", "method": "GET", "path": "/v1/classes/x", "headers": []}
    matched = find(serve.routes.routes(), scope)
    assert matched is not None and matched.rule == DEFAULT and matched.rule.who == "key"


def test_the_option_is_one_of_the_command(sandbox: Sandbox) -> None:
    app = example(OPTION, sandbox)["app"]
    said = CliRunner().invoke(app, ["--digits", "4"])
    assert said.exit_code == 0 and "digits=4, ink='blue'" in said.output
    assert "Digits of a score." in CliRunner().invoke(app, ["--help"]).output
    said = CliRunner().invoke(app, ["--digits", "9"])
    assert "digits must be an integer of at least 0, at most 6" in str(said.exception)
