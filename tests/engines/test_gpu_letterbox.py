"""The kernel's arithmetic, compiled for the processor, against OpenCV's resize."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from yolov4sdk.backends.gpu_letterbox import PIXEL
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.preprocess import PADDING, letterbox, letterbox_plan

WHOLE = r"""
#include <math.h>
#define DEVICE static
%s
void whole(const unsigned char *image, unsigned char *canvas, const int *n, int padding) {
    for (int y = 0; y < n[6]; ++y)
        for (int x = 0; x < n[7]; ++x)
            for (int c = 0; c < 3; ++c)
                *canvas++ = canvas_value(
                    image, n[0], n[1], n[2], n[3], n[4], n[5], y, x, c, padding);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "kernel.c").write_text(WHOLE % PIXEL)
    command = [compiler, "-O2", "-shared", "-fPIC", "kernel.c", "-o", "kernel.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(folder / "kernel.so")


@pytest.mark.parametrize(
    "source", [(480, 640), (333, 517), (64, 64), (40, 1000), (700, 31), (1, 1)]
)
@pytest.mark.parametrize("size", [(64, 64), (416, 640)])
def test_equals_opencv(
    library: ctypes.CDLL, source: tuple[int, int], size: tuple[int, int], photos_dir: Path
) -> None:
    image = read_image(next(photos_dir.glob("*.jpg")))[: source[0], : source[1]]
    image = np.ascontiguousarray(np.resize(image, (*source, 3)))
    plan = letterbox_plan(source, size)
    expected = letterbox(image, plan)
    found = np.empty_like(expected)
    numbers = (ctypes.c_int * 8)(*plan.source, *plan.resized, *plan.pad, *plan.canvas)
    library.whole(
        image.ctypes.data_as(ctypes.c_void_p), found.ctypes.data_as(ctypes.c_void_p), numbers,
        PADDING,
    )  # fmt: skip
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.005
