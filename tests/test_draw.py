"""Drawing: labels that stay readable in a crowd, colors that stay apart, options."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov4sdk.detections import Detections
from yolov4sdk.errors import SettingError
from yolov4sdk.imaging.draw import Style, draw
from yolov4sdk.imaging.labels import place_labels
from yolov4sdk.imaging.palette import PALETTE, oklab, palette

NAMES = ("person", "traffic light", "dog", "car", "bicycle")


def crowd(seed: int, count: int = 60, size: tuple[int, int] = (480, 640)) -> Detections:
    """Boxes of all sizes, half of them about one place."""
    rng = np.random.default_rng(seed)
    height, width = size
    centres = rng.uniform((0, 0), (width, height), (count, 2))
    centres[::2] = rng.normal((width / 2, height / 2), min(size) / 8, (len(centres[::2]), 2))
    sides = rng.uniform(0.03, 0.25, (count, 2)) * min(size)
    boxes = np.concatenate((centres - sides / 2, centres + sides / 2), 1)
    boxes = boxes.clip(0, (width, height, width, height)).astype(np.float32)
    scores = np.sort(rng.uniform(0.3, 1, count).astype(np.float32))[::-1].copy()
    return Detections(boxes, scores, rng.integers(0, len(NAMES), count), NAMES, size)


def hidden_share(corners: np.ndarray, sizes: np.ndarray, image: tuple[int, int]) -> float:
    """Of all labels' pixels, those under another label or outside of the image."""
    owner = np.full(image, -1)
    for i in reversed(range(len(sizes))):  # as they are drawn: the best last
        (x, y), (w, h) = corners[i], sizes[i]
        owner[max(0, y) : y + h, max(0, x) : x + w] = i
    seen = sum(int((owner == i).sum()) for i in range(len(sizes)))
    return 1 - seen / int(sizes.prod(1).sum())


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_a_crowd_can_be_read(seed: int) -> None:
    found = crowd(seed)
    boxes = np.rint(found.xyxy).astype(np.int64)
    sizes = np.array([[9 * len(NAMES[c]) + 45, 17] for c in found.class_ids])
    corners = place_labels(sizes, boxes, found.image_size)
    assert hidden_share(corners, sizes, found.image_size) <= 0.05
    above = np.stack((boxes[:, 0], boxes[:, 1] - 17), 1)  # where labels usually go
    assert hidden_share(above, sizes, found.image_size) > 0.15
    near = np.abs(corners + sizes // 2 - (boxes[:, :2] + boxes[:, 2:]) // 2)
    reach = (boxes[:, 2:] - boxes[:, :2] + sizes) // 2 + (0, 6 * 17)
    assert (near <= reach + 1).all()  # at its box, or a few lines from it


def test_one_box_has_its_label_above() -> None:
    corners = place_labels(np.array([[50, 10]]), np.array([[20, 40, 90, 90]]), (100, 100))
    assert corners.tolist() == [[20, 30]]
    corners = place_labels(np.array([[50, 10]]), np.array([[20, 4, 90, 90]]), (100, 100))
    assert corners.tolist() == [[20, 90]]  # no room above: below


@settings(max_examples=50)
@given(
    st.lists(st.tuples(*[st.integers(-50, 300)] * 4), max_size=12),
    st.integers(1, 200),
    st.integers(1, 200),
)
def test_labels_stay_inside(rows: list[tuple[int, int, int, int]], height: int, width: int) -> None:
    boxes = np.array(rows, np.int64).reshape(-1, 4)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    sizes = np.full((len(boxes), 2), (30, 8))
    corners = place_labels(sizes, boxes, (height, width))
    assert (corners >= 0).all()
    room = np.maximum(np.array([width, height]) - sizes, 0)
    assert (corners <= room).all()


@pytest.mark.parametrize(("count", "least"), [(8, 0.07), (20, 0.07), (80, 0.06), (300, 0.03)])
def test_colors_are_apart(count: int, least: float) -> None:
    """Oklab's distance: 0.02 is about what is just noticed."""
    colors = palette(count)
    assert len(colors) == len(set(colors)) == count and palette(8) == PALETTE
    points = oklab(np.array(colors))
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(points, 2))
    assert nearest > least


def test_oklab_is_the_published_one() -> None:
    """White, and the red of the page that defines it."""
    got = oklab(np.array([[255, 255, 255], [0, 0, 255]]))
    np.testing.assert_allclose(got, [[1, 0, 0], [0.628, 0.2249, 0.1258]], atol=2e-4)


def test_style() -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    found = crowd(0, 1)
    plain = draw(image, found, Style(label=()))
    x1, y1, x2, y2 = np.rint(found.xyxy[0]).astype(int)
    changed = np.argwhere((plain != image).any(2))
    assert changed.min(0).tolist() == [y1, x1] and changed.max(0).tolist() == [y2, x2]
    red = draw(image, found, Style(width=5, colors=[(0, 0, 255)], label=()))
    assert (red[y1 - 2 : y1 + 3, (x1 + x2) // 2] == (0, 0, 255)).all()
    small, large = ((draw(image, found, Style(letters=n)) != plain).any(2).sum() for n in (8, 24))
    assert 4 * small < large
    name, both = (
        (draw(image, found, Style(label=parts)) != plain).any(2).sum()
        for parts in (["name"], ["name", "score"])
    )
    assert name < both
    assert (image == 90).all()  # a copy is drawn on


@pytest.mark.parametrize(
    "options", [{"width": 0}, {"letters": -1}, {"label": ["area"]}, {"colors": []}]
)
def test_wrong_styles(options: dict) -> None:
    with pytest.raises(SettingError):
        Style(**options)
