"""Detect objects in the bundled photographs on two runtimes: `python examples/demo.py OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from yolov4sdk import Detections, Detector
from yolov4sdk.imaging.images import read_image
from yolov4sdk.measure.verify import Agreement, compare_artefacts

PHOTOGRAPHS = sorted(Path(__file__).parent.joinpath("images").glob("*.[jp]*g"))
TOLERANCE = 1e-3  # of boxes (relative) and of scores, as for exports

NEXT = """
What to try next (". .venv-demo/bin/activate" first):
  yolov4sdk detect YOUR_IMAGES -o out/mine --format image,json
  pip install ".[export]"; yolov4sdk import yolov4-p5.pt     the authors' weights
  pip install ".[train]"; yolov4sdk train data.yaml          a detector of your own
  docs/quickstart.md, examples/quickstart.ipynb              the same from Python
"""


def main(output: Path) -> int:
    """Write the pictures, print what was found; 0 when both runtimes say the same."""
    console = Console()
    images = [read_image(path) for path in PHOTOGRAPHS]
    with Detector() as detector, Detector(backend="openvino") as other:
        console.print(f"{detector!r}\nclasses: {', '.join(detector.names)}", highlight=False)
        console.print("A small model for ten classes: docs/model-card-default.md\n")
        console.print(table(detector(images), output))
        (agreement,) = compare_artefacts([detector.backend, other.backend], images)
    same = report(agreement, console)
    print(NEXT)
    return 0 if same else 1


def table(results: list[Detections], output: Path) -> Table:
    """Draw each result into `output`; a row for each photograph."""
    rows = Table("photograph", "found", "picture")
    for path, found in zip(PHOTOGRAPHS, results, strict=True):
        written = found.save(output / f"{path.stem}.jpg", path)
        pairs = zip(found.labels, found.scores, strict=True)
        rows.add_row(path.name, ", ".join(f"{n} {s:.2f}" for n, s in pairs) or "-", str(written))
    return rows


def report(agreement: Agreement, console: Console) -> bool:
    """Say how far the runtimes are apart, raw outputs and detections; whether they agree."""
    errors = (agreement.boxes_max, agreement.scores_max)
    same = max(errors) <= TOLERANCE and not agreement.unmatched
    console.print(
        f"ONNX Runtime and OpenVINO {'agree' if same else '[red]DISAGREE[/]'}: largest error "
        f"of boxes {errors[0]:.0e}, of scores {errors[1]:.0e}; "
        f"{agreement.detections - agreement.unmatched} of {agreement.detections} detections match",
        highlight=False,
        soft_wrap=True,
    )
    return same


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")))
