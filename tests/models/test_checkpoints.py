"""The native format and what can be wrong with a file of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from yolov4sdk import errors
from yolov4sdk.backends.artefacts import read_spec
from yolov4sdk.contract.spec import METADATA_KEY
from yolov4sdk.models import build_model
from yolov4sdk.models.checkpoints import load_checkpoint, load_weights, save_checkpoint

from .test_models import small


@pytest.fixture(scope="module")
def model():
    return small("yolov4-csp")


@pytest.fixture
def file(model, tmp_path: Path) -> Path:
    path = tmp_path / "new folder" / "model.safetensors"
    save_checkpoint(model, path)
    return path


def test_round_trip(model, file: Path) -> None:
    loaded = load_checkpoint(file)
    assert loaded.spec == model.spec == read_spec(file) and not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in loaded.state_dict().items())


def test_failed_save_keeps_the_old_file(model, file: Path, monkeypatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    before = file.read_bytes()
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(model, file)
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def test_damaged_files(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    cases = {
        "empty": (b"", errors.EmptyFileError),
        "short": (data[:5000], errors.TruncatedFileError),
        "cut": (data[:-100], errors.TruncatedFileError),
        "foreign": (b"PK\x03\x04" + data, errors.ForeignFileError),
        "text": (b"hello, world, this is text", errors.ForeignFileError),
        "bad header": (data[:9] + b"\xff" + data[10:], errors.ForeignFileError),
    }
    for name, (content, kind) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(kind, match=path.name):
            load_checkpoint(path)
    with pytest.raises(errors.ArtefactNotFoundError):
        load_checkpoint(tmp_path / "none.safetensors")


def test_no_or_wrong_spec(model, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for metadata, message in (
        (None, "holds no ModelSpec"),
        ({METADATA_KEY: "{"}, "not valid JSON"),
        ({METADATA_KEY: '{"format_version": 99}'}, "version 99"),
    ):
        safetensors.torch.save_file(model.state_dict(), path, metadata)
        with pytest.raises(errors.SpecError, match=message):
            load_checkpoint(path)


def test_mismatch_lists_everything(model) -> None:
    tensors = dict(model.state_dict())
    tensors["extra.weight"] = torch.zeros(1)
    del tensors["model.0.conv.weight"]
    tensors["model.1.bn.weight"] = torch.zeros(7)
    with pytest.raises(errors.StateDictError) as caught:
        load_weights(model, tensors, "file.pt")
    error = caught.value
    assert error.missing == ["model.0.conv.weight"] and error.unexpected == ["extra.weight"]
    assert error.misshaped == ["model.1.bn.weight: (7,) in the file, (8,) in the model"]
    assert all(word in str(error) for word in ("file.pt", "extra.weight", "model.0.conv.weight"))


def test_fine_tuning_loads_what_fits(model) -> None:
    other = small("yolov4-csp", nc=7)
    before = other.state_dict()["model.31.m.0.weight"].clone()
    missing, unexpected, misshaped = load_weights(other, model.state_dict(), strict=False)
    assert not missing and not unexpected and len(misshaped) == 6  # weight and bias of 3 levels
    assert torch.equal(other.state_dict()["model.31.m.0.weight"], before)
    assert torch.equal(
        other.state_dict()["model.0.conv.weight"], model.state_dict()["model.0.conv.weight"]
    )


def test_names_that_do_not_match_the_head(model, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(model, path, model.spec.replace(names=("one", "two")))
    with pytest.raises(errors.StateDictError, match="misshaped"):
        load_checkpoint(path)


def test_built_in_is_named_not_copied() -> None:
    assert build_model("yolov4-csp-n").spec.architecture == "yolov4-csp-n"
