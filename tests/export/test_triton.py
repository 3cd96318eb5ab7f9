"""The Triton repository: its configurations against the graph, and the real server's answers."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("tritonclient.grpc", reason='pip install "yolov4sdk[triton]"')

from export.options import TritonOptions
from export.triton_config import check_against_session, parse
from export.triton_repository import write_repository
from tests.conventions.cases import BOXES, CASES, SCORES, SIDE
from tests.test_cli import run
from tests.tiny import make_micro
from tests.tritonserver import free_port, triton
from yolov4sdk import Detector
from yolov4sdk.errors import BackendError, ExportError, SettingError, SpecError, TensorError
from yolov4sdk.imaging.images import SUFFIXES

CONF = 0.002
SERVED = ("dynamic", "nms")
FOREIGN = """
from pathlib import Path
import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        rows = np.load(Path(__file__).with_name("rows.npy"))
        counts = [len(pb.get_input_tensor_by_name(r, "images").as_numpy()) for r in requests]
        return [
            pb.InferenceResponse([pb.Tensor("output0", np.repeat(rows, n, axis=0))]) for n in counts
        ]
"""


@pytest.fixture(scope="module")
def graphs(tiny_artefacts, tmp_path_factory) -> dict[str, Path]:
    """Graphs of each form, for any batch size; the smallest network but for one."""
    from export import export_model

    folder = tmp_path_factory.mktemp("graphs")
    forms: dict[str, dict[str, Any]] = {
        "fixed": {"float_input": True, "raw_outputs": True},
        "topk": {"topk": 50, "size": (96, 160), "float_input": True},
        "nms": {"nms": True, "uint8": True, "conf": CONF, "max_det": 40},
    }
    model = make_micro(["ant", "bee", "cow"])
    return {"dynamic": tiny_artefacts["onnxruntime"]} | {
        form: export_model(model, "onnx", folder / f"{form}.onnx", batch=None, **options).path
        for form, options in forms.items()
    }


@pytest.fixture(scope="module")
def repository(graphs, tmp_path_factory) -> Path:
    """One repository of three models whose networks run in the Python backend."""
    folder = tmp_path_factory.mktemp("repository")
    # a slow machine must not time out in the queue
    options = TritonOptions(max_batch=4, conf=CONF, queue=8, queue_ms=60_000)
    for form in SERVED:
        write_repository(graphs[form], folder, name=form, runtimes=["python"], options=options)
    write_foreign(folder / "foreign")
    return folder


def write_foreign(folder: Path) -> None:
    """A model of another maker: rows of centre, size, objectness and classes, always the same."""
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(
        'name: "foreign" backend: "python" max_batch_size: 4\n'
        f'input {{ name: "images" data_type: TYPE_FP32 dims: [3, {SIDE}, {SIDE}] }}\n'
        'output { name: "output0" data_type: TYPE_FP32 dims: [40, 8] }\n'
    )
    rows = CASES["yolov5"]().outputs["output0"]
    np.save(folder / "1" / "rows.npy", rows)
    (folder / "1" / "model.py").write_text(FOREIGN)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(repository, work):
    with triton(repository, work) as address:
        yield address


@pytest.fixture(scope="module")
def photographs(photos_dir) -> list[Path]:
    """Fifty of the shared images, or those of the repository."""
    shared = Path(__file__).resolve().parents[3] / "shared/data/common10/images/val"
    folder = shared if shared.is_dir() else photos_dir
    return sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES)[:50]


def read(folder: Path, model: str) -> Any:
    return parse((folder / model / "config.pbtxt").read_text())


@pytest.mark.parametrize("form", ["fixed", "dynamic", "topk", "nms"])
def test_configurations_say_what_the_graph_says(graphs, form, tmp_path) -> None:
    plan = tmp_path / "any.engine"
    plan.write_bytes(b"an engine")
    made = write_repository(
        graphs[form], tmp_path / "r", name="m", runtimes=["onnx", "tensorrt", "python"], plan=plan
    )
    assert made.networks == ("m_tensorrt", "m_onnx", "m_python")
    session = onnxruntime.InferenceSession(str(graphs[form]))
    dims = {}
    for name in made.networks:
        config = read(made.path, name)
        assert config.name == name and config.max_batch_size == 8
        check_against_session(config, session)
        assert config.dynamic_batching.default_queue_policy.max_queue_size == 64
        assert [w.batch_size for w in config.model_warmup] == [1, 8]
        dims[name] = [(o.name, o.data_type, list(o.dims)) for o in config.output]
    assert dims["m_onnx"] == dims["m_tensorrt"] == dims["m_python"]
    # the tensors that a step names in the ensemble are inputs and outputs of that step
    for step in read(made.path, "m").ensemble_scheduling.step:
        config = read(made.path, step.model_name)
        assert set(step.input_map) == {i.name for i in config.input}
        assert set(step.output_map) == {o.name for o in config.output}
    assert (made.path / "m_tensorrt/1/model.plan").read_bytes() == b"an engine"
    assert read(made.path, "m").ensemble_scheduling.step[1].model_name == "m_tensorrt"
    assert not list(made.path.glob(".*"))


@pytest.mark.parametrize("change", ["name", "type", "shape"])
def test_a_configuration_that_differs_is_refused(graphs, change, tmp_path) -> None:
    made = write_repository(graphs["fixed"], tmp_path, name="m")
    config = read(made.path, "m_onnx")
    output = config.output[0]
    if change == "name":
        output.name = "bboxes"
    elif change == "type":
        output.data_type = config.output[0].data_type - 1
    else:
        output.dims[0] += 1
    with pytest.raises(ExportError, match="m_onnx"):
        check_against_session(config, onnxruntime.InferenceSession(str(graphs["fixed"])))


def test_a_checkpoint_is_exported_on_the_way(micro_artefacts, capsys, tmp_path) -> None:
    code, out, _ = run(
        capsys, "export", micro_artefacts["torch"], "--engine", "triton", "-o", tmp_path / "r",
        "--max-batch", 2, "--queue", 5, "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["networks"] == ["model_onnx"]
    config = read(tmp_path / "r", "model_onnx")
    assert config.max_batch_size == 2
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 5
    assert not (tmp_path / "r" / "model_python").exists()


def test_wrong_wishes_leave_nothing_behind(graphs, tiny_fixed, tmp_path) -> None:
    out = tmp_path / "r"
    with pytest.raises(SettingError, match="batch dynamic"):
        write_repository(tiny_fixed, out)
    with pytest.raises(SettingError, match="--engine trt"):
        write_repository(graphs["fixed"], out, runtimes=["tensorrt"])
    with pytest.raises(SettingError, match="exported already; topk"):
        write_repository(graphs["fixed"], out, topk=3)
    with pytest.raises(SettingError, match="runtimes"):
        write_repository(graphs["fixed"], out, runtimes=["tflite"])
    plan = tmp_path / "x.engine"
    plan.write_bytes(b"x")
    spec = json.loads(Detector(graphs["topk"]).spec.to_json())
    (tmp_path / "x.engine.json").write_text(json.dumps({"spec": spec}))
    with pytest.raises(ExportError, match="another graph: its outputs, topk"):
        write_repository(graphs["fixed"], out, runtimes=["tensorrt"], plan=plan)
    assert not list(out.iterdir())
    write_repository(graphs["fixed"], out)
    before = sorted(out.rglob("*"))
    with pytest.raises(ExportError, match="already"):
        write_repository(graphs["fixed"], out)
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize("form", SERVED)
def test_the_ensemble_answers_as_the_detector(server, graphs, form, photographs) -> None:
    from tritonclient import grpc

    found = 0
    with (
        Detector(graphs[form], conf=CONF, shape="square") as detector,
        grpc.InferenceServerClient(server) as client,
    ):
        for start in range(0, len(photographs), 4):
            some = photographs[start : start + 4]
            image = grpc.InferInput("image", [len(some), 1], "BYTES")
            image.set_data_from_numpy(np.array([[p.read_bytes()] for p in some], object))
            answer = client.infer(form, [image], client_timeout=60)
            for row, expected in enumerate(detector([str(p) for p in some])):
                n = answer.as_numpy("count")[row, 0]
                boxes, scores, ids = (
                    answer.as_numpy(name)[row] for name in ("boxes", "scores", "class_ids")
                )
                assert n == len(expected)
                np.testing.assert_allclose(boxes[:n], expected.xyxy, atol=1e-3)
                np.testing.assert_allclose(scores[:n], expected.scores, atol=1e-3)
                np.testing.assert_array_equal(ids[:n], expected.class_ids)
                assert (scores[n:] == 0).all() and (ids[n:] == -1).all()
                found += n
    assert found > 20


@pytest.mark.parametrize("form", SERVED)
def test_a_detector_of_a_model_in_triton(server, graphs, form, photographs) -> None:
    """By the ensemble's name or the network's; lists longer than the server's largest batch."""
    images = [str(p) for p in photographs[:6]]
    with Detector(graphs[form], conf=CONF) as local:
        expected = local(images)
    for model in (form, f"{form}_python"):
        with Detector(f"triton://{server}/{model}", conf=CONF, batch=6) as remote:
            assert remote.names == ("ant", "bee", "cow")
            for ours, theirs in zip(expected, remote(images), strict=True):
                np.testing.assert_allclose(theirs.xyxy, ours.xyxy, atol=1e-3)
                np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-3)


def test_a_foreign_model_in_triton(server) -> None:
    """Read by a declaration; what the SDK wrote there needs none."""
    address, image = f"triton://{server}/foreign", np.zeros((2 * SIDE, 2 * SIDE, 3), np.uint8)
    with Detector(address, convention="yolov5", class_names=("a", "b", "c"), conf=0.3) as detector:
        for found in detector([image] * 5):  # more than the server's largest batch
            np.testing.assert_allclose(found.xyxy, BOXES * 2, atol=1e-3)
            np.testing.assert_allclose(found.scores, SCORES, atol=1e-6)
            assert found.labels == ["b", "a", "c"]
    with pytest.raises(SpecError, match="convention="):
        Detector(address)
    with pytest.raises(SpecError, match="columns"):
        Detector(address, convention="yolox", class_names=("a", "b"))
    with pytest.raises(SettingError, match="needs no convention"):
        Detector(f"triton://{server}/dynamic", convention="yolov5")


def test_threads_share_one_client(server, photographs) -> None:
    with Detector(f"triton://{server}/dynamic", conf=CONF) as remote:
        images = [str(p) for p in photographs[:6]]
        alone = [remote(image) for image in images]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(remote, images * 3))
    for one, other in zip(alone * 3, together, strict=True):
        np.testing.assert_allclose(one.xyxy, other.xyxy, atol=1e-3)


def test_a_broken_image_fails_its_own_request(server) -> None:
    from tritonclient import grpc
    from tritonclient.utils import InferenceServerException

    with grpc.InferenceServerClient(server) as client:
        image = grpc.InferInput("image", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[b"\xff\xd8\xff no photograph"]], object))
        with pytest.raises(InferenceServerException, match="image 0 of the request: not an image"):
            client.infer("dynamic", [image], client_timeout=30)
    with Detector(f"triton://{server}/dynamic") as remote, pytest.raises(TensorError):
        remote.infer(np.zeros((1, 3, 8, 8), np.uint8))


def test_what_is_not_there_is_said(server, capsys, photographs, tmp_path) -> None:
    with pytest.raises(BackendError, match="no model 'fixd' ready; there are dynamic, "):
        Detector(f"triton://{server}/fixd")
    with pytest.raises(SpecError, match="holds no ModelSpec"):
        Detector(f"triton://{server}/dynamic_boxes")
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BackendError, match=f"no Triton answers at {address}"):
        Detector(f"triton://{address}/dynamic")
    code, _, err = run(
        capsys, "detect", photographs[0], "-m", f"triton://{address}/dynamic", "-o", tmp_path / "o"
    )
    assert code == 2 and f"no Triton answers at {address}" in err
    assert not (tmp_path / "o").exists()
    for wrong in ("triton://host", "triton:///model", "triton://host:x/m", "triton://h/a/b"):
        with pytest.raises(SettingError, match="triton://host:port/model"):
            Detector(wrong)
    with pytest.raises(SettingError, match=r"config\.pbtxt"):
        Detector(f"triton://{server}/dynamic", device="cuda")
    with pytest.raises(SettingError, match="a file, or an address"):
        Detector("ftp://host/model.onnx")


def test_a_server_that_dies_is_said(graphs, work, tmp_path, photographs) -> None:
    write_repository(graphs["fixed"], tmp_path / "r", runtimes=["python"])
    for other in ("fixed", "fixed_decode", "fixed_boxes"):  # the network alone starts sooner
        shutil.rmtree(tmp_path / "r" / other)
    with ExitStack() as stack:
        with triton(tmp_path / "r", work) as address:
            remote = stack.enter_context(Detector(f"triton://{address}/fixed_python"))
            remote(str(photographs[0]))
        with pytest.raises(BackendError, match=f"Triton at {address} failed on fixed_python"):
            remote(str(photographs[0]))
