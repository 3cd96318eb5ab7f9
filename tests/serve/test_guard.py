"""Keys, models at run time, origins, and files that must not be opened."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import httpx
import pytest

from serve.artefacts import check_artefact, named_models, served_file
from serve.problems import Problem
from tests.support.images import seeds
from tests.support.service import Service
from yolov4sdk.errors import ArtefactError, ForeignFileError, SettingError

from .conftest import ADMIN, SLOW, USER, bearer

IMAGE = seeds()["JPEG"]


def test_who_may_call(guest: httpx.Client) -> None:
    assert guest.get("/livez").status_code == guest.get("/readyz").status_code == 200
    for headers in ({}, bearer("wrong"), {"Authorization": "Basic x"}, {"X-API-Key": ""}):
        answer = guest.post("/v1/detect", content=IMAGE, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    for headers in (bearer(USER), {"X-API-Key": USER}):
        assert guest.post("/v1/detect", content=IMAGE, headers=headers).status_code == 200
    assert guest.get("/v1/models").status_code == 401


def test_rate_of_a_key(guest: httpx.Client) -> None:
    answers = [guest.get("/v1/models", headers=bearer(SLOW)) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 3600
    assert guest.get("/v1/models", headers=bearer(USER)).status_code == 200


def test_models_change_behind_the_admin_key_alone(guest: httpx.Client) -> None:
    wanted = {"file": "a.onnx"}
    assert guest.put("/v1/models/x", json=wanted, headers=bearer(USER)).status_code == 403
    assert guest.delete("/v1/models/m", headers=bearer(USER)).status_code == 403
    loaded = guest.put("/v1/models/x", json=wanted, headers=bearer(ADMIN))
    assert loaded.status_code == 200 and loaded.json()["classes"] == ["ant"]
    detect = {"content": IMAGE, "headers": bearer(USER)}
    assert guest.post("/v1/detect?model=x", **detect).json()["model"] == "x"
    assert guest.delete("/v1/models/x", headers=bearer(ADMIN)).status_code == 204
    assert guest.post("/v1/detect?model=x", **detect).status_code == 404
    assert guest.delete("/v1/models/m", headers=bearer(ADMIN)).status_code == 409


class Evil:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_hostile_files_are_refused_and_the_old_model_stays(
    guest: httpx.Client, models_dir: Path, micro: Path, tmp_path: Path
) -> None:
    mark, outside = tmp_path / "ran", tmp_path / "outside.onnx"
    outside.write_bytes(micro.read_bytes())
    pickled = pickle.dumps(Evil(mark))
    (models_dir / "evil.pt").write_bytes(pickled)
    (models_dir / "evil.safetensors").write_bytes(pickled)
    (models_dir / "evil.onnx").write_bytes(pickled)
    (models_dir / "foreign.engine").write_bytes(b"ptrt" + bytes(100))
    (models_dir / "data.yaml").write_text("path: .\ndownload: |\n  import os\n")
    (models_dir / "link.onnx").symlink_to(outside)
    (models_dir / "external.onnx").write_bytes(with_external_data(micro, "weights.bin"))
    (models_dir / "weights.bin").symlink_to("/etc/hostname")
    names = [
        "evil.pt", "evil.safetensors", "evil.onnx", "foreign.engine", "data.yaml", "link.onnx",
        "external.onnx", "corrupt.onnx", "../outside.onnx", str(outside), "nothing.onnx", ".",
        "a.onnx\0", "x" * 250,
    ]  # fmt: skip
    for name in names:
        answer = guest.put("/v1/models/m", json={"file": name}, headers=bearer(ADMIN))
        assert answer.status_code == 422, name
        assert str(models_dir) not in answer.text and str(tmp_path) not in answer.text
    assert not mark.exists()
    answer = guest.post("/v1/detect?model=m", content=IMAGE, headers=bearer(USER))
    assert answer.status_code == 200


def with_external_data(model: Path, location: str) -> bytes:
    """The model with its first weight said to be in another file."""
    import onnx

    graph = onnx.load(model)
    tensor = graph.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=location)
    return graph.SerializeToString()


def test_external_data_is_found_wherever_a_tensor_may_stand(micro: Path, tmp_path: Path) -> None:
    import onnx

    tensor = onnx.helper.make_tensor("t", onnx.TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    inner = onnx.helper.make_graph([constant], "inner", [], [])
    for place in ("node", "subgraph", "function"):
        graph = onnx.load(micro)
        if place == "node":
            graph.graph.node.append(constant)
        elif place == "subgraph":
            graph.graph.node.append(
                onnx.helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)
            )
        else:
            graph.functions.append(onnx.helper.make_function("d", "f", [], ["c"], [constant], []))
        path = tmp_path / f"{place}.onnx"
        path.write_bytes(graph.SerializeToString())
        with pytest.raises(ForeignFileError, match="other files"):
            check_artefact(path)
    check_artefact(micro)


def test_cut_files_are_refused_in_words(micro: Path, tmp_path: Path) -> None:
    data, path = micro.read_bytes(), tmp_path / "cut.onnx"
    for length in range(0, len(data), max(1, len(data) // 40)):
        path.write_bytes(data[:length])
        with pytest.raises(ArtefactError):
            check_artefact(path)


def test_served_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.onnx").write_bytes(b"x")
    assert served_file(tmp_path, "sub/m.onnx") == (tmp_path / "sub" / "m.onnx").resolve()
    with pytest.raises(Problem, match="403"):
        served_file(None, "m.onnx")
    for name in ("", "sub", "../x", "/etc/passwd", "sub/../../x", "a\0b"):
        with pytest.raises(Problem, match="422"):
            served_file(tmp_path, name)


def test_names_of_models() -> None:
    assert named_models([]) == {"default": None}
    assert named_models(["a/b.onnx", "c=d.onnx"]) == {"b": Path("a/b.onnx"), "c": Path("d.onnx")}
    for wrong in (["a.onnx", "x/a.onnx"], ["a b=c.onnx"], ["=c.onnx"], ["../=c.onnx"]):
        with pytest.raises(SettingError):
            named_models(wrong)


def test_other_origins(guarded: Service, guest: httpx.Client) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Origin": "https://example.org"}
    allowed = guest.options("/v1/detect", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://example.org"
    refused = guest.options("/v1/detect", headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in refused.headers
