"""The loader: order, determinism, resuming, ranks, rectangular batches, caches."""

from __future__ import annotations

from multiprocessing import active_children
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from train.augment import Augmentation
from train.loader import Batch, EpochSampler, TrainLoader, TrainSet
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.errors import DatasetError, SettingError, UnknownClassError

QUIET = Augmentation.none()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    """11 images of different shapes; red objects of class 0 and green ones of class 1."""
    folder = tmp_path_factory.mktemp("loader")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for i in range(11):
        height, width = [(60, 120), (120, 60), (90, 90)][i % 3]
        image = np.full((height, width, 3), 20 * i, np.uint8)
        image[10:40, 10:40] = (0, 0, 255)
        image[40:55, 20:50] = (0, 255, 0)
        cv2.imwrite(str(folder / "images" / f"{i:02}.png"), image)
        boxes = [(0, 10, 10, 40, 40), (1, 20, 40, 50, 55)]
        lines = [
            f"{c} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} "
            f"{(x2 - x1) / width} {(y2 - y1) / height}"
            for c, x1, y1, x2, y2 in boxes
        ]
        (folder / "labels" / f"{i:02}.txt").write_text("\n".join(lines))
    (folder / "classes.txt").write_text("red\ngreen\n")
    return load_dataset(folder)


def epoch(
    train_set: TrainSet, epoch: int = 0, start_batch: int = 0, *, seed: int = 3, workers: int = 0
) -> list[Batch]:
    with TrainLoader(train_set, 4, seed, workers=workers) as loader:
        return list(loader.epoch(epoch, start_batch))


def assert_equal(a: list[Batch], b: list[Batch]) -> None:
    assert [batch.paths for batch in a] == [batch.paths for batch in b]
    for one, two in zip(a, b, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.targets, two.targets)


def test_square_batch_without_augmentation(dataset: DetectionDataset) -> None:
    batches = epoch(TrainSet(dataset, 64, QUIET))
    assert [len(batch.paths) for batch in batches] == [4, 4, 3]
    assert sorted(p for batch in batches for p in batch.paths) == [str(p) for p in dataset.images]
    for batch in batches:
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape == (len(batch.paths), 3, 64, 64)
        assert batch.targets.dtype == torch.float32
        for image, cls, cx, cy, w, h in batch.targets.tolist():
            pixel = batch.images[int(image), :, int(cy * 64), int(cx * 64)].tolist()
            assert pixel == ([255, 0, 0] if cls == 0 else [0, 255, 0])  # RGB
            assert 0 < w < 1 and 0 < h < 1


def test_workers_change_nothing(dataset: DetectionDataset) -> None:
    train_set = TrainSet(dataset, 64, Augmentation(mixup=0.5))
    alone = epoch(train_set)
    assert_equal(alone, epoch(train_set, workers=2))
    assert not torch.equal(alone[0].images, epoch(train_set, epoch=1)[0].images)
    assert not torch.equal(alone[0].images, epoch(train_set, seed=4)[0].images)


@pytest.mark.parametrize("ahead", [0, 4], ids=["epoch by epoch", "ahead"])
def test_workers_serve_all_epochs_and_end_with_the_loader(
    dataset: DetectionDataset, ahead: int
) -> None:
    train_set = TrainSet(dataset, 64, Augmentation(mixup=0.5), mosaic_epochs=3)
    with TrainLoader(train_set, 4, 3, workers=2, epochs=ahead) as loader:
        first = list(loader.epoch(0))
        workers = set(active_children())
        assert len(workers) == 2
        left = loader.epoch(1)
        next(left)  # and left in its middle
        others = [list(loader.epoch(e)) for e in (2, 3)]
        assert list(left) == []
        again = list(loader.epoch(3))
        assert set(active_children()) == workers
    assert not workers & set(active_children())
    assert_equal(first, epoch(train_set))
    for number, batches in zip((2, 3, 3), (*others, again), strict=True):
        assert_equal(batches, epoch(train_set, number))


def test_global_random_state_is_neither_read_nor_moved(dataset: DetectionDataset) -> None:
    train_set = TrainSet(dataset, 64)
    torch.manual_seed(0)
    np.random.seed(0)
    state = torch.get_rng_state()
    first = epoch(train_set)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(1)
    np.random.seed(1)
    assert_equal(first, epoch(train_set))


@pytest.mark.parametrize("rectangular", [False, True])
def test_start_in_the_middle_of_an_epoch(dataset: DetectionDataset, rectangular: bool) -> None:
    train_set = TrainSet(dataset, 64, rectangular=rectangular)
    whole = epoch(train_set)
    assert_equal(whole[1:], epoch(train_set, start_batch=1))
    assert len(EpochSampler(train_set, 4, 3, start_batch=1)) == 2
    assert epoch(train_set, start_batch=3) == []


@pytest.mark.parametrize("rectangular", [False, True])
def test_ranks_together_see_what_one_process_sees(
    dataset: DetectionDataset, rectangular: bool
) -> None:
    train_set = TrainSet(dataset, 64, rectangular=rectangular)
    one = list(EpochSampler(train_set, 4, 3, 5))
    ranks = [list(EpochSampler(train_set, 2, 3, 5, rank=r, world=2)) for r in range(2)]
    assert len(one) == len(ranks[0]) == len(ranks[1]) == 3
    for whole, a, b in zip(one, *ranks, strict=True):
        assert len(a) == len(b)
        assert set(whole) <= set(a) | set(b)
        if len(whole) == 4:
            assert set(whole) == set(a) | set(b)


def test_rectangular_batches(dataset: DetectionDataset) -> None:
    train_set = TrainSet(dataset, 128, QUIET, rectangular=True)
    batches = epoch(train_set)
    shapes = {tuple(batch.images.shape[2:]) for batch in batches}
    assert all(side % 32 == 0 for shape in shapes for side in shape)
    assert (64, 128) in shapes and len(shapes) > 1
    for batch in batches:
        height, width = batch.images.shape[2:]
        for image, cls, cx, cy, _, _ in batch.targets.tolist():
            pixel = batch.images[int(image), :, int(cy * height), int(cx * width)].tolist()
            assert pixel == ([255, 0, 0] if cls == 0 else [0, 255, 0])
    orders = {tuple(p for b in epoch(train_set, epoch=e) for p in b.paths) for e in range(4)}
    assert len(orders) > 1, "the order of the batches must change with the epoch"


def test_canvas_follows_the_largest_stride(dataset: DetectionDataset) -> None:
    train_set = TrainSet(dataset, 128, stride=64, rectangular=True)
    keys = [key for batch in EpochSampler(train_set, 1, 0, 0) for key in batch]
    assert {key.canvas for key in keys} == {(64, 128), (128, 64), (128, 128)}


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_caches_change_nothing(dataset: DetectionDataset, tmp_path: Path, cache: str) -> None:
    plain = epoch(TrainSet(dataset, 64))
    cached = TrainSet(dataset, 64, cache=cache, cache_dir=tmp_path)  # type: ignore[arg-type]
    assert_equal(plain, epoch(cached))
    assert_equal(plain, epoch(cached, workers=2))
    assert len(list(tmp_path.iterdir())) == (11 if cache == "disk" else 0)


def test_damaged_and_stale_disk_cache(tmp_path: Path, dataset: DetectionDataset) -> None:
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), np.full((20, 20, 3), 7, np.uint8))
    path.with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5")
    train_set = TrainSet(load_dataset(tmp_path), 64, QUIET, cache="disk", cache_dir=tmp_path / "c")
    assert train_set.load(0).image[0, 0, 0] == 7
    (file,) = (tmp_path / "c").iterdir()
    file.write_bytes(file.read_bytes()[:50])
    assert train_set.load(0).image[0, 0, 0] == 7
    cv2.imwrite(str(path), np.full((24, 24, 3), 9, np.uint8))
    assert train_set.load(0).image[0, 0, 0] == 9


def test_full_disk_names_the_cache(
    dataset: DetectionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    train_set = TrainSet(dataset, 64, QUIET, cache="disk", cache_dir=tmp_path)
    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(SettingError, match=r"image cache .* No space left"):
        train_set.load(0)
    assert list(tmp_path.iterdir()) == []


def test_close_mosaic(dataset: DetectionDataset) -> None:
    mosaic = Augmentation(mosaic=1.0, translate=0, scale=0, hsv_v=0)
    train_set = TrainSet(dataset, 64, mosaic, mosaic_epochs=2)
    objects = [sum(len(batch.targets) for batch in epoch(train_set, e)) for e in (1, 2)]
    assert objects[0] > objects[1]
    for batch in epoch(train_set, 2):
        counts = torch.bincount(batch.targets[:, 0].long())
        assert (counts == 2).all(), "without mosaic each picture has its own two objects"


def test_class_filter_keeps_ids(dataset: DetectionDataset) -> None:
    batches = epoch(TrainSet(dataset, 64, QUIET, classes=["green"]))
    targets = torch.cat([batch.targets for batch in batches])
    assert len(targets) == 11 and (targets[:, 1] == 1).all()
    with pytest.raises(UnknownClassError, match="blue"):
        TrainSet(dataset, 64, classes=["blue"])


def test_background_batch_has_an_empty_target(dataset: DetectionDataset) -> None:
    empty = dataset.keep_classes([])
    for batch in epoch(TrainSet(empty, 64)):
        assert batch.targets.shape == (0, 6)


def test_errors(dataset: DetectionDataset) -> None:
    with pytest.raises(DatasetError, match="no images"):
        TrainSet(dataset.subset([]), 64)
    with pytest.raises(SettingError, match="96 and 128"):
        TrainSet(dataset, 100)
    with pytest.raises(SettingError, match="excludes mosaic"):
        TrainSet(dataset, 64, Augmentation(), rectangular=True)
    with pytest.raises(SettingError, match="rank"):
        TrainLoader(TrainSet(dataset, 64), 4, 0, rank=2, world=2)
    with pytest.raises(SettingError, match="start_batch=-1"):
        TrainLoader(TrainSet(dataset, 64), 4, 0).epoch(0, -1)
    with TrainLoader(TrainSet(dataset, 64), 4, 0) as loader:
        pass
    with pytest.raises(SettingError, match="closed"):
        loader.epoch(0)
    with pytest.raises(SettingError, match="cache"):
        TrainSet(dataset, 64, cache="tape")  # type: ignore[arg-type]
