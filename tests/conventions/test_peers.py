"""Against the peers' own decoding of the same outputs, in the peers' environment (`-m peers`).

`sh benchmarks/peers/environment` prepares it; PEERS_ENVIRONMENT names another folder than its
usual one. The same comparison prints the table of benchmarks/results/decoding.md.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.decoding import build, compared
from benchmarks.peers.decoding import PEERS

pytestmark = [pytest.mark.peers]
PYTHON = Path(os.environ.get("PEERS_ENVIRONMENT", "/tmp/yolov4sdk-peers")) / "bin" / "python"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder with the peers' files, and why some are missing."""
    if not PYTHON.is_file():
        pytest.skip(f"no {PYTHON}: sh benchmarks/peers/environment makes it")
    folder = tmp_path_factory.mktemp("peers")
    return folder, build(PYTHON, folder)


@pytest.mark.parametrize("name", sorted(PEERS))
def test_boxes_are_the_makers_own(name: str, built: tuple[Path, dict[str, str]]) -> None:
    folder, reasons = built
    if name in reasons:
        pytest.skip(f"not built here: {reasons[name]}")
    found = compared(folder / f"{name}.onnx")
    assert found.classes == found.boxes > 0 and found.error < 1e-3
    # A network with random weights may rank other queries after a last bit of its input.
    assert found.adopted is None or found.adopted < 1e-3
