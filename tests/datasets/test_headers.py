"""Sizes from headers agree with the decoded picture; broken files are noticed."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolov4sdk.datasets import image_size
from yolov4sdk.errors import ImageDecodeError, ImageNotFoundError
from yolov4sdk.imaging.images import read_image


def exif(orientation: int, order: str) -> bytes:
    """An APP1 segment that holds only the orientation."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = mark + struct.pack(order + "I", 8) + struct.pack(order + "H", 1) + entry + b"\0" * 4
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([".jpg", ".png", ".bmp", ".webp"]))
def test_size_is_that_of_the_decoded_image(
    tmp_path: Path, height: int, width: int, suffix: str
) -> None:
    path = tmp_path / f"image{suffix}"
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    assert image_size(path) == (height, width) == read_image(path).shape[:2]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int, order: str) -> None:
    data = cv2.imencode(".jpg", np.zeros((30, 50, 3), np.uint8))[1].tobytes()
    path = tmp_path / "turned.jpg"
    path.write_bytes(data[:2] + exif(orientation, order) + data[2:])
    assert image_size(path) == read_image(path).shape[:2]
    assert image_size(path) == ((30, 50) if orientation < 5 else (50, 30))


def test_broken_exif_is_ignored(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", np.zeros((30, 50, 3), np.uint8))[1].tobytes()
    path = tmp_path / "odd.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1\x00\x12Exif\0\0II*\0\xff\xff\xff\x00" + data[2:])
    assert image_size(path) == (30, 50)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_cut_off(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageDecodeError, match="cut off"):
        image_size(path)
    path.write_bytes(data + b"trailing bytes " * 20)
    assert image_size(path) == (60, 60)


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError):
        image_size(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ImageDecodeError, match="not an image"):
        image_size(tmp_path / "text.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ImageDecodeError, match="empty"):
        image_size(tmp_path / "empty.jpg")
