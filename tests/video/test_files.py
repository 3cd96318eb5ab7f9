"""Videos, folders and pipes: every frame, its time, and what is broken."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from yolov4sdk import Detector
from yolov4sdk.backends import Outputs
from yolov4sdk.backends.base import ContextManager
from yolov4sdk.errors import (
    ImageNotFoundError,
    MissingExtraError,
    SettingError,
    UnknownClassError,
    VideoDecodeError,
    VideoNotFoundError,
)

from .pictures import jpeg, make_video, numbered, read_number

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    with Detector(size=64, conf=0.001, threads=1) as detector:
        yield detector


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", 60)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_every_frame_in_order_with_its_time(detector: Detector, video: Path, batch: int) -> None:
    frames = list(detector.stream(video, batch=batch))
    assert [frame.number for frame in frames] == list(range(60))
    assert [read_number(frame.image) for frame in frames] == list(range(60))
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(60)])
    assert {(frame.source, frame.source_index) for frame in frames} == {(str(video), 0)}
    for frame in frames[::17]:
        assert frame.detections == detector(frame.image)
    assert any(len(frame.detections) for frame in frames)


def test_pixels_are_those_of_opencv(detector: Detector, video: Path) -> None:
    """Another reader gives the same picture: color order and range are right."""
    capture = cv2.VideoCapture(str(video))
    for frame in detector.stream(video):
        difference = np.abs(frame.image.astype(int) - capture.read()[1])
        assert difference.mean() < 2
    capture.release()


@pytest.mark.parametrize("stride", [2, 7, 100])
def test_stride(detector: Detector, video: Path, stride: int) -> None:
    frames = list(detector.stream(video, stride=stride, batch=2))
    assert [frame.number for frame in frames] == list(range(0, 60, stride))
    assert [read_number(frame.image) for frame in frames] == list(range(0, 60, stride))
    assert frames[-1].time == pytest.approx(frames[-1].number / 25)


def test_overrides_reach_the_detector(detector: Detector, video: Path) -> None:
    with detector.stream(video, conf=0.9999) as stream:
        assert len(next(stream).detections) == 0
    with detector.stream(video, classes=["zebra"]) as stream, pytest.raises(UnknownClassError):
        next(stream)


def test_variable_frame_rate(detector: Detector, tmp_path: Path) -> None:
    times = [0, 10, 40, 500, 510, 3000, 3001, 4000]
    video = make_video(tmp_path / "vfr.mp4", len(times), times=times)
    found = [frame.time for frame in detector.stream(video)]
    assert found == pytest.approx([t / 1000 for t in times])


def test_time_starts_at_zero_where_the_file_does_not(detector: Detector, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.ts", 20)  # MPEG-TS starts at 1.4 s
    assert [f.time for f in detector.stream(video)] == pytest.approx([i / 25 for i in range(20)])


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotated_videos_are_upright(detector: Detector, tmp_path: Path, rotation: int) -> None:
    """A phone held upright: turned pixels, and a display matrix. OpenCV is the second opinion."""
    upright = numbered(5)
    turned = np.rot90(upright, -rotation // 90)  # as the sensor saw it
    video = make_video(
        tmp_path / "phone.mp4", [np.ascontiguousarray(turned)] * 3, rotation=rotation
    )
    frame = next(detector.stream(video))
    assert frame.image.shape == upright.shape and read_number(frame.image) == 5
    assert frame.detections.image_size == upright.shape[:2]
    assert np.abs(frame.image.astype(int) - upright).mean() < 6
    capture = cv2.VideoCapture(str(video))
    assert np.abs(frame.image.astype(int) - capture.read()[1]).mean() < 2
    capture.release()


@pytest.mark.parametrize(("codec", "suffix"), [("mjpeg", "mkv"), ("libx264", "mp4")])
def test_undecodable_frame_in_the_middle(
    detector: Detector, tmp_path: Path, codec: str, suffix: str
) -> None:
    """Skipped and counted; the others keep their numbers and times."""
    spoil = (10, 11, 25)
    video = make_video(tmp_path / f"v.{suffix}", 40, codec=codec, keyframes=1, spoil=spoil)
    stream = detector.stream(video, batch=4)
    frames = list(stream)
    good = [i for i in range(40) if i not in spoil]
    assert [read_number(frame.image) for frame in frames] == good
    assert [frame.number for frame in frames] == good
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in good])
    counts = stream.sources[0].counts
    assert (counts.frames, counts.broken) == (40, 3)


def test_files_that_are_no_videos(detector: Detector, tmp_path: Path) -> None:
    empty, text, cut = (tmp_path / name for name in ("empty.mp4", "text.mp4", "cut.mp4"))
    empty.touch()
    text.write_text("no video " * 1000)
    whole = make_video(tmp_path / "whole.mp4", 30).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])  # the index is at the end
    with pytest.raises(VideoDecodeError, match="0 bytes"):
        detector.stream(empty)
    for file in (text, cut):
        with pytest.raises(VideoDecodeError, match=f"{file.name}: no video"):
            next(detector.stream(file))
    with pytest.raises(VideoNotFoundError, match="no video at"):
        detector.stream(tmp_path / "missing.mp4")
    with pytest.raises(ImageNotFoundError):
        detector.stream(tmp_path)


def test_zero_length_and_sound_alone(detector: Detector, tmp_path: Path) -> None:
    none = tmp_path / "none.avi"
    make_video(none, 3, codec="mjpeg", spoil=range(3))
    with pytest.raises(VideoDecodeError, match=r"no frame in it .* \(3 broken"):
        next(detector.stream(none))
    with av.open(str(tmp_path / "header.avi"), "w") as container:  # a recorder that never started
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuvj420p"
        container.start_encoding()
    with pytest.raises(VideoDecodeError, match=r"header\.avi: no"):
        next(detector.stream(tmp_path / "header.avi"))
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        sound: Any = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(VideoDecodeError, match="no video stream"):
        next(detector.stream(tmp_path / "sound.mkv"))


def test_folder_and_glob(detector: Detector, tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(i))
    (tmp_path / "2.jpg").write_bytes(b"\xff\xd8\xff no picture")
    for source in (tmp_path, str(tmp_path / "*.jpg")):
        stream = detector.stream(source, batch=2)
        frames = list(stream)
        assert [frame.number for frame in frames] == [0, 1, 3, 4, 5]
        assert [read_number(frame.image) for frame in frames] == [0, 1, 3, 4, 5]
        assert all(frame.time is None for frame in frames)
        assert stream.sources[0].counts.broken == 1


@pytest.mark.parametrize("form", ["mjpeg", "png", "mkv", "ts"])
def test_standard_input(tmp_path: Path, form: str) -> None:
    if form == "mjpeg":
        data = b"".join(jpeg(i) for i in range(30))
    elif form == "png":
        data = b"".join(cv2.imencode(".png", numbered(i))[1].tobytes() for i in range(30))
    else:
        data = make_video(tmp_path / f"v.{form}", 30).read_bytes()
    code = (
        "import sys\nfrom yolov4sdk import Detector\n"
        "from tests.video.pictures import read_number\n"
        "for f in Detector(size=64, threads=1).stream('-'):\n"
        "    print(f.number, read_number(f.image), f.source)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=data, capture_output=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr.decode()
    assert run.stdout.decode().splitlines() == [f"{i} {i} stdin" for i in range(30)]


def test_binary_file(detector: Detector) -> None:
    file = io.BytesIO(b"".join(jpeg(i) for i in range(5)))
    assert [read_number(frame.image) for frame in detector.stream(file)] == [0, 1, 2, 3, 4]


def test_a_playlist_in_a_pipe_opens_nothing(detector: Detector, video: Path) -> None:
    """Bytes from outside cannot make libav read files or addresses."""
    for target in (f"file:{video}", "http://127.0.0.1:9/v.ts"):
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n"
        with pytest.raises(VideoDecodeError):
            next(detector.stream(io.BytesIO(playlist.encode())))


def test_several_sources_share_batches(detector: Detector, video: Path, tmp_path: Path) -> None:
    short = make_video(tmp_path / "short.mkv", 7, rate=10)
    (tmp_path / "p").mkdir()
    for i in range(12):
        (tmp_path / "p" / f"{i:02}.jpg").write_bytes(jpeg(i))
    sources = [video, short, tmp_path / "p"]
    shapes = []
    backend_infer = detector.backend.infer
    detector.backend.infer = lambda batch: shapes.append(len(batch)) or backend_infer(batch)  # type: ignore
    try:
        frames = list(detector.stream(sources))
    finally:
        del detector.backend.infer  # type: ignore
    for index, length in enumerate((60, 7, 12)):
        mine = [frame for frame in frames if frame.source_index == index]
        assert [frame.number for frame in mine] == list(range(length))
        assert [read_number(frame.image) for frame in mine] == list(range(length))
        assert {frame.source for frame in mine} == {str(sources[index])}
    assert {frame.source_index for frame in frames[:6]} == {0, 1, 2}
    assert max(shapes) == 3 and sum(shapes) == 79


def test_a_failed_source_lets_the_others_end(
    detector: Detector, video: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    frames = []
    with pytest.raises(VideoDecodeError, match=r"bad\.mp4"):
        for frame in detector.stream([tmp_path / "bad.mp4", video], batch=2):
            frames.append(frame.number)
    assert frames == list(range(60))


def open_files() -> set[str]:
    return {str(link.resolve()) for link in Path("/proc/self/fd").iterdir()}


def our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("yolov4sdk")]


@pytest.mark.parametrize("how", ["close", "with", "reference", "error", "end", "unstarted"])
def test_threads_and_files_end_with_the_stream(detector: Detector, video: Path, how: str) -> None:
    if how == "close":
        stream = detector.stream(video, batch=2)
        next(stream)
        assert our_threads() and str(video) in open_files()
        stream.close()
        assert list(stream) == []
    elif how == "with":
        with detector.stream(video) as stream:
            next(stream)
    elif how == "reference":
        for _ in detector.stream(video):
            break
    elif how == "error":
        with pytest.raises(RuntimeError), detector.stream(video) as stream:
            for _ in stream:
                raise RuntimeError
    elif how == "end":
        for _ in detector.stream(video):
            pass
    else:
        detector.stream(video)
    assert our_threads() == []
    assert str(video) not in open_files()


def test_memory_is_constant(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more pictures are alive than the queues, the batches in work and the caller hold."""
    from yolov4sdk.streams import video as module

    alive: set[int] = set()
    most = 0

    def counted(frame: Any) -> Any:
        nonlocal most
        image = frame.to_ndarray(format="bgr24")
        key = id(image)
        alive.add(key)
        weakref.finalize(image, alive.discard, key)
        most = max(most, len(alive))
        return image

    monkeypatch.setattr(module, "to_bgr", counted)
    sources = [make_video(tmp_path / f"{i}.mp4", 200) for i in range(2)]
    total = 0
    for _ in detector.stream(sources, batch=4):
        total += 1
        if total % 50 == 0:
            time.sleep(0.05)  # a slow caller: the readers have all the time to run ahead
    assert total == 400
    # 2 queues of a batch and a picture in each reader's hand; 3 batches in work or being handed
    # over; the one that is being collected
    assert most <= 2 * (4 + 1) + 4 * 4 + 1


def test_settings(detector: Detector, video: Path) -> None:
    for options, words in (
        ({"stride": 0}, "stride"),
        ({"batch": 0}, "batch"),
        ({"batch": 9}, r"Detector\(batch="),
    ):
        with pytest.raises(SettingError, match=words):
            detector.stream(video, **options)
    with pytest.raises(SettingError, match="empty"):
        detector.stream([])
    with pytest.raises(SettingError, match="cannot stream from dict"):
        detector.stream({})
    with pytest.raises(SettingError, match="allow_urls") as caught:
        detector.stream("rtsp://me:secret@127.0.0.1/x")
    assert "secret" not in str(caught.value)
    with pytest.raises(SettingError, match="concat:// is not read"):
        detector.stream("concat://a|b")


def test_without_pyav(
    detector: Detector, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r'pip install "yolov4sdk\[video\]"'):
        detector.stream(video)
    (tmp_path / "0.jpg").write_bytes(jpeg(3))
    assert len(list(detector.stream(tmp_path))) == 1  # pictures need none


def test_a_graph_of_fixed_batch_gets_full_batches(detector: Detector, video: Path) -> None:
    class Fixed(ContextManager):
        name, device, precision = "fixed", "cpu", "fp32"
        spec = detector.spec.replace(batch=4)

        def infer(self, batch: np.ndarray) -> Outputs:
            assert len(batch) == 4
            rows.append(int(batch.any(axis=(1, 2, 3)).sum()))
            return detector.infer(batch)

        def close(self) -> None:
            """Nothing to give back."""

    rows: list[int] = []
    frames = list(Detector(Fixed(), size=64).stream(video, stride=6))
    assert [read_number(frame.image) for frame in frames] == list(range(0, 60, 6))
    assert sorted(rows) == [2, 4, 4]  # two batches run at a time, in any order


def test_real_videos(shared_dir: Path, detector: Detector) -> None:
    """Two films from outside: all frames, and the rate of each."""
    for name, length, rate in (
        ("car-detection.mp4", 377, Fraction(25, 2)),
        ("one-by-one-person-detection.mp4", 1394, Fraction(10)),
    ):
        stream = detector.stream(shared_dir / "data" / "video" / name, stride=50)
        frames = list(stream)
        assert [f.number for f in frames] == list(range(0, length, 50))
        assert [f.time for f in frames] == pytest.approx([f.number / float(rate) for f in frames])
        assert stream.sources[0].rate == rate and stream.sources[0].length == length
