"""KServe v2, by the client that Triton's users have, and by hostile hands."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from yolov4sdk import Detector, ModelSpec
from yolov4sdk.backends.kserve import HEADER_LENGTH, encode
from yolov4sdk.contract.spec import METADATA_KEY

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")


@pytest.fixture(scope="module")
def client(live: str) -> Any:
    with triton.InferenceServerClient(live.removeprefix("http://")) as client:
        yield client


@pytest.fixture(scope="module")
def detector(tiny_artefacts: dict[str, Path]) -> Detector:
    return Detector(tiny_artefacts["onnxruntime"])


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.random.default_rng(0).random((2, 3, 160, 192), np.float32)


def tensor(array: np.ndarray, binary: bool = True) -> Any:
    kind = "BYTES" if array.dtype == object else "FP32"
    given = triton.InferInput("images", array.shape, kind)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def files(*paths: Path) -> np.ndarray:
    array = np.empty(len(paths), object)
    array[:] = [path.read_bytes() for path in paths]
    return array


def test_health_and_metadata(client: Any, detector: Detector) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("tiny") and client.is_model_ready("tiny", "1")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    told = client.get_model_metadata("tiny", "1")
    assert told["name"] == "tiny" and told["versions"] == ["1"]
    images = {"name": "images", "datatype": "FP32", "shape": [-1, 3, -1, -1]}
    assert told["inputs"] == [images]
    assert [(o["name"], o["shape"]) for o in told["outputs"]] == [
        ("boxes", [-1, -1, 4]),
        ("scores", [-1, -1, 3]),
    ]
    assert ModelSpec.from_json(told["parameters"][METADATA_KEY]) == detector.spec


@pytest.mark.parametrize("sent_raw", [True, False])
@pytest.mark.parametrize("wanted_raw", [True, False])
def test_tensor(
    client: Any, detector: Detector, batch: Any, sent_raw: bool, wanted_raw: bool
) -> None:
    wanted = [triton.InferRequestedOutput(n, binary_data=wanted_raw) for n in ("scores", "boxes")]
    answer = client.infer("tiny", [tensor(batch, sent_raw)], outputs=wanted, request_id="7")
    assert answer.get_response()["id"] == "7"
    local = detector.infer(batch)
    assert_allclose(answer.as_numpy("boxes"), local.boxes, rtol=1e-4, atol=1e-3)
    assert_allclose(answer.as_numpy("scores"), local.scores, rtol=1e-4, atol=1e-5)


def test_all_outputs_when_none_is_named(client: Any, batch: Any) -> None:
    answer = client.infer("tiny", [tensor(batch)])
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["boxes", "scores"]
    only = client.infer("tiny", [tensor(batch)], outputs=[triton.InferRequestedOutput("scores")])
    assert_array_equal(only.as_numpy("scores"), answer.as_numpy("scores"))
    assert only.as_numpy("boxes") is None


def test_encoded_images(client: Any, detector: Detector, photos_dir: Path) -> None:
    paths = [photos_dir / "dog.jpg", photos_dir / "chelsea.png"]
    options = {"conf": 0.4, "max_det": 20, "classes": "ant,2"}
    answer = client.infer("tiny", [tensor(files(*paths))], parameters=options)
    local = detector(paths, conf=0.4, max_det=20, classes=["ant", 2])
    assert answer.as_numpy("num_detections").tolist() == [len(one) for one in local]
    assert answer.as_numpy("image_sizes").tolist() == [list(one.image_size) for one in local]
    for row, one in enumerate(local):
        assert 0 < len(one) <= 20
        assert_allclose(answer.as_numpy("boxes")[row, : len(one)], one.xyxy, atol=0.05)
        assert_array_equal(answer.as_numpy("class_ids")[row, : len(one)], one.class_ids)
        assert not answer.as_numpy("scores")[row, len(one) :].any()


def test_encoded_image_in_json(live: str, photos_dir: Path) -> None:
    text = base64.b64encode((photos_dir / "dog.jpg").read_bytes()).decode()
    image = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [text]}
    answer = httpx.post(f"{live}/v2/models/tiny/infer", json={"inputs": [image]})
    assert answer.status_code == 200
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    assert outputs["image_sizes"]["data"] == [576, 768]
    assert outputs["num_detections"]["data"][0] == outputs["boxes"]["shape"][1] > 0


def test_the_client_shows_the_reason(client: Any, batch: Any) -> None:
    for call, said in (
        (lambda: client.get_model_metadata("nope"), "No such model: there are tiny, common"),
        (lambda: client.get_model_metadata("tiny", "2"), "only the version 1"),
        (lambda: client.infer("tiny", [tensor(batch[:, :, :50])]), "multiples of 32"),
        (lambda: client.infer("tiny", [tensor(files(Path(__file__)))]), "415|422"),
        (
            lambda: client.infer("tiny", [tensor(files(Path(__file__)))], parameters={"cnf": 1}),
            r"no parameters \['cnf'\]; there are \['agnostic', 'classes', ",
        ),
        (
            lambda: client.infer("tiny", [tensor(batch)], request_compression_algorithm="gzip"),
            "compressed bodies are not read",
        ),
        (
            lambda: client.infer(
                "tiny", [tensor(batch)], outputs=[triton.InferRequestedOutput("box")]
            ),
            "no outputs .'box'.; there are .'boxes', 'scores'.",
        ),
    ):
        with pytest.raises(triton.InferenceServerException, match=said):
            call()


def refused(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == answer.status_code and told["error"] and told["request_id"]


IMAGE: dict[str, Any] = {"name": "images", "datatype": "FP32", "shape": [1, 3, 32, 32]}
ZEROS = [0.0] * (3 * 32 * 32)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"inputs": [IMAGE]},
        {"inputs": [IMAGE | {"data": [1]}]},
        {"inputs": [IMAGE | {"data": ZEROS, "name": "image"}]},
        {"inputs": [IMAGE | {"data": ZEROS, "datatype": "FP64"}]},
        {"inputs": [IMAGE | {"data": ZEROS, "shape": [3, 32, 32]}]},
        {"inputs": [IMAGE | {"data": [], "shape": [0, 3, 32, 32]}]},
        {"inputs": [IMAGE | {"data": ZEROS * 400, "shape": [400, 3, 32, 32]}]},
        {"inputs": [IMAGE | {"data": ZEROS}, IMAGE | {"data": ZEROS, "name": "two"}]},
        {"inputs": [IMAGE | {"data": ZEROS}], "outputs": [{"name": "masks"}]},
        {"inputs": [IMAGE | {"data": ZEROS}], "outputs": {"name": "boxes"}},
        {"inputs": [IMAGE | {"data": ZEROS}], "outputs": [{"name": ["boxes"]}]},
        {"inputs": [IMAGE | {"data": ZEROS}], "id": 7},
        {"inputs": [IMAGE | {"data": ZEROS}], "parameters": 7},
        {"inputs": [IMAGE | {"data": ZEROS}], "parameters": {"conf": 0.5}},
        {"inputs": [IMAGE | {"data": [], "datatype": "BYTES", "shape": [0]}]},
        {"inputs": [IMAGE | {"data": ["AAAA"] * 33, "datatype": "BYTES", "shape": [33]}]},
    ],
)
def test_malformed_requests(live: str, message: Any) -> None:
    refused(httpx.post(f"{live}/v2/models/tiny/infer", json=message, timeout=30))


def test_numbers_that_leave_the_range(live: str) -> None:
    """What overflows in the network cannot be told in JSON, but in raw bytes."""
    huge = np.full((1, 3, 32, 32), 3e38, np.float32)
    for binary in (False, True):
        parameters = {"parameters": {"binary_data_output": binary}}
        body, length = encode(parameters, {"images": huge}, "inputs", {"images"})
        answer = httpx.post(
            f"{live}/v2/models/tiny/infer", content=body, headers={HEADER_LENGTH: str(length)}
        )
        assert answer.status_code in ((200,) if binary else (200, 400)), answer.text


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_requests_never_break_the_service(live: str, data: st.DataObject) -> None:
    """A good request with some bytes replaced, cut out or added is answered or refused."""
    image = np.zeros((1, 3, 32, 32), np.float32)
    good, length = encode({"id": "x"}, {"images": image}, "inputs", {"images"})
    body = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, 200))
        cut = data.draw(st.integers(0, 4))
        body[start : start + cut] = data.draw(st.binary(max_size=4))
    told = data.draw(st.just(str(length)) | st.text("0123456789-", max_size=6))
    answer = httpx.post(
        f"{live}/v2/models/tiny/infer", content=bytes(body), headers={HEADER_LENGTH: told}
    )
    if answer.status_code != 200:
        refused(answer)


def test_deep_json(live: str) -> None:
    for text in ("[" * 200_000, '{"inputs":' * 50_000, json.dumps({"inputs": [[[[]]]]})):
        refused(httpx.post(f"{live}/v2/models/tiny/infer", content=text.encode()))
