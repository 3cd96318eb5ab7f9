"""Detect objects in the bundled photographs on two runtimes: `python examples/demo.py OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from yolov4sdk import Detections, Detector

PHOTOGRAPHS = sorted(Path(__file__).parent.joinpath("images").glob("*.[jp]*g"))


def main(output: Path) -> int:
    """Print a table for each photograph; 0 when both runtimes say the same."""
    with Detector() as detector:
        print(f"{detector!r}\nclasses: {', '.join(detector.names)}")
        print("The embedded model is a preview, stopped early: see docs/model-card-default.md.\n")
        results = detector(PHOTOGRAPHS)
    for path, found in zip(PHOTOGRAPHS, results, strict=True):
        written = found.save(output / f"{path.stem}.jpg", path)
        print(f"{path.name} -> {written}\n{found}\n")
    with Detector(backend="openvino") as other:
        pairs = list(zip(results, other(PHOTOGRAPHS), strict=True))
    same = all(agree(a, b) for a, b in pairs)
    boxes = sum(len(found) for found in results)
    print(f"ONNX Runtime and OpenVINO {'agree' if same else 'DISAGREE'} on {boxes} boxes.\n")
    print("Next: .venv-demo/bin/yolov4sdk detect YOUR_IMAGES -o out/mine --format image,json")
    return 0 if same else 1


def agree(first: Detections, second: Detections) -> bool:
    """The same classes in the same order, scores within 0.01, corners within a pixel."""
    return (
        np.array_equal(first.class_ids, second.class_ids)
        and bool(np.allclose(first.scores, second.scores, atol=0.01))
        and bool(np.allclose(first.xyxy, second.xyxy, atol=1.0))
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")))
