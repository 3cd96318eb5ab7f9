"""The backbone by itself: a detector's first layers as an image classifier, beside a ResNet-50.

The reading notes ask whether CSPDarknet53 converges slower and takes more memory than a ResNet;
`train_backbones` trains both under one recipe and measures it.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.distributed import World
from train.groups import RESNET, BackboneSettings
from train.image_folder import ImageFolder, batch_of, read_folder
from train.machine import give_back_memory, pick_device, tuned
from train.optimizer import make_optimizer, set_rates
from train.resnet import resnet50
from train.schedule import Schedule
from yolov4sdk.errors import TrainingError
from yolov4sdk.models import Model, build_model
from yolov4sdk.models.fast_mish import use_fast_mish
from yolov4sdk.system.files import atomic_write, check_new_files
from yolov4sdk.system.memory import resident_memory


@dataclass(frozen=True)
class BackboneResult:
    """What one network's training measured.

    Attributes:
        name: as asked for.
        parameters: of the network with its classifier.
        accuracy: on the validation images after each epoch, 0 to 1.
        loss: mean training loss of each epoch.
        images_per_second: of training.
        memory: most memory that training added, GiB: of the GPU, or of the process.
    """

    name: str
    parameters: int
    accuracy: list[float]
    loss: list[float]
    images_per_second: float
    memory: float

    def epochs_to(self, accuracy: float) -> int | None:
        """The first epoch, from 1, that reached an accuracy; None if none did."""
        reached = (i for i, a in enumerate(self.accuracy, 1) if a >= accuracy)
        return next(reached, None)


# -- networks -----------------------------------------------------------------------------------


class Classifier(nn.Module):
    """A detector's backbone, the mean over the picture, and one linear layer.

    The backbone's keys stay `model.<index>...`, those of the detector.
    """

    def __init__(self, detector: Model, classes: int) -> None:
        super().__init__()
        self.model = nn.ModuleList(list(detector.model)[: backbone_length(detector)])
        with torch.no_grad():
            channels = self._features(torch.zeros(1, 3, 64, 64)).shape[1]
        self.head = nn.Linear(channels, classes)

    def _features(self, images: Tensor) -> Tensor:
        for layer in self.model:  # the backbone is a plain chain
            images = layer(images)
        return images

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W], RGB in 0..1 -> [B, classes] logits."""
        logits: Tensor = self.head(self._features(images).mean((2, 3)))
        return logits


def backbone_length(detector: Model) -> int:
    """How many layers come before the first that reads another than the one before it, or SPPCSP.

    Raises:
        TrainingError: the model has no such chain.
    """
    from yolov4sdk.models.blocks import SPPCSP

    for index, (layer, sources) in enumerate(zip(detector.model, detector.sources, strict=True)):
        if isinstance(layer, SPPCSP) or sources not in ((index - 1,), (-1,)):
            if index:
                return index
            break
    raise TrainingError("the model does not begin with a chain of layers: there is no backbone")


def load_backbone(model: Model, path: str) -> str:
    """Put weights written by `train_backbones` into a detector; returns a line to show.

    Raises:
        TrainingError: no such file, or it is of another architecture.
    """
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise TrainingError(f"there is no backbone file {path}")
    tensors = {k: v for k, v in load_file(path).items() if k.startswith("model.")}
    own = model.state_dict()
    wrong = [k for k, v in tensors.items() if k not in own or own[k].shape != v.shape]
    if wrong or not tensors:
        raise TrainingError(
            f"{path} is not the backbone of this model: {len(wrong)} of {len(tensors)} tensors do "
            "not fit; train it with the same model name"
        )
    model.load_state_dict(tensors, strict=False)
    return f"{len(tensors)} of {len(own)} tensors taken from the backbone {path}"


def make_network(name: str, classes: int) -> nn.Module:
    """A classifier by name: "resnet50", or a built-in detector's backbone."""
    if name == RESNET:
        return resnet50(classes)
    return Classifier(build_model(name), classes)


# -- training -----------------------------------------------------------------------------------


def train_backbones(settings: BackboneSettings, say: Any) -> list[BackboneResult]:
    """Train each network by the same recipe; write the backbones' weights.

    Args:
        settings: the run.
        say: called with lines to show.

    Raises:
        SettingError: a file of weights is there already.
        DatasetError: the folders are not as expected.
        TrainingError: a loss that is not finite.
    """
    files = {n: Path(settings.output) / f"{n}-backbone.safetensors" for n in settings.models}
    check_new_files(files.values())
    device = pick_device(settings.device, World())
    train = read_folder(Path(settings.data) / "train", settings.size)
    val = read_folder(Path(settings.data) / "val", settings.size, train.classes)
    say(f"{len(train.images)} training and {len(val.images)} validation images, "
        f"{len(train.classes)} classes")  # fmt: skip
    results = []
    with tuned(device, settings.threads, World()):
        for name in settings.models:
            torch.manual_seed(settings.seed)
            network = make_network(name, len(train.classes))
            results.append(_train_one(name, network, train, val, settings, device, say))
            if isinstance(network, Classifier):
                path = files[name]
                _save(network, path)
                say(f"{path}: `yolov4sdk train --model {name} --backbone {path}` starts from it")
    return results


def _train_one(
    name: str,
    network: nn.Module,
    train: ImageFolder,
    val: ImageFolder,
    settings: BackboneSettings,
    device: torch.device,
    say: Any,
) -> BackboneResult:
    use_fast_mish(network)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = math.ceil(len(train.images) / settings.batch)
    schedule = Schedule(
        settings.epochs, steps, settings.lr, final=0.01, momentum=0.9, warmup_epochs=1.0,
        warmup_iterations=0, warmup_bias_lr=0.0,
    )  # fmt: skip
    accuracy, losses, seconds = [], [], 0.0
    with _MemoryWatch(device) as memory:
        optimizer = make_optimizer(network, "sgd", settings.lr, 0.9, settings.weight_decay)
        for epoch in range(settings.epochs):
            start = time.perf_counter()
            losses.append(
                _train_epoch(network, train, settings, epoch, schedule, optimizer, device)
            )
            seconds += time.perf_counter() - start
            accuracy.append(_accuracy(network, val, settings, device))
            say(
                f"{name} epoch {epoch + 1}/{settings.epochs} loss {losses[-1]:.4f} "
                f"accuracy {accuracy[-1]:.4f}"
            )
    parameters = sum(p.numel() for p in network.parameters())
    rate = settings.epochs * len(train.images) / seconds
    return BackboneResult(name, parameters, accuracy, losses, rate, memory.added)


def _train_epoch(
    network: nn.Module,
    train: ImageFolder,
    settings: BackboneSettings,
    epoch: int,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> float:
    network.train()
    order = np.random.default_rng([settings.seed, epoch]).permutation(len(train.images))
    total = 0.0
    for step in range(schedule.steps_per_epoch):
        indices = order[step * settings.batch : (step + 1) * settings.batch].tolist()
        if len(indices) == 1:
            break  # batch norm has no statistics of one image at the deepest level
        images, labels = batch_of(train, indices, settings.size, (settings.seed, epoch))
        loss = F.cross_entropy(network(images.to(device)), labels.to(device))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} in epoch {epoch + 1}; lower the learning rate"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        set_rates(optimizer, schedule.at(epoch * schedule.steps_per_epoch + step))
        optimizer.step()
        optimizer.zero_grad()
        total += value * len(indices)
    return total / len(train.images)


@torch.inference_mode()
def _accuracy(
    network: nn.Module, val: ImageFolder, settings: BackboneSettings, device: torch.device
) -> float:
    network.eval()
    right = 0
    for start in range(0, len(val.images), settings.batch):
        indices = range(start, min(start + settings.batch, len(val.images)))
        images, labels = batch_of(val, indices, settings.size, None)
        right += int((network(images.to(device)).argmax(1).cpu() == labels).sum())
    return right / len(val.images)


def _save(network: Classifier, path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {
        k: v.detach().cpu().contiguous()
        for k, v in network.state_dict().items()
        if k.startswith("model.")
    }
    with atomic_write(path) as temporary:
        save_file(tensors, temporary)


class _MemoryWatch:
    """The most memory in use while it is open, above that at its start, in GiB.

    The process's peak never falls, so on a CPU the resident size is sampled in a thread: the
    second network's figure must not be the first one's.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._over = threading.Event()
        self.added = math.nan

    def __enter__(self) -> _MemoryWatch:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._start = torch.cuda.memory_allocated(self._device)
            return self
        give_back_memory()  # what the network before has left would hide what this one takes
        self._start = self._peak = resident_memory() or 0
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._over.wait(0.05):
            self._peak = max(self._peak, resident_memory() or 0)

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
        else:
            self._over.set()
            self._thread.join()
            peak = self._peak
        self.added = (peak - self._start) / 2**30
