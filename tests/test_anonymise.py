"""What is hidden cannot be told apart; the rest stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov4sdk import Detections
from yolov4sdk.errors import SettingError, TensorError, UnknownClassError
from yolov4sdk.results.anonymise import anonymise


def found(*xyxy: tuple[float, ...], size: tuple[int, int] = (120, 160)) -> Detections:
    boxes = np.array(xyxy, np.float32).reshape(-1, 4)
    ids = np.arange(len(boxes)) % 2
    return Detections(boxes, np.full(len(boxes), 0.5, np.float32), ids, ("face", "car"), size)


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize("how", ["blur", "pixelate"])
@given(
    box=st.tuples(st.floats(0, 159), st.floats(0, 119), st.floats(0.5, 160), st.floats(0.5, 120))
)
@settings(deadline=None)
def test_only_the_box_changes(how: str, box: tuple[float, float, float, float]) -> None:
    x1, y1, x2, y2 = box[0], box[1], min(160, box[0] + box[2]), min(120, box[1] + box[3])
    image, boxes = noise(), found((x1, y1, x2, y2))
    x1, y1, x2, y2 = boxes.xyxy[0].tolist()  # rounded to float32, perhaps over a pixel's border
    hidden = anonymise(image, boxes, how=how, margin=0)  # type: ignore[arg-type]
    assert (image == noise()).all()
    outside = np.ones((120, 160), bool)
    outside[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] = False
    assert (hidden[outside] == image[outside]).all()


@pytest.mark.parametrize("how", ["blur", "pixelate"])
def test_detail_is_gone_for_good(how: str) -> None:
    """Two pictures with the same coarse colors give the same result."""
    stripes = np.zeros((120, 160, 3), np.uint8)
    stripes[:, ::2] = 255
    shifted = 255 - stripes
    whole = found((0, 0, 160, 120))
    first, second = (anonymise(im, whole, how=how) for im in (stripes, shifted))  # type: ignore[arg-type]
    assert (first == second).all()
    colors = len(np.unique(anonymise(noise(), whole, how="pixelate").reshape(-1, 3), axis=0))
    assert colors <= 64


def test_only_the_classes_asked_for() -> None:
    image, both = noise(), found((10, 10, 40, 40), (80, 60, 120, 100))
    hidden = anonymise(image, both, ["face"])
    assert (hidden[60:100, 80:120] == image[60:100, 80:120]).all()
    assert (hidden[10:40, 10:40] != image[10:40, 10:40]).any()


def test_wrong_input() -> None:
    with pytest.raises(SettingError, match="how"):
        anonymise(noise(), found(), how="erase")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="margin"):
        anonymise(noise(), found(), margin=2)
    with pytest.raises(TensorError, match="belong"):
        anonymise(noise(), found(size=(5, 5)))
    with pytest.raises(UnknownClassError):
        anonymise(noise(), found(), ["dog"])
