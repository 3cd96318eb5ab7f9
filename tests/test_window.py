"""Windows on a real display: Xvfb, whose screen is read back."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.video.pictures import make_video

XVFB = shutil.which("Xvfb")
needs_display = pytest.mark.skipif(not XVFB, reason="Xvfb is not installed")
pytest.importorskip("tkinter")

SHOW = """
import sys, numpy as np
from yolov4sdk.imaging.window import Window
image = np.zeros((120, 200, 3), np.uint8)
image[:60] = (255, 0, 0)
image[60:] = (0, 128, 255)
window = Window("test", "--show")
window.show(image)
print("shown", flush=True)
sys.stdin.readline()
window._root.focus_force()
window._root.update()
window._root.event_generate(sys.argv[1])
window.wait()
print("closed")
"""


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The name of a display and the file of its screen."""
    folder = tmp_path_factory.mktemp("screen")
    read, write = os.pipe()
    process = subprocess.Popen(
        [str(XVFB), "-displayfd", str(write), "-screen", "0", "400x300x24", "-fbdir", folder],
        pass_fds=[write], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as said:
        number = said.readline().strip()
        assert number, "Xvfb did not start"
    yield f":{number}", folder / "Xvfb_screen0"
    process.terminate()
    process.wait(60)


def screen(path: Path) -> np.ndarray:
    """The picture on the screen, BGR, from its XWD file."""
    data = path.read_bytes()
    header = struct.unpack(">25I", data[:100])
    size, width, height, line, colors = header[0], header[4], header[5], header[12], header[19]
    start = size + 12 * colors
    pixels = np.frombuffer(data[start : start + line * height], np.uint8)
    return pixels.reshape(height, line // 4, 4)[:, :width, :3]


@needs_display
@pytest.mark.parametrize("key", ["<Escape>", "<q>"])
def test_a_picture_is_on_the_screen_until_a_key_closes_it(
    display: tuple[str, Path], key: str
) -> None:
    name, file = display
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW, key], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env=os.environ | {"DISPLAY": name},
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "shown\n"
    end = time.monotonic() + 60
    while True:  # the server draws when it likes
        seen = screen(file)
        counts = [(seen == color).all(2).sum() for color in ((255, 0, 0), (0, 128, 255))]
        if counts == [60 * 200] * 2 or time.monotonic() > end:
            break
        time.sleep(0.05)
    assert counts == [60 * 200] * 2
    out, _ = process.communicate("\n", timeout=60)
    assert out == "closed\n" and process.returncode == 0


@needs_display
def test_a_video_is_shown(display: tuple[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("av")
    source = make_video(tmp_path / "v.mkv", 3)
    command = [sys.executable, "-m", "yolov4sdk", "detect", source, "--show", "--size", "64"]
    done = subprocess.run(
        [*map(str, command), "-o", str(tmp_path / "out")], capture_output=True, text=True,
        env=os.environ | {"DISPLAY": display[0]}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and "3 frames, 0 broken" in done.stderr, done.stderr


def test_no_display_is_said(tmp_path: Path) -> None:
    code = "from yolov4sdk.imaging.window import Window; Window('t', 'Showing a picture')"
    env = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert "SettingError: Showing a picture needs a display" in done.stderr
