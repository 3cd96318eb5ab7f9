"""Videos that are written: times, sizes, and what is left after an interruption."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from yolov4sdk.errors import SettingError, VideoError
from yolov4sdk.streams.video import VideoFile
from yolov4sdk.streams.video_writer import VideoWriter

from .pictures import numbered, read_number

av = pytest.importorskip("av")


def read(path: Path) -> list[tuple[int, float, tuple[int, ...]]]:
    return [
        (read_number(picture.image), picture.time or 0.0, picture.image.shape)
        for picture in VideoFile(f"file:{path}", path.name)
    ]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_variable_times_are_kept(tmp_path: Path, suffix: str) -> None:
    times = [0, 0.01, 0.5, 0.54, 3.0, 3.001]
    path = tmp_path / "new" / f"v.{suffix}"
    with VideoWriter(path, 25) as writer:
        for i, time in enumerate(times):
            writer.write(numbered(i), time)
        assert not path.exists()
    found = read(path)
    assert [number for number, _, _ in found] == list(range(6))
    assert [time for _, time, _ in found] == pytest.approx(times, abs=0.0011)  # MKV: whole ms
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("rate", [10, 25, Fraction(30000, 1001), None])
def test_constant_rate(tmp_path: Path, rate: Fraction | int | None) -> None:
    with VideoWriter(tmp_path / "v.mp4", rate) as writer:
        for i in range(20):
            writer.write(numbered(i))
    reader = VideoFile(f"file:{tmp_path / 'v.mp4'}", "v")
    pictures = list(reader)
    assert reader.rate == (rate or 25)
    assert [p.time for p in pictures] == pytest.approx([i / float(rate or 25) for i in range(20)])


def test_times_that_do_not_rise(tmp_path: Path) -> None:
    """A live source's clock may jump back; the file stays in order."""
    with VideoWriter(tmp_path / "v.mp4") as writer:
        for i, time in enumerate((5.0, 5.04, 4.0, 4.04, 5.2)):
            writer.write(numbered(i), time)
    assert [number for number, _, _ in read(tmp_path / "v.mp4")] == list(range(5))


def test_odd_and_changing_sizes(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4") as writer:
        writer.write(numbered(0, 95, 127), 0)
        writer.write(numbered(1, 95, 127), 0.1)
        writer.write(numbered(2, 480, 640), 0.2)
    assert [(n, shape) for n, _, shape in read(tmp_path / "v.mp4")] == [
        (i, (96, 128, 3)) for i in range(3)
    ]


def test_colors_survive(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4") as writer:
        for _ in range(5):
            writer.write(numbered(3), None)
    image = list(VideoFile(f"file:{tmp_path / 'v.mp4'}", "v"))[-1].image
    assert np.abs(image.astype(int) - numbered(3)).mean() < 6


@pytest.mark.parametrize("error", [KeyboardInterrupt, VideoError])
def test_an_interrupted_video_is_whole(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), VideoWriter(tmp_path / "v.mp4") as writer:
        for i in range(8):
            writer.write(numbered(i))
        raise error
    assert [number for number, _, _ in read(tmp_path / "v.mp4")] == list(range(8))


def test_another_error_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("old")
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "v.mp4") as writer:
        writer.write(numbered(0))
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]
    assert (tmp_path / "v.mp4").read_text() == "old"


def test_no_picture_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4"):
        pass
    assert not list(tmp_path.iterdir())


def test_unknown_suffix(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingError, match=r"'\.xyz' is not written"),
        VideoWriter(tmp_path / "v.xyz") as writer,
    ):
        writer.write(numbered(0))
    assert not list(tmp_path.iterdir())
