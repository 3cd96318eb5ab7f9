"""What a person reads: plurals, units, bars in 80 columns, next steps, what `init` writes."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.test_cli import run
from train.progress import Reporter
from yolov4sdk.cli.console import counted, duration, progress_bar, size_of
from yolov4sdk.datasets import load_dataset


def test_plurals_and_units() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 1200)] == [
        "0 images", "1 image", "2 images", "1,200 images",
    ]  # fmt: skip
    assert counted(1, "box", "boxes") == "1 box" and counted(3, "box", "boxes") == "3 boxes"
    seconds = (0.04, 9.96, 59.6, 60, 200, 3600, 7500)
    assert [duration(s) for s in seconds] == [
        "0.0 s", "10.0 s", "1 min", "1 min", "3 min 20 s", "1 h", "2 h 5 min",
    ]  # fmt: skip
    assert [size_of(n) for n in (870, 12_340, 12_340_000, 1_240_000_000)] == [
        "870 B", "12.3 kB", "12.3 MB", "1.24 GB",
    ]  # fmt: skip


def narrow() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)


def last_line(console: Console) -> str:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())  # type: ignore[attr-defined]
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()][-1]


def test_a_bar_keeps_count_rate_and_time_left_at_80_columns() -> None:
    console = narrow()
    now = 0.0
    bar = progress_bar("image", console)
    bar.get_time = lambda: now  # type: ignore[method-assign]
    with bar:
        task = bar.add_task("detecting", total=12_000)
        for _ in range(30):
            now += 0.5
            bar.advance(task, 20)
        bar.refresh()
        line = last_line(console)
    assert len(line) <= 80
    assert "600/12000" in line and "40 image/s" in line and "04:45" in line, line


def test_the_bar_of_a_training_too(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = Reporter(300, torch.device("cpu"), None)
    reporter.console, reporter._live = narrow(), True
    reporter.start_epoch(122, 1000, 0)
    for _ in range(3):
        reporter.step([0.0412, 0.0213, 0.0101, 0.0726], 0.01, 16)
    assert reporter._progress is not None
    reporter._progress.refresh()
    line = last_line(reporter.console)
    reporter.close()
    assert len(line.rstrip()) <= 80
    for part in ("epoch 123/300", "3/1000", "images/s", "loss 0.0726"):
        assert part in line, line
    assert re.search(r"\d+:\d\d", line), line


def test_init_writes_a_data_set_that_is_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, photos_dir: Path
) -> None:
    folder = tmp_path / "pets"
    code, out, err = run(capsys, "init", folder, "--names", "no, big dog,1.10,a: b #c")
    assert code == 0 and "data.yaml" in out
    assert f"next: yolov4sdk label photos -o {folder}-labelled" in err
    for split in ("train", "val"):
        (folder / "images" / split / "a.jpg").write_bytes((photos_dir / "dog.jpg").read_bytes())
        (folder / "labels" / split / "a.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    read = load_dataset(folder / "data.yaml", "train")
    assert read.names == ("no", "big dog", "1.10", "a: b #c") and len(read.boxes[0]) == 1
    code, _, err = run(capsys, "init", folder)
    assert code == 2 and "exists already" in err
    assert run(capsys, "init", tmp_path / "x", "--names", "a,a")[0] == 2
