"""What float16 costs: `python -m benchmarks.half MODEL.safetensors --images FOLDER [--data DATA]`.

Prints the largest activation of the float32 network on real pictures (float16 ends at 65504, and a
processor that computes in float32 would never show that it was passed), how many detections of the
float16 graph match those of the float32 one, and the mAP of both where labels are given.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export import export_model
from yolov4sdk.backends import load_backend
from yolov4sdk.datasets import find_images, load_dataset
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.preprocess import to_input
from yolov4sdk.measure.evaluation import evaluate
from yolov4sdk.measure.verify import canvas_batch, compare_artefacts
from yolov4sdk.models import Model, fold
from yolov4sdk.models.checkpoints import load_checkpoint


def main() -> None:
    """Print the three figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", required=True, help="folder, glob or data set")
    parser.add_argument("--split", default="test", help="of the data sets")
    parser.add_argument("--count", type=int, default=50, help="images for the activations")
    parser.add_argument("--data", help="labelled data set")
    args = parser.parse_args()
    model = load_checkpoint(args.model)
    images = find_images(args.images, args.split)
    value, name = largest_activation(model, images[: args.count])
    print(f"largest activation on {len(images[: args.count])} images: {value:.4g}, of {name}")
    with tempfile.TemporaryDirectory() as folder:
        files = [
            export_model(args.model, "onnx", Path(folder) / f"{p}.onnx", precision=p).path
            for p in ("fp32", "fp16")
        ]
        (found,) = compare_artefacts(files, images)
        print(f"{found.matched:.2%} of {found.detections} detections match on {len(images)} images")
        if args.data:
            aps = [average_precision(file, args.data, args.split) for file in files]
            print(f"AP50-95 fp32 {aps[0]:.2f}, fp16 {aps[1]:.2f}")


def largest_activation(model: Model, images: list[Path]) -> tuple[float, str]:
    """The largest absolute output of any layer of the folded network, and the layer's name."""
    folded = fold(model)
    largest = (0.0, "")

    def watch(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            nonlocal largest
            if isinstance(output, torch.Tensor):
                largest = max(largest, (float(output.abs().max()), name))

        return hook

    for name, module in folded.named_modules():
        if name and name != "detect":
            module.register_forward_hook(watch(name))
    size = model.spec.input_size
    with torch.inference_mode():
        for path in images:
            batch = to_input(canvas_batch([read_image(path)], size), "float_nchw", bgr=True)
            folded.raw(torch.from_numpy(batch))
    return largest


def average_precision(file: Path, data: str, split: str) -> float:
    """AP50-95 in points of 100."""
    with load_backend(file, device="cpu") as backend:
        dataset = load_dataset(data, split)
        return 100 * evaluate(backend, dataset, rectangular=False).ap


if __name__ == "__main__":
    main()
