"""`export --for`: files for other programs, read back by these programs' rules and by ours."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from export.adopt.adopt import adopt
from export.consumers import CONSUMERS, consumer
from export.consumers.agreement import Own, check
from export.consumers.write import export_for, rewritten
from yolov4sdk import Detector, ModelSpec
from yolov4sdk.cli import app
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.contract.spec import METADATA_KEY
from yolov4sdk.errors import ExportError, SettingError, SpecError, VerificationError

from ..conventions.cases import BOXES, CASES, SCORES, SIDE, write

ABC = ("a", "b c", "c")
OURS = {
    "ultralytics": "yolov8", "deepstream": "deepstream", "efficientnms": "efficientnms",
    "modelapi": "modelapi",
}  # fmt: skip
"""Consumers whose contract is one of our own conventions too."""


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three known boxes, by YOLOX's form: a score for every class."""
    folder = tmp_path_factory.mktemp("adopted")
    raw = write(CASES["yolox-raw"](), folder / "raw.onnx")
    return adopt(raw, folder / "m.onnx", "yolox-raw", names=ABC).path


@pytest.fixture(scope="module")
def suppressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same boxes from a graph that has suppressed them: one class a row."""
    folder = tmp_path_factory.mktemp("suppressed")
    raw = write(CASES["yolo-nms"](), folder / "raw.onnx")
    return adopt(raw, folder / "m.onnx", "yolo-nms", names=ABC).path


@pytest.mark.parametrize("name", sorted(CONSUMERS))
def test_known_boxes(name: str, adopted: Path, tmp_path: Path) -> None:
    row = consumer(name)
    made = export_for(adopted, name, tmp_path / f"x{row.suffix}")
    assert all(file.is_file() for file in made.files) and made.path == made.files[-1]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(f.name for f in made.files)
    found = made.agreement
    assert (found.candidates, found.own, found.detections) == (3, 3, 3)
    assert found.box_error < 1e-4 and found.score_error < 1e-6
    assert not any("partner" in note for note in made.notes)
    labels = made.files[1].read_text().splitlines()
    assert labels == {
        "frigate": ["0 a", "1 b c", "2 c"], "modelapi": ["a", "b_c", "c"]
    }.get(name, list(ABC))  # fmt: skip
    assert made.path.name in made.config
    if row.suffix == ".onnx":
        assert METADATA_KEY not in {p.key for p in onnx.load(made.path).metadata_props}


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_own_conventions_read_them(name: str, adopted: Path, tmp_path: Path) -> None:
    made = export_for(adopted, name, tmp_path / f"x{consumer(name).suffix}")
    if name == "modelapi":  # what is in the file is enough
        again = adopt(made.path, tmp_path / "again.xml").spec
        assert again.names == ("a", "b_c", "c")
        resize = read_onnx_spec(adopted).contract.input.resize
        assert again.contract.input.resize == replace(resize, rounding="nearest")
    if name == "ultralytics":  # its metadata is enough
        with pytest.raises(SpecError):
            read_onnx_spec(made.path)
        assert adopt(made.path, tmp_path / "again.onnx").spec.names == ABC
    image = np.full((2 * SIDE, 2 * SIDE, 3), 90, np.uint8)
    with Detector(made.path, convention=OURS[name], class_names=ABC, conf=0.3) as detector:
        found = detector(image)
    np.testing.assert_allclose(found.xyxy, BOXES * 2, atol=1e-3)
    np.testing.assert_allclose(found.scores, SCORES, atol=1e-6)
    assert found.labels == ["b c", "a", "c"]


@pytest.mark.parametrize("name", sorted(set(CONSUMERS) - {"frigate"}))
def test_a_graph_that_has_suppressed(name: str, suppressed: Path, tmp_path: Path) -> None:
    made = export_for(suppressed, name, tmp_path / f"x{consumer(name).suffix}", conf=0.2)
    assert made.agreement.candidates == made.agreement.detections == 3
    if name == "deepstream":
        assert "cluster-mode=4" in made.config


@pytest.mark.parametrize("name", sorted(CONSUMERS))
def test_a_network_of_ours(name: str, tiny_artefacts: dict[str, Path], tmp_path: Path) -> None:
    """Hundreds of boxes that overlap, of a graph that takes any size."""
    source = tiny_artefacts["onnxruntime"]
    row = consumer(name)
    made = export_for(source, name, tmp_path / f"x{row.suffix}", size=(96, 128))
    assert made.agreement.candidates > 10 and made.agreement.own > 3
    if not row.fixed:
        assert made.agreement.unmatched == 0
    if row.suffix == ".onnx":
        (given,) = onnx.load(made.path).graph.input
        sides = [d.dim_value for d in given.type.tensor_type.shape.dim]
        assert sides == [1, 3, 96, 128]


def test_a_checkpoint_is_not_rounded(tiny_artefacts: dict[str, Path], tmp_path: Path) -> None:
    """The consumer's float pixels reach the network as they are, and every box the consumer."""
    made = export_for(tiny_artefacts["torch"], "ultralytics", tmp_path / "x.onnx")
    model = onnx.load(made.path)
    assert not any(node.op_type == "Round" for node in model.graph.node)
    (output,) = model.graph.output
    rows = 3 * sum((160 // stride) ** 2 for stride in (8, 16, 32))
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [1, 7, rows]


def test_wrong_files_are_refused(adopted: Path, tmp_path: Path) -> None:
    """A graph that says something else than the model is an error."""
    row, spec = consumer("deepstream"), read_onnx_spec(adopted)
    own = Own(adopted, spec)
    from export.consumers.base import INPUT, Wanted

    taken = replace(INPUT, size=(SIDE, SIDE), dynamic=False)
    wanted = Wanted(
        "x.onnx", ABC, taken, spec.contract.output, own.rows, 0.25, 0.45, 300, "x-labels.txt"
    )
    swapped = replace(
        row, outputs=lambda found, wanted: {
            "output": found.writer.take(row.outputs(found, wanted)["output"], (1, 0, 2, 3, 4, 5))
        },
    )  # fmt: skip
    onnx.save(rewritten(adopted, spec, swapped, wanted), tmp_path / "x.onnx")
    with pytest.raises(VerificationError, match="does not say what the model says"):
        check(tmp_path / "x.onnx", row, wanted, own)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nobody", {}, "--for is one of"),
        ("frigate", {"conf": 0.1}, "fixed thresholds"),
        ("deepstream", {"conf": 2}, "between 0 and 1"),
        ("deepstream", {"size": (64, 64)}, "takes"),
        ("modelapi", {"output": "x.onnx"}, "ends in .xml"),
    ],
)
def test_wrong_options(name: str, options: dict, message: str, adopted: Path) -> None:
    with pytest.raises(SettingError, match=message):
        export_for(adopted, name, **options)


def test_too_few_boxes_for_frigate(suppressed: Path, tmp_path: Path) -> None:
    spec: ModelSpec = read_onnx_spec(suppressed)
    rows = spec.contract.output.rows
    if rows is not None and rows <= 4 + len(ABC):
        with pytest.raises(ExportError, match="longer axis"):
            export_for(suppressed, "frigate", tmp_path / "x.onnx")


def test_the_command(adopted: Path, tmp_path: Path) -> None:
    def invoke(*words: str):
        return CliRunner().invoke(app, ["export", str(adopted), *words])

    target = str(tmp_path / "m-frigate.onnx")
    done = invoke("--for", "frigate", "-o", target)
    assert done.exit_code == 0, done.output
    assert "3 boxes of a photograph agree" in done.stdout
    assert "model_type: yolo-generic" in done.stdout
    assert "input_tensor: nhwc" in (tmp_path / "m-frigate.yml").read_text()
    assert "exists" in str(invoke("--for", "frigate", "-o", target).exception)
    told = invoke("--for", "frigate", "-o", target, "--overwrite", "--json")
    assert json.loads(told.stdout)["agreement"]["candidates"] == 3
    assert "--nms" in str(invoke("--for", "frigate", "--nms", "-o", target).exception)
