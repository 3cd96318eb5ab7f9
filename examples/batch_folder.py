"""A folder of images to one CSV: `python examples/batch_folder.py [FOLDER [CSV [MODEL]]]`.

Images run in batches; one that cannot be read becomes a line with its error.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from yolov4sdk import Detector
from yolov4sdk.errors import ImageError
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.sources import expand

PHOTOGRAPHS = Path(__file__).parent / "images"
BATCH = 8
COLUMNS = ("file", "name", "score", "x1", "y1", "x2", "y2", "error")


def main(
    folder: str | Path = PHOTOGRAPHS, table: str = "out/boxes.csv", model: str | None = None
) -> None:
    """Write a line for each box."""
    target = Path(table)
    target.parent.mkdir(parents=True, exist_ok=True)
    with Detector(model) as detector, target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        paths = expand([str(folder)])
        for start in range(0, len(paths), BATCH):
            readable = {}
            for path in paths[start : start + BATCH]:
                try:
                    readable[path] = read_image(path)
                except ImageError as error:
                    writer.writerow((path.name, *[""] * 6, error))
            results = detector(list(readable.values()))
            for path, found in zip(readable, results, strict=True):
                for label, score, box in zip(found.labels, found.scores, found.xyxy, strict=True):
                    corners = (f"{v:.1f}" for v in box)
                    writer.writerow((path.name, label, f"{score:.3f}", *corners, ""))
    print("written:", target)


if __name__ == "__main__":
    main(*sys.argv[1:4])
