"""Batches for training: what is in them is a function of only seed, epoch and position.

    train_set = TrainSet(dataset, size=320, augmentation=Augmentation())
    with TrainLoader(train_set, batch=16, seed=0, workers=2) as loader:
        for epoch in range(epochs):
            for batch in loader.epoch(epoch):
                batch.images, batch.targets, batch.paths

The number of workers, earlier epochs and interruptions change nothing: a run that is taken up at
batch k of an epoch (`start_batch=k`) sees the batches that it would have seen.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from train.augment import Augmentation, Sample, augment
from train.cache import CacheKind, ImageStore, resized_shape
from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.errors import DatasetError, SettingError


class SampleKey(NamedTuple):
    """All that decides a sample: image, canvas, what is done to it, and the seed of its randomness.

    The augmentation travels with the key because the workers' copies of the data set are as old as
    the workers.
    """

    image: int
    canvas: tuple[int, int]
    augmentation: Augmentation
    seed: int
    epoch: int


class TrainItem(NamedTuple):
    """One training image: uint8 RGB [3, H, W], float32 targets [N, 5] (class, cx, cy, w, h).

    Where labels are soft, a sixth column holds their scores; see `Batch`.
    """

    image: torch.Tensor
    targets: torch.Tensor
    path: str


class Batch(NamedTuple):
    """A batch.

    Attributes:
        images: uint8 RGB [B, 3, H, W].
        targets: float32 [M, 6]: image in the batch, class, cx, cy, w, h; normalised by H and W.
            With soft labels [M, 7]: the score, 0 for a box that is not to be judged.
        paths: the B image files (of a mosaic: its first image).
    """

    images: torch.Tensor
    targets: torch.Tensor
    paths: list[str]


class TrainSet(Dataset[TrainItem]):
    """The training images of a data set with their augmentation."""

    def __init__(
        self,
        dataset: DetectionDataset,
        size: int,
        augmentation: Augmentation | None = None,
        *,
        stride: int = 32,
        rectangular: bool = False,
        cache: CacheKind | None = None,
        cache_dir: Path | None = None,
        classes: Sequence[int | str] | None = None,
        mosaic_epochs: int | None = None,
        ignored_regions: bool = False,
    ) -> None:
        """
        Args:
            dataset: the images and boxes.
            size: long side that images are resized to; for square training also the canvas.
            augmentation: None is the default one, without mosaic when `rectangular`.
            stride: the model's largest stride, of which canvases are multiples.
            rectangular: batches of images of like aspect ratio on the smallest canvas that holds
                them, instead of square ones.
            cache: keep resized images in "ram" or on "disk".
            cache_dir: where "disk" writes.
            classes: train on these classes (ids or names) only.
            mosaic_epochs: after so many epochs the mosaic is closed; None never does.
            ignored_regions: give crowd and difficult boxes too, as boxes not to be judged. Where
                the labels have scores, this and the scores are always given.

        Raises:
            DatasetError: no images.
            SettingError: the size is not a multiple of the stride, or rectangular with mosaic.
            UnknownClassError: a class that the data set does not have.
            ImageError: an image cannot be read while the cache is filled.
        """
        if not len(dataset):
            raise DatasetError("there are no images to train on")
        if size < stride or size % stride:
            low = max(size // stride, 1) * stride
            raise SettingError(
                f"the training size {size} is not a multiple of the stride {stride}; "
                f"{low} and {low + stride} are"
            )
        if augmentation is None:
            augmentation = Augmentation().without_mosaic() if rectangular else Augmentation()
        if rectangular and augmentation.mosaic > 0:
            raise SettingError("rectangular training excludes mosaic; set mosaic to 0")
        self.dataset = dataset if classes is None else dataset.keep_classes(classes)
        self.size = size
        self.stride = stride
        self.rectangular = rectangular
        self._soft = bool(self.dataset.scores) or (
            ignored_regions and any(map(len, self.dataset.ignored))
        )
        self._augmentation = augmentation
        self._mosaic_epochs = math.inf if mosaic_epochs is None else mosaic_epochs
        self._store = ImageStore(dataset.images, size, cache, cache_dir)

    def augmentation(self, epoch: int) -> Augmentation:
        """What is done to the images in this epoch (from 0)."""
        if epoch < self._mosaic_epochs:
            return self._augmentation
        return self._augmentation.without_mosaic()

    def __len__(self) -> int:
        return len(self.dataset)

    def resized(self, index: int) -> tuple[int, int]:
        """Height and width of an image after its long side was resized."""
        height, width = self.dataset.sizes[index].tolist()
        return resized_shape((height, width), self.size)

    def load(self, index: int) -> Sample:
        """The resized image (shared with the cache: not to be written to) and its boxes."""
        image = self._store[index]
        height, width = image.shape[:2]
        rows = self.dataset.boxes[index].astype(np.float64)
        scores = np.ones(len(rows))
        if self._soft:
            if self.dataset.scores:
                scores = self.dataset.scores[index].astype(np.float64)
            unsure = self.dataset.ignored[index]
            rows = np.concatenate([rows, unsure])
            scores = np.concatenate([scores, np.zeros(len(unsure))])
        centre, half = rows[:, 1:3], rows[:, 3:5] / 2
        scale = (width, height, width, height)
        boxes = np.concatenate([centre - half, centre + half], axis=1) * scale
        return Sample.of(image, boxes, rows[:, 0], scores)

    def sample(self, key: SampleKey) -> Sample:
        """The augmented image (BGR) and boxes (pixels) of a key: always the same."""
        rng = np.random.default_rng([key.seed, key.epoch, key.image])
        return augment(self.load, key.image, len(self), key.canvas, key.augmentation, rng)

    def __getitem__(self, key: SampleKey) -> TrainItem:
        """The sample as tensors."""
        sample = self.sample(key)
        height, width = key.canvas
        centre = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2
        extent = sample.boxes[:, 2:] - sample.boxes[:, :2]
        columns = [sample.classes, centre / (width, height), extent / (width, height)]
        if self._soft:
            columns.append(sample.scores)
        rows = np.column_stack(columns).astype(np.float32)
        image = np.ascontiguousarray(sample.image[:, :, ::-1].transpose(2, 0, 1))
        return TrainItem(
            torch.from_numpy(image), torch.from_numpy(rows), str(self.dataset.images[key.image])
        )


class EpochSampler(Sampler[list[SampleKey]]):
    """The batches of one process, of one epoch or several, in an order that seed and epoch decide.

    Over `world` processes the order is one: batch b of the epoch is `batch * world` images long
    and rank r takes every world-th of them, so that all ranks together see what one process with
    the larger batch would. The last batch is smaller; it is filled up to a multiple of `world`
    with its own images again, so that every rank has the same number of them.
    """

    def __init__(
        self,
        train_set: TrainSet,
        batch: int,
        seed: int,
        epoch: int = 0,
        start_batch: int = 0,
        rank: int = 0,
        world: int = 1,
        end: int = 0,
    ) -> None:
        """
        Args:
            train_set: the images.
            batch: images of a batch on this process.
            seed: the run's seed.
            epoch: the first, from 0.
            start_batch: the first batch to give; 0 is the epoch's first.
            rank: this process.
            world: the number of processes.
            end: go on with the next epochs up to this one (exclusive).

        Raises:
            SettingError: a number that makes no sense.
        """
        if batch < 1 or seed < 0 or not 0 <= rank < world:
            raise SettingError(
                "expected batch >= 1, seed >= 0, 0 <= rank < world; got "
                f"{batch=} {seed=} {rank=} {world=}"
            )
        self._train_set = train_set
        self._batch, self._seed, self._rank, self._world = batch, seed, rank, world
        self._end = end
        self.go_to(epoch, start_batch)

    def go_to(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the epoch and its first batch.

        Raises:
            SettingError: a negative number.
        """
        if epoch < 0 or start_batch < 0:
            raise SettingError(f"expected epoch and start_batch >= 0; got {epoch=} {start_batch=}")
        self._epoch, self._start = epoch, start_batch
        self.stop = max(epoch + 1, self._end)  # the first epoch that is not given

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self._train_set) / (self._batch * self._world))

    def __len__(self) -> int:
        """The number of batches still to come (from `start_batch`)."""
        return (self.stop - self._epoch) * self.steps - min(self._start, self.steps)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for epoch in range(self._epoch, self.stop):
            done = self._train_set.augmentation(epoch)
            start = self._start if epoch == self._epoch else 0
            for indices in self._global_batches(epoch)[start:]:
                canvas = self._canvas(indices)
                mine = indices[self._rank :: self._world]
                yield [SampleKey(int(i), canvas, done, self._seed, epoch) for i in mine]

    def _global_batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch, over all ranks."""
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(len(self._train_set))
        step = self._batch * self._world
        if self._train_set.rectangular:
            # Sorted by aspect ratio; images of one ratio stay shuffled among themselves.
            sizes = self._train_set.dataset.sizes[order]
            order = order[np.argsort(sizes[:, 0] / sizes[:, 1], kind="stable")]
        batches = [order[i : i + step].tolist() for i in range(0, len(order), step)]
        lacking = -len(batches[-1]) % self._world
        batches[-1] += np.resize(batches[-1], lacking).tolist()
        if self._train_set.rectangular:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        return batches

    def _canvas(self, indices: Sequence[int]) -> tuple[int, int]:
        """Height and width of a batch: square, or the smallest that holds all its images."""
        size, stride = self._train_set.size, self._train_set.stride
        if not self._train_set.rectangular:
            return size, size
        height, width = np.array([self._train_set.resized(i) for i in indices]).max(axis=0)
        return math.ceil(height / stride) * stride, math.ceil(width / stride) * stride


def collate(items: Sequence[TrainItem]) -> Batch:
    """Stack items; each target row gets its image's number in front."""
    rows = [
        torch.cat([torch.full((len(item.targets), 1), float(i)), item.targets], dim=1)
        for i, item in enumerate(items)
    ]
    return Batch(
        torch.stack([item.image for item in items]), torch.cat(rows), [item.path for item in items]
    )


class TrainLoader:
    """The batches of any epoch, prepared by processes that live as long as the loader.

    Workers are copies of this process. Started anew for each epoch, when it holds the memory of a
    training step, they would have the kernel copy gigabytes as the next step writes to them: five
    seconds an epoch for yolov4-csp-s.
    """

    def __init__(
        self,
        train_set: TrainSet,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
        epochs: int = 0,
    ) -> None:
        """
        Args:
            train_set: the images.
            batch: images of a batch on this process.
            seed: the run's seed.
            rank: this process.
            world: the number of processes.
            workers: processes that prepare batches, started with the first epoch; 0 prepares them
                here.
            pin_memory: for copies to a GPU that run beside its work.
            epochs: of the run: up to it, the workers begin the next epoch while one ends, so that
                no step waits for the first batch of an epoch.

        Raises:
            SettingError: a number that makes no sense.
        """
        self._sampler = EpochSampler(train_set, batch, seed, rank=rank, world=world, end=epochs)
        self._batches: Iterator[Batch] | None = None
        self._next = (-1, -1)  # epoch and batch that `_batches` gives next
        self._turn = 0  # calls of `epoch`
        self._loader: DataLoader[TrainItem] | None = DataLoader(
            train_set,
            batch_sampler=self._sampler,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin_memory,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # else it draws from torch's global random state
            persistent_workers=workers > 0,
        )

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """Give the batches of an epoch (from 0), from `start_batch` on; ends one still open.

        Raises:
            SettingError: a negative number.
        """
        if self._loader is None:
            raise SettingError("the loader is closed")
        if self._batches is None or self._next != (epoch, start_batch):
            self._sampler.go_to(epoch, start_batch)
            self._batches = iter(self._loader)
            self._next = epoch, start_batch
        self._turn += 1
        return self._rest(epoch, self._turn)

    def _rest(self, epoch: int, turn: int) -> Iterator[Batch]:
        """The batches up to the end of the epoch, unless another turn begins before."""
        while self._turn == turn and self._batches is not None:
            step = self._next[1]
            if step >= self._sampler.steps:
                self._next = epoch + 1, 0
                if self._next[0] >= self._sampler.stop:
                    self._batches = None
                return
            batch = next(self._batches)
            self._next = epoch, step + 1
            yield batch

    def close(self) -> None:
        """End the workers."""
        self._batches = self._loader = None

    def __enter__(self) -> TrainLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _start_worker(_: int) -> None:
    """The workers are the parallelism; threads inside them would fight over the cores.

    SIGTERM is the main process's to hear: a service manager sends it to all processes at once, and
    a worker that dies of it would end the run before it is saved. Without the main process, torch
    ends its workers.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
