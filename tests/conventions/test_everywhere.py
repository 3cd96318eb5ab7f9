"""Adopted files are files like any other: the same boxes by every way to run them.

Tiny graphs with known boxes: Detector, an exported OpenVINO file, Triton's Python models, the
service's JSON and KServe routes. Four forms always; all conventions are slow.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from export import export_model
from export.adopt.adopt import adopt
from tests.support.service import Service
from tests.support.triton_python import InProcess
from yolov4sdk import Detections, Detector, ModelSpec
from yolov4sdk.backends.artefacts import read_spec
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.conventions.coco import NAMES
from yolov4sdk.imaging.preprocess import letterbox_plan, to_input

from .cases import BOXES, CASES, SCORES, SIDE, write

FORMS = ("yolox-raw", "yolo-nms", "rtdetr-hf", "torchvision")
"""A score for every class; suppressed; the best pairs; one image without an axis for the batch."""
REST = sorted(set(CASES) - set(FORMS))
ALL = [*FORMS, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
GROUPS = [FORMS, *(pytest.param(REST[i::5], marks=pytest.mark.slow, id=str(i)) for i in range(5))]
IMAGE = np.full((150, 2 * SIDE, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """From a convention's name to its adopted file."""
    folder = tmp_path_factory.mktemp("adopted")

    @cache
    def made(name: str) -> Path:
        case = CASES[name]()
        names = NAMES if case.names == len(NAMES) else tuple("abc")[: case.names]
        raw = write(case, folder / f"{name}.foreign.onnx")
        result = adopt(raw, folder / f"{name}.onnx", name, names=names, size=(SIDE, SIDE))
        assert result.warnings == ()
        return result.path

    return made


def expected(spec: ModelSpec) -> np.ndarray:
    """The known boxes in the pixels of `IMAGE`, by the file's own way of resizing."""
    taken = spec.contract.input
    size = (IMAGE.shape[0], IMAGE.shape[1])
    plan = letterbox_plan(size, taken.size, stride=taken.multiple, resize=taken.resize)
    assert plan.canvas == (SIDE, SIDE)
    boxes = plan.to_source(BOXES.astype(np.float32))
    return boxes.clip(0, [size[1], size[0]] * 2)


def check(name: str, path: Path, found: Detections) -> None:
    # The picture is twice as large as the canvas.
    np.testing.assert_allclose(found.xyxy, expected(read_spec(path)), atol=2e-4)
    np.testing.assert_allclose(found.scores, SCORES, atol=1e-6)
    assert found.class_ids.tolist() == CASES[name]().classes.tolist()


@pytest.mark.parametrize("name", ALL)
def test_detector_and_openvino(name: str, adopted: Any, tmp_path: Path) -> None:
    path = adopted(name)
    exported = export_model(path, "openvino", tmp_path / "m.xml").path
    for file in (path, exported):
        with Detector(file, conf=0.3) as detector:
            check(name, path, detector(IMAGE))


@pytest.mark.parametrize("name", ALL)
def test_openvino_files(name: str, tmp_path: Path) -> None:
    """A foreign .xml is adopted as an .xml, and read by its convention as it is."""
    import openvino

    case = CASES[name]()
    names = NAMES if case.names == len(NAMES) else tuple("abc")[: case.names]
    raw = write(case, tmp_path / "raw.onnx")
    openvino.save_model(openvino.convert_model(raw), tmp_path / "raw.xml", compress_to_fp16=False)
    made = adopt(tmp_path / "raw.xml", tmp_path / "own.xml", name, names=names, size=(SIDE, SIDE))
    assert made.warnings == () and made.spec.names == names
    with Detector(made.path, conf=0.3) as detector:
        check(name, made.path, detector(IMAGE))
    given = {"convention": name, "class_names": names}
    with Detector(tmp_path / "raw.xml", conf=0.3, **given) as detector:
        check(name, made.path, detector(IMAGE))
    assert {file.name for file in tmp_path.iterdir()} == {
        "raw.onnx", "raw.xml", "raw.bin", "own.xml", "own.bin"
    }  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_tritons_python_models(
    name: str, adopted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The three steps of the ensemble one after the other: decode, network, boxes."""
    pytest.importorskip("tritonclient.grpc", reason='pip install "yolov4sdk[triton]"')
    from export.options import TritonOptions
    from export.triton_config import RAW, boxes_config, decode_config, network_config

    path = adopted(name)
    spec, options = read_onnx_spec(path), TritonOptions(conf=0.3)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").symlink_to(path)
    image = np.array([[cv2.imencode(".png", IMAGE)[1].tobytes()]], object)
    seen = InProcess(monkeypatch, "decode", decode_config("d", spec, options))(image=image)
    network = InProcess(
        monkeypatch, "network", network_config("n", "python", spec, options), tmp_path
    )
    raw = network(**{spec.contract.input.name: seen["images"]})
    last = InProcess(monkeypatch, "boxes", boxes_config("b", spec, options))
    answer = last(geometry=seen["geometry"], **{RAW[key]: value for key, value in raw.items()})
    count = int(answer["count"][0, 0])
    np.testing.assert_allclose(answer["boxes"][0, :count], expected(spec), atol=2e-4)
    np.testing.assert_allclose(answer["scores"][0, :count], SCORES, atol=1e-6)
    assert answer["class_ids"][0, :count].tolist() == CASES[name]().classes.tolist()


@pytest.mark.parametrize("names", GROUPS)
def test_the_service(names: tuple[str, ...], adopted: Any) -> None:
    """Boxes as JSON, and raw tensors by KServe v2 (a Detector of the service's address)."""
    with Service(*(f"{name}={adopted(name)}" for name in names), wait=300, decoders=1) as service:
        address = f"http://127.0.0.1:{service.port}"
        for name in names:
            path, spec = adopted(name), read_spec(adopted(name))
            with Detector(f"{address}/models/{name}", conf=0.3) as detector:
                check(name, path, detector(IMAGE))
            png = cv2.imencode(".png", IMAGE)[1].tobytes()
            answer = httpx.post(
                f"{address}/v1/detect", params={"model": name, "conf": 0.3}, content=png,
                headers={"content-type": "image/png"}, timeout=60,
            )  # fmt: skip
            assert answer.status_code == 200, answer.text
            told = answer.json()["detections"]
            boxes = [[one["box"][side] for side in ("x1", "y1", "x2", "y2")] for one in told]
            np.testing.assert_allclose(boxes, expected(spec), atol=1e-3)  # as they are rounded
            assert [one["class_id"] for one in told] == CASES[name]().classes.tolist()


def test_one_way_of_resizing_for_one_canvas(adopted: Any) -> None:
    """DETR's shortest side has no canvas of its own where the graph takes one size only."""
    resize = read_onnx_spec(adopted("detr")).contract.input.resize
    assert (resize.policy, resize.shortest, resize.pad) == ("letterbox-top-left", None, 0)


def test_input_of_an_adopted_file(adopted: Any) -> None:
    """uint8 RGB whatever the original took."""
    taken = read_onnx_spec(adopted("torchvision")).contract.input
    batch = to_input(np.zeros((1, SIDE, SIDE, 3), np.uint8), taken, bgr=True)
    assert (batch.shape, batch.dtype, taken.color) == ((1, SIDE, SIDE, 3), np.uint8, "RGB")
