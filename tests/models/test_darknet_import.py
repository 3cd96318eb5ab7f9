"""A .cfg and its .weights to a model: native or graph, agreement with the oracle, bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from export import export_model
from tests.support.darknet_nets import NETS, cfg_text, write_weights
from tests.support.forms import raw
from yolov4sdk import errors
from yolov4sdk.backends import load_backend
from yolov4sdk.cli import app
from yolov4sdk.models import Model, build_model, fold
from yolov4sdk.models.checkpoints import load_checkpoint, save_checkpoint
from yolov4sdk.models.darknet import DarknetModel, import_darknet

SIZE = (64, 128)
GRAPHS = {"yolov4", "yolov4-tiny", "yolov4-tiny-3l", "yolov4-csp-swish", "yolov4-csp-x-swish"}
ORACLES = ["yolov4-csp-div8", "yolov4-p5-div8", "yolov4-tiny-div4"]


def files(folder: Path, name: str, width: float = 0.125, classes: int = 3) -> tuple[Path, Path]:
    cfg, weights = folder / f"{name}.cfg", folder / f"{name}.weights"
    cfg.write_text(cfg_text(name, SIZE, width=width, classes=classes))
    write_weights(weights, cfg.read_text())
    return cfg, weights


def photo(size: tuple[int, int]) -> torch.Tensor:
    """Colored squares, float64 [1, 3, H, W]."""
    coarse = torch.rand(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size, mode="nearest")


def relative(value: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((value - expected).abs() / expected.abs().clamp(min=1)).max())


@pytest.mark.parametrize("name", NETS)
def test_native_or_graph_give_the_same(name: str, tmp_path: Path) -> None:
    cfg, weights = files(tmp_path, name)
    model = import_darknet(cfg, weights)
    assert isinstance(model, DarknetModel) == (name in GRAPHS)
    assert model.spec.input_size == SIZE and model.spec.train_size == 128
    assert model.spec.names == ("class0", "class1", "class2")
    assert model.spec.provenance["source"] == weights.name and not model.training
    graph = import_darknet(cfg, weights, native=False).double()
    with torch.no_grad():
        for one, other in zip(model.double().raw(photo(SIZE)), graph.raw(photo(SIZE)), strict=True):
            scale = other.abs().max().clamp(min=1)
            assert one.std() > 0.01 and float((one - other).abs().max() / scale) < 1e-5


@pytest.mark.parametrize("name", ["yolov4-csp", "yolov4-p6"])
def test_native_is_the_built_in_but_for_the_neck(name: str, tmp_path: Path) -> None:
    """The same layers in the same places at full width."""
    from yolov4sdk.models.darknet.graph import load_graph
    from yolov4sdk.models.darknet.native import find_native
    from yolov4sdk.models.definition import load_definition

    found = find_native(load_graph(cfg_text(name)))
    assert found is not None and "divisor" not in found.definition
    own, built_in = load_definition(found.definition), load_definition(name)
    assert own.anchors == built_in.anchors
    for mine, theirs in zip(own.layers, built_in.layers, strict=True):
        renamed = {"BottleneckCSP2": "DarknetCSP2", "SPPCSP": "DarknetSPPCSP"}
        assert mine.module == renamed.get(theirs.module, theirs.module)
        assert (mine.sources, mine.number) == (theirs.sources, theirs.number)
        if mine.module not in ("Conv", "nn.Upsample", "Detect"):
            assert mine.args == theirs.args


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", ORACLES)
def test_oracle(name: str, native: bool, oracle_dir: Path) -> None:
    values = np.load(oracle_dir / f"{name}.npz")
    model = import_darknet(
        oracle_dir / f"{name}.cfg", oracle_dir / f"{name}.weights", native=native
    )
    assert isinstance(model, DarknetModel) == (not native or "tiny" in name)
    images = torch.from_numpy(values["images"]).float() / 255
    height, width = images.shape[2:]
    for network in (model, fold(model), model.double()):
        dtype = next(network.parameters()).dtype
        with torch.no_grad():
            maps = network.raw(images.to(dtype))
        by_rows = {m.shape[2]: (level, m) for level, m in enumerate(maps)}
        for i in range(len(maps)):
            head = torch.from_numpy(values[f"head{i}"])
            level, raw = by_rows[head.shape[2]]
            b, na, ny, nx, no = raw.shape
            assert relative(raw.permute(0, 1, 4, 2, 3).reshape(head.shape), head) < 3e-3
            rows = network.detect.decode_level(raw, level).view(b, na, ny, nx, no)
            rows = rows.permute(0, 2, 3, 1, 4).reshape(-1, no)  # row, column, anchor
            boxes = rows[:, :4] / rows.new_tensor([width, height, width, height])
            expected = torch.from_numpy(values[f"yolo{i}"]).reshape(-1, no)
            assert relative(boxes, expected[:, :4]) < 3e-3
            assert relative(rows[:, 4], expected[:, 4]) < 3e-3
            products = rows[:, 4:5] * rows[:, 5:]
            cut = torch.where(products > 0.2, products, 0)
            clear = (products - 0.2).abs() > 3e-3
            assert relative(cut[clear], expected[:, 5:][clear]) < 3e-3


@pytest.mark.parametrize("name", ["yolov4-tiny", "yolov4-csp-s-mish"])
def test_round_trip_and_exports(name: str, tmp_path: Path) -> None:
    cfg, weights = files(tmp_path, name, width=0.125)
    target = tmp_path / "x.safetensors"
    names = tmp_path / "x.names"
    names.write_bytes("ant\r\nbee\r\nKäfer\r\n\r\n".encode())
    command = ["import", str(cfg), str(weights), "-o", str(target), "--names", str(names)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "64 x 128" in done.output and "3 classes" in done.output
    model, loaded = import_darknet(cfg, weights, ["ant", "bee", "Käfer"]), load_checkpoint(target)
    assert type(loaded) is type(model) and loaded.spec == model.spec
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        expected = model(photo(SIZE).float())
    engines = {"onnx": "onnx", "openvino": "xml"} if "tiny" in name else {"onnx": "onnx"}
    for engine, suffix in engines.items():
        path = tmp_path / f"x.{suffix}"
        result = export_model(target, engine, path, **raw(dynamic=engine == "onnx"))
        assert result.spec.input_size == SIZE and result.spec.decoding == model.spec.decoding
        with load_backend(path, device="cpu") as backend:
            out = backend.infer(photo(SIZE).float().numpy())
        for found, wanted in zip((out.boxes, out.scores), expected, strict=True):
            assert relative(torch.from_numpy(found), wanted) < 1e-3
    import onnx

    operators = {node.op_type for node in onnx.load(tmp_path / "x.onnx").graph.node}
    assert "BatchNormalization" not in operators and ("Exp" in operators) == ("tiny" in name)


def test_other_class_counts_and_gradients(tmp_path: Path) -> None:
    """What fine-tuning does: the architecture with other classes, every parameter learns."""
    model = import_darknet(*files(tmp_path, "yolov4-csp-s-mish"))
    other = build_model(model.spec.architecture, ("one",), model.spec.anchors).train()
    assert isinstance(other, Model) and other.detect.nc == 1
    sum(m.square().mean() for m in other(torch.rand(2, 3, *SIZE))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in other.parameters())


def test_old_header(tmp_path: Path) -> None:
    cfg, weights = files(tmp_path, "yolov4-tiny")
    write_weights(tmp_path / "old.weights", cfg.read_text(), version=(0, 1))
    assert weights.stat().st_size - (tmp_path / "old.weights").stat().st_size == 4
    new, old = import_darknet(cfg, weights), import_darknet(cfg, tmp_path / "old.weights")
    assert all(torch.equal(v, old.state_dict()[k]) for k, v in new.state_dict().items())


def test_bad_weights(tmp_path: Path) -> None:
    cfg, weights = files(tmp_path, "yolov4-tiny")
    data = weights.read_bytes()
    count = f"{(len(data) - 20) // 4:,}"
    nan = np.frombuffer(data[20:], "<f4").copy()
    nan[100] = np.nan
    cases = {
        "missing": (None, errors.ArtefactNotFoundError, "no model file"),
        "empty": (b"", errors.EmptyFileError, "0 bytes"),
        "header": (data[:10], errors.TruncatedFileError, "inside its header"),
        "cut": (data[:-4], errors.TruncatedFileError, f"needs exactly {count}: 1 are missing"),
        "cut in a value": (data[:-2], errors.TruncatedFileError, "and 2 bytes"),
        "header alone": (data[:20], errors.TruncatedFileError, "holds 0 values"),
        "long": (data + b"\0" * 8, errors.WeightsCountError, f"needs exactly {count}: 2 too many"),
        "byte": (data + b"\0", errors.WeightsCountError, f"{count} values and 1 bytes"),
        "foreign": (b"PK\x03\x04" + data, errors.ForeignFileError, "not a Darknet"),
        "nan": (data[:20] + nan.tobytes(), errors.ForeignFileError, "NaN .*layer"),
        "negative": (
            data[:20] + (-np.abs(nan[:100])).tobytes() + data[420:],
            errors.ForeignFileError,
            "a variance of -",
        ),
    }
    for name, (content, kind, message) in cases.items():
        path = tmp_path / f"{name}.weights"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(kind, match=message):
            import_darknet(cfg, path)


def test_names_and_arguments(tmp_path: Path) -> None:
    cfg, weights = files(tmp_path, "yolov4-tiny")
    with pytest.raises(errors.NamesError, match="has 3 classes, but there are 2 names"):
        import_darknet(cfg, weights, ["one", "two"])
    with pytest.raises(errors.ModelConfigError, match="no Darknet cfg"):
        import_darknet(tmp_path / "none.cfg", weights)
    target = str(tmp_path / "x.safetensors")
    for arguments, message in (
        ([str(cfg)], "two files"),
        ([str(weights), str(cfg)], "the .cfg first"),
        ([str(cfg), str(weights), "--size", "320"], "leave both options"),
        ([str(cfg), str(weights), "--names", "missing.names"], "no file of class names"),
        (["model.pt", "other.pt"], "only a Darknet .cfg takes a second file"),
    ):
        done = CliRunner().invoke(app, ["import", *arguments, "-o", target])
        assert isinstance(done.exception, errors.YOLOv4Error), done.output
        assert message in str(done.exception)
    with pytest.raises(errors.ForeignFileError, match=r"yolov4sdk import x\.cfg x\.weights"):
        Path(tmp_path / "x.weights").write_bytes(b"1")
        load_backend(tmp_path / "x.weights")


def test_a_damaged_architecture_is_an_error(tmp_path: Path) -> None:
    model = import_darknet(*files(tmp_path, "yolov4-tiny"))
    for architecture in ({"darknet": 3}, {"darknet": "[net]\n"}, {"darknet": "", "more": 1}):
        path = tmp_path / "x.safetensors"
        save_checkpoint(model, path, model.spec.replace(architecture=architecture))
        with pytest.raises(errors.YOLOv4Error):
            load_checkpoint(path)
