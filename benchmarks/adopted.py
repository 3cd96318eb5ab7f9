"""What adopting costs: `python -m benchmarks.adopted FILE.onnx --as NAME [--names coco]`.

In one process, in turns: the foreign graph on ONNX Runtime with its input made and its outputs
decoded by NumPy, and the adopted file, which does both inside. From a canvas of pixels to
candidates; suppression is the same for both and left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from export.adopt.adopt import adopt
from yolov4sdk.backends.foreign import foreign_spec
from yolov4sdk.backends.onnxruntime_backend import OnnxRuntimeBackend
from yolov4sdk.imaging.preprocess import to_input
from yolov4sdk.imaging.synthetic import drawn_image
from yolov4sdk.measure.timing import alternate, machine


def main() -> None:
    """Print a Markdown table of medians in ms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path)
    parser.add_argument("--as", dest="convention", required=True)
    parser.add_argument("--names", default="coco")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    names = "coco" if args.names == "coco" else args.names.split(",")
    spec = foreign_spec(args.file, args.convention, names)
    canvas = drawn_image(spec.input_size)[None]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "adopted.onnx"
        adopt(args.file, target, args.convention, names=spec.names)
        foreign = OnnxRuntimeBackend(args.file, "cpu", None, args.threads, spec)
        adopted = OnnxRuntimeBackend(target, "cpu", None, args.threads)
        taken, own = spec.contract.input, adopted.spec.contract.input
        with foreign, adopted:
            times = alternate(
                {
                    "original and NumPy": lambda: foreign.infer(to_input(canvas, taken, bgr=True)),
                    "adopted": lambda: adopted.infer(to_input(canvas, own, bgr=True)),
                },
                args.rounds,
            )
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    ratio = medians["adopted"] / medians["original and NumPy"]
    print(f"{machine()}; {args.threads} threads, {args.rounds} alternating rounds, medians in ms\n")
    print("| file | original and NumPy | adopted | ratio |")
    print("|---|---|---|---|")
    cells = " | ".join(f"{1e3 * seconds:.1f}" for seconds in medians.values())
    print(f"| {args.file.name} | {cells} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
