"""Tiles cover the image, and their boxes become the ones a whole look gives."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from yolov4sdk import Detections, Detector
from yolov4sdk.errors import SettingError
from yolov4sdk.results.postprocess import box_iou
from yolov4sdk.results.tiling import Tiling, detect_tiled, fuse, windows

NAMES = ("ant", "bee")


@given(
    height=st.integers(1, 900), width=st.integers(1, 900),
    tile=st.tuples(st.integers(20, 300), st.integers(20, 300)), overlap=st.floats(0, 0.9),
)  # fmt: skip
@settings(deadline=None)
def test_tiles_cover_every_pixel_and_overlap(
    height: int, width: int, tile: tuple[int, int], overlap: float
) -> None:
    tiles = windows((height, width), Tiling(tile, overlap))
    assert len(set(tiles)) == len(tiles)
    for first, length, side in ((0, width, tile[1]), (1, height, tile[0])):
        spans = sorted({(t[first], t[first + 2]) for t in tiles})
        assert spans[0][0] == 0 and spans[-1][1] == length
        assert {b - a for a, b in spans} == {min(side, length)}
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end - start >= int(side * overlap)


def seer(image: NDArray[np.uint8]) -> Detections:
    """A perfect detector: every color in the blue channel is an object; its class is green."""
    boxes, ids = [], []
    for value in np.unique(image[..., 0])[1:]:
        ys, xs = np.nonzero(image[..., 0] == value)
        boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        ids.append(image[ys[0], xs[0], 1])
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    # Parts of an object score less than the whole.
    scores = (0.5 + 0.4 * (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1) / 1e6).astype(np.float32)
    return Detections(xyxy, scores, np.array(ids, np.int64), NAMES, image.shape[:2])


def scene(rng: np.random.Generator, size: tuple[int, int], sides: tuple[int, int]) -> np.ndarray:
    """Rectangles that do not overlap, `sides` long, each of its own color."""
    image = np.zeros((*size, 3), np.uint8)
    for value in range(1, 40):
        h, w = rng.integers(*sides, 2)
        y, x = rng.integers(0, size[0] - h), rng.integers(0, size[1] - w)
        if not image[y : y + h, x : x + w, 0].any():
            image[y : y + h, x : x + w] = value, rng.integers(2), 0
    return image


@pytest.mark.parametrize("merge", ["nms", "wbf"])
@given(seed=st.integers(0, 1000), full=st.booleans())
@settings(deadline=None, max_examples=15)
def test_objects_smaller_than_the_overlap_are_found_once_and_whole(
    merge: str, seed: int, full: bool
) -> None:
    image = scene(np.random.default_rng(seed), (500, 700), (6, 44))
    tiling = Tiling((160, 200), 0.3, full_image=full, merge=merge)
    expected = seer(image)
    found = detect_tiled(
        lambda views: [seer(view) for view in views], image, tiling, iou=0.5, max_det=300
    )
    assert len(found) == len(expected)
    overlaps = box_iou(expected.xyxy, found.xyxy)
    assert (overlaps.max(axis=1) > 0.999).all()
    assert (found.class_ids[overlaps.argmax(axis=1)] == expected.class_ids).all()


def test_an_object_larger_than_a_tile_is_found_whole_in_the_full_image() -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    image[50:330, 80:520] = 7, 1, 0
    found = detect_tiled(
        lambda views: [seer(view) for view in views], image, Tiling(128), iou=0.5, max_det=300
    )
    assert found.xyxy.tolist() == [[80, 50, 520, 330]]


def test_fusion_weighs_by_score_and_keeps_classes_apart() -> None:
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [0, 0, 10, 10]], np.float32)
    scores = np.array([0.9, 0.3, 0.5], np.float32)
    xyxy, kept, ids = fuse(boxes, scores, np.array([0, 0, 1]), iou=0.5)
    np.testing.assert_allclose(xyxy, [[0.5, 0, 10.5, 10], [0, 0, 10, 10]], rtol=1e-6)
    assert kept.tolist() == scores[[0, 2]].tolist() and ids.tolist() == [0, 1]
    assert len(fuse(boxes, scores, np.array([0, 0, 1]), iou=0.5, agnostic=True)[0]) == 1


def test_detector_takes_tiles(tiny_artefacts: dict[str, Path], photos_dir: Path) -> None:
    photo = photos_dir / "horses.jpg"
    with Detector(tiny_artefacts["onnxruntime"], conf=0.4, tiles=Tiling(160, 0.2)) as detector:
        tiled = detector(photo)
        assert len(tiled) > 0 and tiled.image_size == detector(photo, tiles=None).image_size
        assert detector([photo], tiles=5000)[0] == detector(photo, tiles=None)  # one tile
        assert detector([photo, photo]) == [tiled, tiled]


def test_a_fixed_graph_takes_tiles(tiny_fixed: Path, photos_dir: Path) -> None:
    with Detector(tiny_fixed, conf=0.4) as detector:
        assert len(detector(photos_dir / "dog.jpg", tiles=(96, 160))) > 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Tiling(overlap=1), "overlap is a part"),
        (lambda: Tiling(overlap=-0.1), "overlap is a part"),
        (lambda: Tiling(0), "size is a number"),
        (lambda: Tiling((64, 64, 3)), "size is a number"),  # type: ignore[arg-type]
        (lambda: Tiling(merge="soft"), "merge must be"),  # type: ignore[arg-type]
    ],
)
def test_wrong_tilings(make: object, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(("tiles", "words"), [(16, "stride of 32"), ("640", "must be a Tiling")])
def test_detector_refuses_wrong_tiles(
    micro_artefacts: dict[str, Path], tiles: object, words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        Detector(micro_artefacts["onnxruntime"], tiles=tiles)  # type: ignore[arg-type]
