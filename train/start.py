"""Where a training starts from: the embedded model, a checkpoint, or random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from train.augment import Sample, place_centred
from train.cache import resize_long_side
from train.settings import TrainSettings
from yolov4sdk.backends.artefacts import default_model
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.errors import TrainingError
from yolov4sdk.imaging.images import read_image
from yolov4sdk.models import Model, build_model
from yolov4sdk.models.checkpoints import load_checkpoint, load_weights
from yolov4sdk.models.detect import Detect
from yolov4sdk.models.unfold import read_folded, unfold

Say = Callable[[str], None]
_LEAST_TRANSFER = 0.5  # of the weights; below this a checkpoint is of another architecture
_STATISTICS_IMAGES = 256  # for the batch statistics of an un-folded network
_STATISTICS_BATCH = 16
FROM_SCRATCH_MODEL = "yolov4-csp-s"  # where neither the embedded model nor another is named


def starts_from_default(settings: TrainSettings) -> bool:
    """Whether nothing else was asked for than to start from the embedded model."""
    return not (settings.from_scratch or settings.weights or settings.model or settings.backbone)


def where_from(settings: TrainSettings) -> str:
    """In one line what a run starts from, and with which recipe."""
    return _start_of(settings) + (f"; recipe: {settings.recipe}" if settings.recipe else "")


def _start_of(settings: TrainSettings) -> str:
    if settings.weights:
        return f"starts from the weights of {settings.weights}"
    if starts_from_default(settings):
        with default_model() as path:
            spec = read_onnx_spec(path)
        return (
            f"starts from the embedded model ({spec.nc} classes, trained at {spec.train_size} px); "
            "--from-scratch starts from random weights"
        )
    name = settings.model or FROM_SCRATCH_MODEL
    backbone = f" and the backbone of {settings.backbone}" if settings.backbone else ""
    return f"starts from scratch: {name} with random weights{backbone}"


def first_model(settings: TrainSettings, train: DetectionDataset, say: Say) -> Model:
    """The model that a run starts with; `say` hears what was taken over.

    Raises:
        YOLOv4Error: a model or checkpoint that cannot be read or trained.
    """
    if settings.weights:
        return _adapted(load_any(settings.weights, settings, train), train, settings.weights, say)
    if starts_from_default(settings):
        with default_model() as path:
            source = load_any(str(path), settings, train)
        return _adapted(source, train, "the embedded model", say)
    name = settings.model or FROM_SCRATCH_MODEL
    path = Path(name)
    model = build_model(path if path.suffix in (".yaml", ".yml") else name, train.names)
    if settings.backbone:
        from train.backbone import load_backbone

        say(load_backbone(model, settings.backbone))
    return model


def load_any(path: str, settings: TrainSettings, train: DetectionDataset) -> Model:
    """A native checkpoint, an exported ONNX file (un-folded), or one of the authors' `.pt` files.

    The statistics of an un-folded network are those of the training images, unaugmented.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors":
        return load_checkpoint(path)
    if suffix == ".onnx":
        folded = read_folded(path)
        return unfold(folded, _plain_batches(train, settings.size, folded.spec.max_stride))
    from yolov4sdk.models.official import import_official

    return import_official(path)


def _plain_batches(train: DetectionDataset, size: int, stride: int) -> Iterator[Tensor]:
    """Some training images, spread over the set, RGB in 0..1 [B, 3, size, size]."""
    side = max(stride, size // stride * stride)
    chosen = np.unique(np.linspace(0, len(train) - 1, _STATISTICS_IMAGES).astype(int))
    for start in range(0, len(chosen), _STATISTICS_BATCH):
        rows = []
        for index in chosen[start : start + _STATISTICS_BATCH]:
            image = resize_long_side(read_image(train.images[index]), side)
            sample = Sample.of(image, np.zeros((0, 4)), np.zeros(0))
            rows.append(place_centred(sample, (side, side)).image)
        images = np.ascontiguousarray(np.stack(rows)[..., ::-1].transpose(0, 3, 1, 2))
        yield torch.from_numpy(images).float().div_(255)


def _adapted(source: Model, train: DetectionDataset, title: str, say: Say) -> Model:
    """The source's network for the classes of `train`.

    What a class of the same name had learnt is kept; other classes get fresh rows in the head.
    """
    spec = source.spec
    if spec.decoding != "scaled":
        raise TrainingError(
            f"{title} decodes as Darknet's older models do, and the loss knows only the decoding "
            "of Scaled-YOLOv4; it runs and exports, but cannot be trained here"
        )
    model = build_model(spec.architecture, train.names, spec.anchors)
    tensors = source.state_dict()
    missing, _, misshaped = load_weights(model, tensors, title, strict=False)
    total = len(model.state_dict())
    loaded = total - len(missing) - len(misshaped)
    if loaded < _LEAST_TRANSFER * total:
        raise TrainingError(
            f"{title} is of another architecture: only {loaded} of {total} tensors fit"
        )
    say(f"{loaded} of {total} tensors taken from {title}; {len(misshaped)} have another shape")
    kept = _adapt_head(model.detect, source.detect, train.names, spec.names)
    listed = ", ".join(kept[:10]) + (", ..." if len(kept) > 10 else "")
    say(
        f"{len(kept)} of {len(train.names)} classes keep what they had learnt"
        + (f": {listed}" if kept else "")
    )
    return model


@torch.no_grad()
def _adapt_head(
    head: Detect, old: Detect, names: Sequence[str], old_names: Sequence[str]
) -> list[str]:
    """Copy the rows of boxes and objectness, and those of classes with one name in both.

    Returns:
        The names of these classes.
    """
    if len(head.m) != len(old.m) or head.na != old.na:
        return []
    known = {name.casefold(): i for i, name in enumerate(old_names)}
    pairs = [(i, known[n.casefold()]) for i, n in enumerate(names) if n.casefold() in known]
    rows = [*range(5), *(5 + i for i, _ in pairs)]
    old_rows = [*range(5), *(5 + j for _, j in pairs)]
    for conv, other in zip(head.m, old.m, strict=True):
        assert isinstance(conv, nn.Conv2d) and isinstance(other, nn.Conv2d)
        assert conv.bias is not None and other.bias is not None
        conv.weight.view(head.na, head.no, -1)[:, rows] = other.weight.view(old.na, old.no, -1)[
            :, old_rows
        ]
        conv.bias.view(head.na, head.no)[:, rows] = other.bias.view(old.na, old.no)[:, old_rows]
    return [names[i] for i, _ in pairs]
