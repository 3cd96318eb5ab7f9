"""`yolov4sdk detect` for videos: files written, messages, interruption."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_cli import run
from yolov4sdk.streams.video import VideoFile
from yolov4sdk.system.outputs import MANIFEST

from .pictures import MjpegServer, make_video, read_number

pytest.importorskip("av")

TIMES = [0, 40, 80, 500, 540, 1500]
SMALL = ("--size", 64, "--conf", 0.001)


def test_video_json_and_csv(capsys, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mkv", 6, times=TIMES)
    out = tmp_path / "out"
    code, _, err = run(capsys, "detect", source, "-o", out, "--format", "image,json,csv", *SMALL)
    assert code == 0, err
    written = sorted(p.name for p in out.iterdir() if p.name != MANIFEST)
    assert written == ["detections.csv", "detections.jsonl", "v.mp4"]
    records = [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == list(range(6))
    assert [record["time"] for record in records] == pytest.approx([t / 1000 for t in TIMES])
    assert all(record["image"] == {"height": 96, "width": 128} for record in records)
    rows = list(csv.DictReader((out / "detections.csv").open(newline="")))
    assert len(rows) == sum(len(record["detections"]) for record in records) > 0
    assert rows[0]["name"] == records[int(rows[0]["frame"])]["detections"][0]["name"]
    pictures = list(VideoFile(f"file:{out / 'v.mp4'}", "v"))
    assert [p.time for p in pictures] == pytest.approx([t / 1000 for t in TIMES], abs=0.001)
    assert "6 frames, 0 broken" in err


def test_two_sources_of_one_name_and_json_lines_on_standard_output(capsys, tmp_path: Path) -> None:
    for folder, frames in (("a", 3), ("b", 5)):
        (tmp_path / folder).mkdir()
        make_video(tmp_path / folder / "v.mp4", frames)
    sources = [tmp_path / "a" / "v.mp4", tmp_path / "b" / "v.mp4"]
    code, text, _ = run(capsys, "detect", *sources, "-o", tmp_path / "o", "--json", *SMALL)
    assert code == 0
    records = [json.loads(line) for line in text.splitlines()]
    for name, source, frames in (("v", sources[0], 3), ("v_1", sources[1], 5)):
        assert sum(record["source"] == str(source) for record in records) == frames
        assert len(list(VideoFile(f"file:{tmp_path / 'o' / name}.mp4", name))) == frames


def test_stride(capsys, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", 10, rate=10)
    code, _, _ = run(capsys, "detect", source, "-o", tmp_path / "o", "--stride", 4, *SMALL)
    assert code == 0
    times = [p.time for p in VideoFile(f"file:{tmp_path / 'o' / 'v.mp4'}", "v")]
    assert times == pytest.approx([0, 0.4, 0.8])


def test_mistakes(capsys, tmp_path: Path, photos_dir: Path) -> None:
    video = make_video(tmp_path / "v.mp4", 2)
    (tmp_path / "empty.mp4").touch()
    for arguments, words in (
        ([video, photos_dir / "dog.jpg"], "separate runs"),
        ([video, "--format", "yolo"], "for images"),
        ([tmp_path / "missing.mp4"], "no video at"),
        ([tmp_path / "empty.mp4"], "empty"),
        ([video, "-o", tmp_path], "would replace its source"),
        (["63"], "camera 63 cannot be opened"),
    ):
        code, _, err = run(capsys, "detect", "-o", tmp_path / "o", *arguments, *SMALL)
        assert code == 2 and words in " ".join(err.split()), (arguments, err)


def test_show_without_a_display(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    video = make_video(tmp_path / "v.mp4", 2)
    code, _, err = run(capsys, "detect", video, "-o", tmp_path / "o", "--show", *SMALL)
    assert code == 2 and "--show needs" in err
    assert not list((tmp_path / "o").glob("*"))


@pytest.mark.skipif(not shutil.which("Xvfb"), reason="no Xvfb")
def test_show(tmp_path: Path) -> None:
    """On a virtual display: the window shows the frames, and the video is written too."""
    pytest.importorskip("tkinter")
    read, write = os.pipe()
    display = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp"],
        pass_fds=[write], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        number = os.read(read, 20).decode().strip()
        video = make_video(tmp_path / "v.mp4", 12)
        result = subprocess.run(
            [sys.executable, "-m", "yolov4sdk", "detect", str(video), "-o", str(tmp_path / "o"),
             "--show", "--size", "64"],
            env={**os.environ, "DISPLAY": f":{number}"},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert len(list(VideoFile(f"file:{tmp_path / 'o' / 'v.mp4'}", "v"))) == 12
    finally:
        display.terminate()
        display.wait()
        os.close(read)
        os.close(write)


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C on a live source: exit code 130, and whole files with the frames up to then."""
    out = tmp_path / "o"
    with MjpegServer() as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "yolov4sdk", "detect", server.url, "-o", str(out), "--size",
             "64", "--format", "image,json,csv", "--json", "--timeout", "60"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout
        for _ in range(600):  # until it has imported everything
            if server.clients:
                break
            time.sleep(0.1)
        server.send(range(4))
        for number in range(10, 16):
            server.send([number])
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        for number in range(16, 56):  # a camera goes on
            if process.poll() is not None:
                break
            server.send([number])
            time.sleep(0.5)
        process.wait(10)
        err = process.stderr.read() if process.stderr else ""
    assert process.returncode == 130, err
    video = next(out.glob("*.mp4"))
    written = [p for p in out.iterdir() if p.name != MANIFEST]
    assert sorted(p.suffix for p in written) == [".csv", ".jsonl", ".mp4"]
    numbers = [read_number(p.image) for p in VideoFile(f"file:{video}", "v")]
    records = [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]
    assert len(numbers) == len(records) >= 6 and numbers == sorted(set(numbers))
