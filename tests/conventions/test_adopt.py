"""`adopt`: files, declarations, sidecars, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner, Result

from export.adopt.adopt import adopt, doubts
from yolov4sdk import Detector
from yolov4sdk.cli import app
from yolov4sdk.contract.onnx_graph import GraphFacts, GraphTensor, read_onnx_graph
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.conventions import Outputs, conventions
from yolov4sdk.conventions.coco import IDS, NAMES
from yolov4sdk.conventions.declaration import foreign, read_declaration, write_declaration
from yolov4sdk.conventions.fit import Misfit, changed, fit, fitting
from yolov4sdk.conventions.sidecars import declaration_of, python_names, read_hint
from yolov4sdk.errors import ExportError, ForeignFileError, SettingError, SpecError

from ..conftest import REPOSITORY
from .cases import BOXES, CASES, SCORES, SIDE, write

ABC = ("a", "b", "c")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write(CASES["yolox-raw"](), tmp_path / "raw.onnx")


def test_adopted_is_a_file_like_any_other(raw: Path, tmp_path: Path) -> None:
    made = adopt(raw, tmp_path / "a.onnx", "yolox-raw", names=ABC)
    assert made.warnings == () and made.box_error < 1e-3
    assert ModelSpec.from_json(made.spec.to_json()) == made.spec
    image = np.full((2 * SIDE, 2 * SIDE, 3), 90, np.uint8)
    with Detector(made.path, conf=0.3) as detector:
        found = detector(image)
    np.testing.assert_allclose(found.xyxy, BOXES * 2, atol=1e-3)
    np.testing.assert_allclose(found.scores, SCORES, atol=1e-5)
    assert found.labels == ["b", "a", "c"]


def test_nothing_decides_between_two_forms(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"--as yolox` .*--as yolox-raw`.*probe"):
        adopt(raw, tmp_path / "a.onnx", names=ABC)
    assert not (tmp_path / "a.onnx").exists()


def test_rfdetr_names_its_layouts(tmp_path: Path) -> None:
    path = write(CASES["rfdetr"](), tmp_path / "r.onnx")
    with pytest.raises(SpecError) as error:
        declaration_of(path, read_onnx_graph(path))
    for name in ("rfdetr`", "rfdetr-background-first`"):
        assert f"--as {name}" in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ("a", "b")}, "3 classes"),
        ({"names": None}, "--names"),
        ({"convention": "nowhere"}, "no convention"),
        ({"changes": ("input.channels=RGB",)}, "changes nothing"),
        ({"changes": ("input.color=PINK",)}, "must be one of"),
        ({"size": (64, 64)}, "not (64, 64)"),
    ],
)
def test_wrong_options(raw: Path, tmp_path: Path, options: dict, message: str) -> None:
    given = {"convention": "yolox-raw", "names": ABC} | options
    with pytest.raises((SpecError, SettingError)) as error:
        adopt(raw, tmp_path / "a.onnx", **given)
    assert message in str(error.value)
    assert not (tmp_path / "a.onnx").exists()


def test_outputs_are_not_replaced(raw: Path, tmp_path: Path) -> None:
    for target in (raw, tmp_path / "b.onnx"):
        target.exists() or target.write_bytes(b"mine")
        before = target.read_bytes()
        with pytest.raises(SettingError, match="exists"):
            adopt(raw, target, "yolox-raw", names=ABC)
        assert target.read_bytes() == before


def test_changes_reach_the_declaration() -> None:
    row = foreign()["yolox"]
    contract = changed(fit_of("yolox"), ["input.color=RGB", "input.mean=[1, 2, 3]"])
    assert contract.input.color == "RGB" and contract.input.mean == (1, 2, 3)
    assert row.input is not None and row.input.color == "BGR"


def fit_of(name: str):
    facts = GraphFacts(
        (GraphTensor("images", "float32", (1, 3, SIDE, SIDE)),),
        (GraphTensor("output", "float32", (1, 189, 8)),),
    )
    return fit(conventions()[name], facts, 3)


def test_a_grid_that_does_not_fit_is_noticed() -> None:
    with pytest.raises(Misfit, match="189"):
        facts = GraphFacts(
            (GraphTensor("images", "float32", (1, 3, 64, 64)),),
            (GraphTensor("output", "float32", (1, 189, 8)),),
        )
        fit(conventions()["yolox-raw"], facts, 3)


@pytest.mark.parametrize("name", sorted(foreign()))
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_declarations_are_read_as_they_are_written(name: str, suffix: str, tmp_path: Path) -> None:
    row = foreign()[name]
    file = tmp_path / f"d{suffix}"
    file.write_text(write_declaration(row))  # JSON is YAML too
    again = read_declaration(file)
    assert (again.output, again.input) == (row.output, row.input)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "output: 3", "output: {tensors: []}\nextra: 1", "output: {boxes: yes}", "{{{"],
)
def test_files_that_are_no_declaration(text: str, tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(text)
    with pytest.raises(SpecError):
        read_declaration(file)


def test_a_declaration_from_a_file(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(write_declaration(foreign()["yolox-raw"]))
    made = adopt(raw, tmp_path / "a.onnx", str(tmp_path / "mine.json"), names=ABC)
    assert made.spec.names == ABC


# -- sidecars -----------------------------------------------------------------------------------


def facts(shape: tuple[int, ...], **metadata: str):
    return GraphFacts(
        (GraphTensor("images", "float32", (1, 3, 64, 64)),),
        (GraphTensor("output0", "float32", shape),),
        metadata,
    )


def test_python_dict_of_names_is_not_evaluated() -> None:
    assert python_names("{0: 'person', 1: \"traffic 'light'\", 2: 'it\\'s'}") == (
        "person", "traffic 'light'", "it's",
    )  # fmt: skip
    assert python_names("__import__('os').system('x')") is None
    assert python_names("{0: 'a', 2: 'c'}") is None


@pytest.mark.parametrize(
    ("shape", "metadata", "convention"),
    [
        ((1, 7, 84), {}, "yolov8"),
        ((1, 84, 8), {}, "yolov5"),
        ((1, 300, 6), {"end2end": "True"}, "yolo-end2end"),
        ((1, 300, 6), {"args": "{'nms': True}", "end2end": "False"}, "yolo-nms"),
    ],
)
def test_ultralytics_metadata(shape: tuple[int, ...], metadata: dict, convention: str) -> None:
    hint = read_hint(
        Path("m.onnx"), facts(shape, stride="32", names="{0: 'a', 1: 'b', 2: 'c'}", **metadata)
    )
    assert hint is not None and (hint.convention, hint.names) == (convention, ABC)


def test_other_tasks_are_refused() -> None:
    with pytest.raises(SpecError, match="segment"):
        read_hint(Path("m.onnx"), facts((1, 7, 84), stride="32", names="{}", task="segment"))


def test_libreyolo_metadata() -> None:
    said = {"libreyolo_version": "1.6.0", "model_family": "yolo9", "names": '{"0": "a", "1": "b"}'}
    hint = read_hint(Path("m.onnx"), facts((1, 6, 84), **said))
    assert hint is not None and (hint.convention, hint.names) == ("libreyolo", ("a", "b"))


def test_transformers_config(tmp_path: Path) -> None:
    path = write(CASES["rtdetr-hf"](), tmp_path / "m.onnx")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "rt_detr", "id2label": {"0": "a", "1": "b", "2": "c"}})
    )
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"do_normalize": False, "do_rescale": True, "rescale_factor": 1 / 255})
    )
    declared, names = declaration_of(path, read_onnx_graph(path))
    assert (declared.row.name, names) == ("rtdetr-hf", ABC)
    assert declared.contract.input.scale == pytest.approx(1 / 255)


def test_roboflow_config(tmp_path: Path) -> None:
    (tmp_path / "inference_config.json").write_text(
        json.dumps(
            {
                "network_input": {
                    "color_mode": "bgr", "resize_mode": "stretch", "scaling_factor": 255,
                    "normalization": [[0.5, 0.5, 0.5], [0.25, 0.25, 0.25]],
                },
                "class_names": ["a", "b", "c"],
            }
        )
    )  # fmt: skip
    path = write(CASES["yolov8"](), tmp_path / "m.onnx")
    declared, names = declaration_of(path, read_onnx_graph(path), "yolov8")
    assert names == ABC and declared.contract.input.color == "RGB"  # --as is taken as it is
    hint = read_hint(path, read_onnx_graph(path))
    assert hint is not None
    contract = changed(declared.contract, hint.changes)
    assert (contract.input.color, contract.input.resize.policy) == ("BGR", "stretch")
    assert contract.input.mean == (0.5, 0.5, 0.5)


def test_paddle_config(tmp_path: Path) -> None:
    path = write(CASES["paddle"](), tmp_path / "m.onnx")
    (tmp_path / "infer_cfg.yml").write_text(
        "Preprocess:\n- {type: Resize, keep_ratio: false, interp: 2}\n"
        "- {type: NormalizeImage, is_scale: true, norm_type: none}\nlabel_list: [a, b, c]\n"
    )
    declared, names = declaration_of(path, read_onnx_graph(path))
    assert (declared.row.name, names) == ("paddle", ABC)


def test_mmdeploy_pipeline(tmp_path: Path) -> None:
    path = write(CASES["mmdeploy"](), tmp_path / "m.onnx")
    steps = [
        {"type": "Resize", "keep_ratio": False},
        {"type": "Normalize", "mean": [1, 2, 3], "std": [4, 5, 6], "to_rgb": True},
    ]
    (tmp_path / "pipeline.json").write_text(
        json.dumps({"pipeline": {"tasks": [{"transforms": steps}]}})
    )
    declared, _ = declaration_of(path, read_onnx_graph(path), names=ABC)
    taken = declared.contract.input
    assert (taken.color, taken.mean, taken.resize.policy) == ("RGB", (1, 2, 3), "stretch")


@pytest.mark.parametrize("name", ["inference_config.json", "config.json", "pipeline.json"])
@pytest.mark.parametrize("text", ["", "[1]", "{", '{"network_input": 3}', '{"pipeline": []}'])
def test_broken_sidecars_end_in_words(raw: Path, name: str, text: str) -> None:
    (raw.parent / name).write_text(text)
    with pytest.raises(SpecError):  # the sidecar, or that nothing decides
        declaration_of(raw, read_onnx_graph(raw))


# -- files that cannot be adopted ---------------------------------------------------------------


def test_plugins_and_custom_operators(tmp_path: Path) -> None:
    for kind, domain in (("EfficientNMS_TRT", "TRT"), ("Fancy", "acme")):
        path = write(CASES["yolov8"](), tmp_path / "m.onnx")
        model = onnx.load(path)
        model.graph.node.append(helper.make_node(kind, ["output0"], ["x"], domain=domain))
        model.opset_import.append(helper.make_opsetid(domain, 1))
        onnx.save(model, path)
        with pytest.raises(ExportError, match=kind):
            adopt(path, tmp_path / "a.onnx", "yolov8", names=ABC)


def test_missing_external_data(tmp_path: Path) -> None:
    path = write(CASES["yolov8"](), tmp_path / "m.onnx")
    onnx.save_model(
        onnx.load(path), path, save_as_external_data=True, location="w.data", size_threshold=0
    )
    (tmp_path / "w.data").unlink()
    with pytest.raises(ForeignFileError, match=r"w\.data"):
        adopt(path, tmp_path / "a.onnx", "yolov8", names=ABC)


def test_doubts_name_what_is_wrong() -> None:
    boxes = np.tile(np.float32([10, 10, 20, 20]), (1, 5, 1))
    good = np.full((1, 5, 2), 0.5, np.float32)
    assert doubts(Outputs(boxes, good), (64, 64)) == ()
    assert "activation" in doubts(Outputs(boxes, good * 30), (64, 64))[0]
    assert "outside" in doubts(Outputs(boxes + 500, good), (64, 64))[0]
    assert "fraction" in " ".join(doubts(Outputs(boxes / 64, good), (64, 64)))
    many = np.repeat(boxes, 300, axis=1)
    assert "boxes score" in doubts(Outputs(many, np.full((1, 1500, 2), 0.9)), (64, 64))[0]


def test_ids_of_coco() -> None:
    assert len(NAMES) == len(IDS) == 80
    assert (IDS[0], IDS[79], IDS[NAMES.index("stop sign")]) == (1, 90, 13)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_the_command(raw: Path, tmp_path: Path) -> None:
    made = invoke(
        "adopt", str(raw), "--as", "yolox-raw", "--names", "a,b,c", "-o", str(tmp_path / "o.onnx")
    )
    assert made.exit_code == 0 and "equal to the original" in made.stdout
    told = invoke("adopt", str(raw), "--as", "yolox-raw", "--names", "a,b,c", "--explain")
    assert json.loads(told.stdout.split("\n", 1)[1])["output"]["box"] == "grid-exp"
    assert "yolox-raw" in invoke("adopt", "--list").stdout


def test_trained_yolox(tmp_path: Path, shared_dir: Path) -> None:
    """YOLOX-nano of COCO finds what the photographs show."""
    source = shared_dir / "foreign" / "yolox_nano.onnx"
    made = adopt(source, tmp_path / "y.onnx", "yolox-raw", names=NAMES)
    images = REPOSITORY / "examples" / "images"
    with Detector(made.path) as detector:
        assert {"dog", "bicycle"} <= set(detector(images / "dog.jpg").labels)
        assert "horse" in detector(images / "horses.jpg").labels


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_detector_reads_by_a_convention(raw: Path, backend: str) -> None:
    image = np.full((2 * SIDE, 2 * SIDE, 3), 90, np.uint8)
    with Detector(raw, backend=backend, convention="yolox-raw", conf=0.3, class_names=ABC) as d:
        found = d(image)
    np.testing.assert_allclose(found.xyxy, BOXES * 2, atol=1e-3)
    assert found.labels == ["b", "a", "c"]


def test_a_convention_is_for_foreign_files(raw: Path) -> None:
    for model, options, error in (
        (raw, {"convention": "nowhere"}, SettingError),
        (raw, {"convention": "yolox-raw", "class_names": ("a",)}, SpecError),
        (raw, {"convention": "yolox-raw", "backend": "trt"}, SettingError),
        (None, {"convention": "yolox-raw"}, SettingError),
    ):
        with pytest.raises(error):
            Detector(model, **options)


@pytest.mark.parametrize(("shape", "right"), [((1, 84, 8400), "yolov8"), ((1, 8400, 85), "yolov5")])
def test_the_axis_of_the_boxes_is_the_longer_one(shape: tuple[int, ...], right: str) -> None:
    names = {
        name: contract.output.classes for name, contract in fitting(foreign(), facts(shape)).items()
    }
    assert names[right] == 80 and max(names.values()) <= 81
    assert "yolov8" not in names or right == "yolov8"
