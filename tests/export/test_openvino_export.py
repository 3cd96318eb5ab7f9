"""OpenVINO's own files say what torch says, and carry the spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.openvino_export import write_openvino
from yolov4sdk.backends import load_backend
from yolov4sdk.errors import ExportError
from yolov4sdk.models import Model

from .conftest import Exporter, images, largest_box_error, largest_error, planar, torch_outputs


@pytest.mark.parametrize("size", [(64, 64), (16, 40)])
def test_equals_torch(exporter: Exporter, model: Model, size: tuple[int, int]) -> None:
    result = exporter("openvino", batch=None, dynamic=True)
    pixels = images(2, *size)
    boxes, scores = torch_outputs(model, pixels)
    with load_backend(result.path, device="cpu") as backend:
        assert backend.spec == result.spec
        outputs = backend.infer(planar(pixels))
    assert [file.suffix for file in result.files] == [".bin", ".xml"]
    assert sorted(result.path.parent.iterdir()) == sorted(result.files)
    assert largest_box_error(outputs.boxes, boxes) < 1e-4
    assert largest_error(outputs.scores, scores) < 1e-5


def test_half_weights_take_half_the_space(exporter: Exporter, tmp_path: Path) -> None:
    plain = exporter()
    sizes = {}
    for precision in ("fp32", "fp16"):
        spec = plain.spec.replace(precision=precision)
        files = write_openvino(plain.path, tmp_path / f"{precision}.xml", spec)
        assert [file.suffix for file in files] == [".bin", ".xml"]
        sizes[precision] = files[0].stat().st_size
        with load_backend(files[1], device="cpu") as backend:
            assert backend.spec == spec
    assert sizes["fp16"] < 0.6 * sizes["fp32"]


def test_refused_graph(exporter: Exporter, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exporter().path.read_bytes()[:1000])
    with pytest.raises(ExportError, match=r"OpenVINO cannot convert broken\.onnx"):
        write_openvino(broken, tmp_path / "x.xml", exporter().spec)
