"""Arguments of Python calls: what can only mean one thing is taken, the rest is refused."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yolov4sdk import Detector, YOLOv4Error
from yolov4sdk.backends import TABLE, BackendName
from yolov4sdk.errors import BackendError, SettingError
from yolov4sdk.results.options import network_size, read_options, scales
from yolov4sdk.system.arguments import flag, number, several, whole_number
from yolov4sdk.system.device import device_name

from .conftest import REPOSITORY


@pytest.fixture(scope="module")
def model(micro_artefacts: dict[str, Path]) -> Path:
    return micro_artefacts["onnxruntime"]


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"classes": 0}, {"classes": [0]}),
        ({"classes": "dog"}, {"classes": ["dog"]}),
        ({"classes": np.array([2, 0])}, {"classes": [2, 0]}),
        ({"classes": np.int64(3)}, {"classes": [3]}),
        ({"classes": ("dog", np.int32(1))}, {"classes": ["dog", 1]}),
        ({"classes": None}, {"classes": None}),
        ({"conf": "0.3"}, {"conf": 0.3}),
        ({"conf": np.float32(0.5)}, {"conf": 0.5}),
        ({"conf": torch.tensor(0.5)}, {"conf": 0.5}),
        ({"conf": {"dog": "0.4", 2: 1}}, {"conf": {"dog": 0.4, 2: 1.0}}),
        ({"iou": 1}, {"iou": 1.0}),
        ({"max_det": 5.0}, {"max_det": 5}),
        ({"max_det": "5"}, {"max_det": 5}),
        ({"agnostic": np.bool_(True)}, {"agnostic": True}),
        ({"multi_label": 0}, {"multi_label": False}),
        ({"tiles": np.int64(640)}, {"tiles": 640}),
    ],
)
def test_what_means_one_thing(given: dict[str, Any], right: dict[str, Any]) -> None:
    got = read_options(given)
    assert got == right and type(next(iter(got.values()))) is type(next(iter(right.values())))


@pytest.mark.parametrize(
    "given",
    [
        {"classes": True}, {"classes": 1.5}, {"classes": [None]}, {"classes": {"dog": 1}},
        {"classes": b"dog"}, {"conf": None}, {"conf": "high"}, {"conf": True}, {"conf": [0.3]},
        {"conf": {"dog": None}}, {"iou": "30%"}, {"iou": b"0.5"},
        {"max_det": 2.5}, {"max_det": None}, {"max_det": float("inf")}, {"max_det": True},
        {"agnostic": "no"}, {"agnostic": None}, {"multi_label": 2}, {"tiles": True},
        {"confidence": 0.3},
    ],
)  # fmt: skip
def test_what_could_mean_anything(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(SettingError, match=name):
        read_options(given)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(ANYTHING)
def test_only_our_error_is_raised(value: Any) -> None:
    readers: list[Any] = [number, whole_number, flag, several]
    for read in readers:
        try:
            read("x", value)
        except SettingError as error:
            assert str(error).startswith("x must be ")
    for read in (device_name, network_size, scales):
        with suppress(SettingError):
            read(value)
    for name in ("conf", "iou", "max_det", "classes", "agnostic", "tiles"):
        with suppress(SettingError):
            read_options({name: value})


@given(st.integers(-(2**40), 2**40))
def test_whole_numbers(value: int) -> None:
    for form in (value, np.int64(value), float(value), str(value), np.array(value)):
        got = whole_number("x", form)
        assert got == value and type(got) is int


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("auto", "auto"), (0, "cuda:0"), ("1", "cuda:1"), (np.int64(2), "cuda:2"),
        (torch.device("cpu"), "cpu"), (torch.device("cuda", 1), "cuda:1"), ("GPU", "GPU"),
    ],
)  # fmt: skip
def test_devices(given: Any, right: str) -> None:
    assert device_name(given) == right


@pytest.mark.parametrize("given", [None, True, -1, 0.0, [0], torch.float16])
def test_no_devices(given: Any) -> None:
    with pytest.raises(SettingError, match="device"):
        device_name(given)


def test_sizes_of_any_integer(model: Path) -> None:
    for size in (np.int64(64), "64", 64.0, [64, 64], np.array([64, 64]), (np.int32(64), 64)):
        with Detector(model, size=size) as detector:  # type: ignore[arg-type]
            assert detector.size == (64, 64)


@pytest.mark.parametrize(
    "options",
    [
        {"batch": None}, {"batch": "many"}, {"size": (64, 64, 3)}, {"size": True},
        {"threads": "all"}, {"color": "HSV"}, {"shape": 3}, {"backend": 7}, {"precision": 16},
        {"tta": 1}, {"tta": "yes"}, {"allow_urls": "no"}, {"scaled_decode": None},
        {"device": object()}, {"classes": 1.5},
    ],
)  # fmt: skip
def test_a_detector_refuses_wrong_types(model: Path, options: dict[str, Any]) -> None:
    with pytest.raises(YOLOv4Error, match=next(iter(options))):
        Detector(model, **options)


def test_a_stream_refuses_wrong_types(model: Path, photos_dir: Path) -> None:
    with Detector(model) as detector:
        for options in ({"stride": "two"}, {"batch": 1.5}):
            with pytest.raises(SettingError, match=next(iter(options))):
                detector.stream(photos_dir, **options)  # type: ignore[arg-type]


def test_a_detector_travels_as_its_arguments(
    model: Path, photos_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    photo = photos_dir / "dog.jpg"
    with Detector(model.name, conf=0.001, size=64, device=torch.device("cpu")) as detector:
        data = pickle.dumps(detector)
        monkeypatch.chdir("/")
        assert len(data) < 2000
        with pickle.loads(data) as other:
            assert other(photo) == detector(photo) and other.size == (64, 64)
        with Detector(detector.backend) as around, pytest.raises(SettingError, match="path"):
            pickle.dumps(around)


def _count(detector: Detector, photo: Path, queue: Any) -> None:
    try:
        queue.put(len(detector(photo)))
    except YOLOv4Error as error:
        queue.put(error)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_torch_in_a_child(micro_artefacts: dict[str, Path], photos_dir: Path, method: str) -> None:
    """Spawned it works; forked it is an error, where it hung."""
    context: Any = multiprocessing.get_context(method)
    with Detector(micro_artefacts["torch"], conf=0.001) as detector:
        right = len(detector(photos_dir / "dog.jpg"))
        queue = context.Queue()
        process = context.Process(
            target=_count, args=(detector, photos_dir / "dog.jpg", queue), daemon=True
        )
        process.start()
        got = queue.get(timeout=120)
        process.join(10)
    if method == "spawn":
        assert got == right > 0
    else:
        assert isinstance(got, BackendError) and "fork" in str(got)


def test_names_of_backends_are_those_that_exist() -> None:
    assert set(get_args(BackendName)) == set(TABLE)


@pytest.mark.slow
def test_a_type_checker_sees_wrong_options(tmp_path: Path) -> None:
    lines = {
        "Detector()('a.jpg', conf=0.3)": True,
        "Detector()(['a.jpg'], classes=0)": True,
        "Detector(backend='onnxruntime', device=0, classes='dog')": True,
        "Detector().stream('v.mp4', max_det=3)": True,
        "Detector()('a.jpg', keep_images=True).save('b.jpg')": True,
        "[(one.name, one.box[0]) for one in Detector().warmup()('a.jpg')]": True,
        "Detector()('a.jpg', keep_image=True)": False,
        "Detector()('a.jpg')[:1].name": False,
        "Detector()('a.jpg', confidence=0.3)": False,
        "Detector().stream('v.mp4', confidence=0.3)": False,
        "Detector(backend='onnxruntim')": False,
        "Detector(precision='half')": False,
    }
    code = "from yolov4sdk import Detector\n" + "\n".join(lines) + "\n"
    (tmp_path / "user.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", "user.py"],
        cwd=tmp_path, env={"MYPYPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True,
    )  # fmt: skip
    wrong = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert wrong == {i for i, right in enumerate(lines.values(), 2) if not right}, done.stdout
