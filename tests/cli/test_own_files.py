"""Files and names of our own, and devices as people write them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_cli import run
from tests.train.synthetic import write_dataset
from yolov4sdk import Detector
from yolov4sdk.errors import DeviceError, SettingError
from yolov4sdk.system.device import device_name

STATE = Path(__file__).resolve().parents[1] / "train" / "old_run" / "last.state"


@pytest.mark.parametrize("name", ["last.state.pt", "renamed.pt"])
def test_the_state_of_a_run_is_known(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / name
    shutil.copy(STATE, file)
    code, _, err = run(capsys, "import", file, "-o", tmp_path / "x.safetensors")
    assert code == 2 and f"--resume {tmp_path}" in err and "last.safetensors" in err
    assert not (tmp_path / "x.safetensors").exists()


def test_detect_names_the_model_beside_a_state(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, photos_dir: Path
) -> None:
    shutil.copy(STATE, tmp_path / "last.state.pt")
    code, _, err = run(
        capsys, "detect", photos_dir / "dog.jpg", "-m", tmp_path / "last.state.pt",
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 2 and "last.safetensors" in err and "another program" not in err


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (0, "cuda:0"), ("1", "cuda:1"), (np.int64(2), "cuda:2"), ("cpu", "cpu"), ("auto", "auto"),
        (torch.device("cuda:1"), "cuda:1"), (torch.device("cpu"), "cpu"), ("GPU.1", "GPU.1"),
    ],
)  # fmt: skip
def test_names_of_devices(given: object, name: str) -> None:
    assert device_name(given) == name


@pytest.mark.parametrize("wrong", [True, None, -1, 0.0, ["cpu"]])
def test_what_names_no_device(wrong: object) -> None:
    with pytest.raises(SettingError, match="device must be a name"):
        device_name(wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_device_0_is_the_first_gpu(micro_artefacts: dict[str, Path], backend: str) -> None:
    with pytest.raises(DeviceError) as by_name:
        Detector(micro_artefacts[backend], device="cuda:0")
    with pytest.raises(DeviceError) as by_number:
        Detector(micro_artefacts[backend], device="0")
    assert str(by_number.value) == str(by_name.value)


@pytest.mark.parametrize("command", ["convert", "crops"])
def test_a_new_data_set_is_named_by_o_too(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data", train=2, val=1, side=96)
    more = ["--format", "coco"] if command == "convert" else ["--min-side", 8]
    code, _, err = run(capsys, "data", command, data, "-o", tmp_path / "new", *more)
    assert code == 0, err
    assert (tmp_path / "new" / ("annotations" if command == "convert" else "train")).is_dir()
    for words in ([tmp_path / "a", "-o", tmp_path / "b"], []):
        code, _, err = run(capsys, "data", command, data, *words, *more)
        assert code == 2 and "one new folder" in err
