"""Drawings beside those of supervision: `python -m benchmarks.drawing` prints how much of a crowd's
labels is hidden, and writes docs/images/drawing.jpg from the bundled photographs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from yolov4sdk import Detections, Detector
from yolov4sdk.imaging.draw import Style

REPOSITORY = Path(__file__).resolve().parent.parent
COUNT, SIZE = 60, (480, 640)
NAMES = ("person", "traffic light", "dog", "car", "bicycle")
Colors = list[tuple[int, int, int]]
Drawing = Callable[[NDArray[np.uint8], Detections, bool], NDArray[np.uint8]]


def crowd(seed: int) -> Detections:
    """Sixty boxes of all sizes, half of them about one place; a class for each, to tell colours."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    centres = rng.uniform((0, 0), (width, height), (COUNT, 2))
    centres[::2] = rng.normal((width / 2, height / 2), min(SIZE) / 8, (COUNT // 2, 2))
    sides = rng.uniform(0.03, 0.25, (COUNT, 2)) * min(SIZE)
    boxes = np.concatenate((centres - sides / 2, centres + sides / 2), 1)
    boxes = boxes.clip(0, (width, height, width, height))
    scores = np.sort(rng.uniform(0.3, 1, COUNT).astype(np.float32))[::-1].copy()
    names = tuple(NAMES[i % len(NAMES)] for i in range(COUNT))
    return Detections(boxes.astype(np.float32), scores, np.arange(COUNT), names, SIZE)


def ours(colors: Colors | None = None) -> Drawing:
    """`yolov4sdk.imaging.draw`."""

    def draw(image: NDArray[np.uint8], found: Detections, labels: bool) -> NDArray[np.uint8]:
        label = ("name", "score") if labels else ()
        return found.draw(image, Style(colors=colors, label=label))

    return draw


def theirs(smart: bool, colors: Colors | None = None) -> Drawing:
    """supervision's BoxAnnotator and LabelAnnotator, with its default or its "smart" places."""
    import supervision as sv

    palette: Any = sv.ColorPalette.DEFAULT
    if colors:
        palette = sv.ColorPalette([sv.Color(*reversed(color)) for color in colors])
    boxes = sv.BoxAnnotator(color=palette)
    texts = sv.LabelAnnotator(color=palette, smart_position=smart)

    def draw(image: NDArray[np.uint8], found: Detections, labels: bool) -> NDArray[np.uint8]:
        given = found.to_supervision()
        picture = boxes.annotate(image.copy(), given)
        if labels:
            words = [f"{one.name} {one.score:.2f}" for one in found]
            picture = texts.annotate(picture, given, labels=words)
        return np.asarray(picture)

    return draw


def hidden(drawing: Drawing, found: Detections, colors: Colors) -> float:
    """Of the ground of all labels, the share that is not seen in the drawing of all."""
    image = np.zeros((*SIZE, 3), np.uint8)

    def ground(drawn: Detections) -> int:
        labelled, plain = drawing(image, drawn, True), drawing(image, drawn, False)
        count = 0
        for i in drawn.class_ids:
            own = (labelled == colors[i]).all(2)
            count += int((own & ~(plain == colors[i]).all(2)).sum())
        return count

    return 1 - ground(found) / sum(ground(found[i : i + 1]) for i in range(len(found)))


def side_by_side() -> NDArray[np.uint8]:
    """The bundled photographs, drawn by supervision on the left and here on the right."""
    paths = sorted((REPOSITORY / "examples" / "images").glob("*.[jp]*g"))
    columns = []
    with Detector(conf=0.1) as detector:
        for path in paths:
            image: Any = cv2.imread(str(path))
            found = detector(image)
            pair = [cv2.resize(draw(image, found, True), (400, 280), interpolation=cv2.INTER_AREA)
                    for draw in (theirs(False), ours())]  # fmt: skip
            columns.append(np.hstack(pair))
    return np.vstack(columns)


def main() -> None:
    """See the module."""
    step = 4  # colours that differ from one another and from black
    colors = [(40 + step * (i % 8) * 6, 60 + step * i % 190, 255 - step * i) for i in range(COUNT)]
    for name, drawing in (
        ("here", ours(colors)),
        ("supervision, as it comes", theirs(False, colors)),
        ("supervision, smart_position", theirs(True, colors)),
    ):
        shares = [hidden(drawing, crowd(seed), colors) for seed in range(5)]
        print(f"{name}: {100 * np.mean(shares):.1f} % hidden ({100 * max(shares):.1f} at most)")
    target = REPOSITORY / "docs" / "images" / "drawing.jpg"
    cv2.imwrite(str(target), side_by_side(), [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    main()
