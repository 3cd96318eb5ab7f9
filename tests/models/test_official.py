"""Official checkpoints: the oracle's numbers, both file formats, and nothing that runs."""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from yolov4sdk import errors
from yolov4sdk.models import Model, fold
from yolov4sdk.models.official import import_official
from yolov4sdk.models.pickles import Stub, load_pickled

from ..support.foreign_checkpoints import foreign, foreign_tree, save
from .test_models import small

ORACLES = ["official-csp-w0125-d025", "official-p5-w0125-d020-legacy"]


def relative_error(value: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.max(np.abs(value.numpy() - expected) / np.maximum(1, np.abs(expected))))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-3)])
@pytest.mark.parametrize("name", ORACLES)
def test_oracle(name: str, dtype: torch.dtype, tolerance: float, oracle_dir: Path) -> None:
    model = import_official(oracle_dir / f"{name}.pt").to(dtype)
    oracle = np.load(oracle_dir / f"{name}.npz")
    images = (torch.from_numpy(oracle["images"]).float() / 255).to(dtype)
    with torch.no_grad():
        raw = model.raw(images)
        decoded = torch.cat(model.detect.decode(raw), dim=-1)
        for level, value in enumerate(raw):
            assert relative_error(value, oracle[f"raw{level}"]) < tolerance
        assert relative_error(decoded, oracle["decoded"]) < tolerance
        if dtype == torch.float64:
            for a, b in zip(model(images), fold(model)(images), strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_what_comes_along(oracle_dir: Path) -> None:
    spec = import_official(oracle_dir / "official-bccd.pt", size=320).spec
    assert spec.architecture == "yolov4-csp-n" and spec.names == ("RBC", "WBC", "Platelets")
    assert spec.strides == (8, 16, 32) and spec.input_size == (320, 320)
    assert spec.provenance["source"] == "official-bccd.pt" and len(spec.provenance["sha256"]) == 64
    with pytest.raises(errors.NamesError, match="3 classes, but there are 2 names"):
        import_official(oracle_dir / "official-bccd.pt", names=["a", "b"])


@pytest.fixture(scope="module")
def model() -> Model:
    return small("yolov4-csp").eval()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_whole_checkpoint(model: Model, zipped: bool, half: bool, tmp_path: Path) -> None:
    stored = small("yolov4-csp").eval()
    if half:
        stored = stored.half()
    other = small("yolov4-csp")
    torch.nn.init.zeros_(other.model[0].conv.weight)
    content = {
        "epoch": 3,
        "best_fitness": np.array([0.5]),
        "model": foreign_tree(other),
        "ema": foreign_tree(stored),  # preferred: its first weights are not zero
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(4)}}, "param_groups": [{}]},
    }
    loaded = import_official(save(content, tmp_path / "x.pt", zipped))
    assert loaded.spec.names == model.spec.names
    assert loaded.spec.architecture["width_multiple"] == 0.125
    for key, value in model.state_dict().items():
        if key.endswith(".anchors"):
            assert torch.equal(loaded.state_dict()[key], value)  # not rounded to half
        else:
            expected = value.half().float() if half and value.is_floating_point() else value
            assert torch.equal(loaded.state_dict()[key].to(expected.dtype), expected), key


def test_other_batch_norm_epsilon(model: Model, tmp_path: Path) -> None:
    stored = small("yolov4-csp").eval()
    for module in stored.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-2
    loaded = import_official(save({"model": foreign_tree(stored)}, tmp_path / "x.pt"))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(stored(images), loaded(images), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s}])
def test_plain_state_dict(wrap, tmp_path: Path) -> None:
    from yolov4sdk.models import build_model

    stored = build_model("yolov4-csp-n", names=["a", "b"])
    path = tmp_path / "weights.pt"
    torch.save(wrap({f"module.{k}": v for k, v in stored.state_dict().items()}), path)
    loaded = import_official(path)
    assert loaded.spec.architecture == "yolov4-csp-n"
    assert loaded.spec.names == ("class0", "class1")
    assert all(torch.equal(v, stored.state_dict()[k]) for k, v in loaded.state_dict().items())


def test_state_dict_of_no_built_in(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    with pytest.raises(errors.StateDictError, match="misshaped"):
        import_official(path)
    assert import_official(path, architecture=model.spec.architecture).spec.nc == 3


class Evil:
    def __init__(self, function: object, *args: object) -> None:
        self.call = function, args

    def __reduce__(self):
        return self.call


def evil_contents(marker: Path) -> dict[str, tuple[object, str]]:
    import os

    run = f"touch {marker}"
    return {
        "os.system": (Evil(os.system, run), "(posix|os).system"),
        "eval": (Evil(eval, f"open({str(marker)!r}, 'w')"), r"builtin(s|__)\.eval"),
        "getattr": (Evil(getattr, "text", "upper"), r"builtin(s|__)\.getattr"),
        "open": (Evil(open, str(marker), "w"), "io.open"),
        "inside the model": ({"model": {"x": Evil(os.system, run)}}, "(posix|os).system"),
        "torch.load": (Evil(torch.load, str(marker)), "torch.serialization.load"),
        "torch.hub": (Evil(torch.hub.load, str(marker)), "torch.hub.load"),
        "pickle in pickle": (Evil(pickle.loads, b"x"), "pickle.loads"),
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("case", evil_contents(Path("marker")))
def test_evil_pickles_are_refused_by_name(case: str, zipped: bool, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    content, asked = evil_contents(marker)[case]
    path = tmp_path / "evil.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(errors.UnsafePickleError, match=asked):
        import_official(path)
    assert not marker.exists()


def test_nested_names_are_refused(tmp_path: Path) -> None:
    """Protocol 4 allows dotted names: models.common may be allowed, what it imports is not."""
    for module, name in (("models.common", "os.system"), ("torch.nn.modules.conv", "torch.hub")):
        content = (
            b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
            + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93."
        )  # fmt: skip
        path = tmp_path / "nested.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", content)
            archive.writestr("x/version", "3")
        with pytest.raises(errors.UnsafePickleError, match=name):
            load_pickled(path)


def test_stubs_hold_and_do_nothing(model: Model, tmp_path: Path) -> None:
    content = load_pickled(save({"model": foreign_tree(model)}, tmp_path / "x.pt"))
    tree = content["model"]
    assert isinstance(tree, Stub) and tree.kind == "models.common.Model"
    assert tree.names == ["class0", "class1", "class2"]


def test_damaged_files(model: Model, tmp_path: Path) -> None:
    path = save({"model": foreign_tree(model)}, tmp_path / "x.pt")
    legacy = save({"model": foreign_tree(model)}, tmp_path / "y.pt", zipped=False)
    cases: dict[str, tuple[bytes, type[Exception]]] = {
        "empty": (b"", errors.EmptyFileError),
        "cut zip": (path.read_bytes()[:-2000], errors.TruncatedFileError),
        "cut legacy": (legacy.read_bytes()[:-2000], errors.TruncatedFileError),
        "cut legacy early": (legacy.read_bytes()[:900], errors.ArtefactError),
        "text": (b"hello", errors.ForeignFileError),
        "a pickle of 1": (pickle.dumps(1), errors.ForeignFileError),
        "safetensors": (b"\x10" + bytes(7) + b"{}", errors.ForeignFileError),
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("a.txt", "no checkpoint")
    cases["zip of something else"] = (archive.getvalue(), errors.ForeignFileError)
    for name, (data, kind) in cases.items():
        broken = tmp_path / f"{name}.pt"
        broken.write_bytes(data)
        with pytest.raises(kind):
            import_official(broken)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("a/data.pkl", b"0" * 10_000_000)
    (tmp_path / "bomb.pt").write_bytes(archive.getvalue())
    with pytest.raises(errors.ForeignFileError, match="compressed"):
        import_official(tmp_path / "bomb.pt")
    torch.save({"lr": 0.1}, tmp_path / "none.pt")
    with pytest.raises(errors.ForeignFileError, match="neither a model nor a state_dict"):
        import_official(tmp_path / "none.pt")
    with pytest.raises(errors.ArtefactNotFoundError):
        import_official(tmp_path / "missing.pt")


def test_flipped_bytes_never_crash(model: Model, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for zipped in (True, False):
        data = save({"model": foreign_tree(model)}, tmp_path / "x.pt", zipped).read_bytes()
        start = data.find(b"data.pkl") if zipped else 0
        for _ in range(25):
            broken = bytearray(data)
            for at in rng.integers(start, start + 20_000, 3):
                broken[at] ^= int(rng.integers(1, 256))
            path = tmp_path / "broken.pt"
            path.write_bytes(broken)
            with contextlib.suppress(errors.YOLOv4Error):
                import_official(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (foreign("ultralytics.nn.tasks", "DetectionModel", {}), "a checkpoint of ultralytics"),
        (
            foreign("models.yolo", "DetectionModel", {
                "_modules": {}, "names": ["a"],
                "yaml": {"nc": 1, "head": [[-1, 1, "SPPF", [1024, 5]]],
                         "backbone": [[-1, 1, "Conv", [64, 6, 2, 2]], [-1, 3, "C3", [128]]]},
            }),
            "another family, such as YOLOv5 or YOLOv7 .it has C3, SPPF",
        ),
    ],
)  # fmt: skip
def test_other_detectors_are_told_the_way_in(
    content: object, message: str, zipped: bool, tmp_path: Path
) -> None:
    path = save({"model": content, "epoch": -1}, tmp_path / "best.pt", zipped)
    with pytest.raises(errors.ForeignFileError, match=message) as raised:
        import_official(path)
    assert "format=onnx" in str(raised.value) and "yolov4sdk adopt best.onnx" in str(raised.value)


def test_weights_of_another_detector_are_told_the_way_in(tmp_path: Path) -> None:
    torch.save({"model.22.dfl.conv.weight": torch.ones(1, 16, 1, 1)}, tmp_path / "x.pt")
    with pytest.raises(errors.ForeignFileError, match=r"no detection head.*adopt x\.onnx"):
        import_official(tmp_path / "x.pt")
