"""Lists are worked on ahead of the caller, in order and not too far."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from yolov4sdk import Detector
from yolov4sdk.errors import ImageDecodeError
from yolov4sdk.system.ahead import ahead


def test_order_and_reach() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        return -item

    results = ahead(work, range(20), 3, 2)
    assert begun == []
    assert next(results) == 0
    assert max(begun) <= 3
    assert list(results) == [-i for i in range(1, 20)]


def test_an_error_comes_in_its_turn_and_ends_the_rest() -> None:
    begun: list[int] = []

    def work(item: int) -> float:
        begun.append(item)
        return 1 / (item - 4)

    results: Iterator[float] = ahead(work, range(100), 2, 2)
    assert [next(results) for _ in range(4)] == [1 / (i - 4) for i in range(4)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(begun) <= 7


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    results = ahead(abs, range(8), 2, 2)
    next(results)
    del results
    assert threading.active_count() == before


def test_the_first_broken_image_of_a_list_is_named(tmp_path: Path, photos_dir: Path) -> None:
    broken = [tmp_path / f"{i}.jpg" for i in range(2)]
    for path in broken:
        path.write_bytes(b"\xff\xd8\xff no more")
    good = photos_dir / "dog.jpg"
    with Detector() as detector, pytest.raises(ImageDecodeError, match=r"0\.jpg"):
        detector([good, good, broken[0], broken[1]])
