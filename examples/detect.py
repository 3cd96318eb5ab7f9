"""Objects in one photograph: `python examples/detect.py [IMAGE [MODEL]]`."""

from __future__ import annotations

import sys
from pathlib import Path

from yolov4sdk import Detector

CAT = Path(__file__).parent / "images" / "chelsea.png"


def main(image: str | Path = CAT, model: str | None = None) -> None:
    """Print a table, and write the picture with its boxes to out/."""
    with Detector(model) as detector:
        found = detector(image)
        print(detector)
    print(found)
    print("written:", found.save(Path("out") / f"{Path(image).stem}.jpg"))


if __name__ == "__main__":
    main(*sys.argv[1:3])
