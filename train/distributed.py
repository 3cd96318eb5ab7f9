"""Several processes that train one model: what torchrun starts, or a single process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from yolov4sdk.errors import TrainingError


@dataclass(frozen=True)
class World:
    """This process among the others.

    Attributes:
        rank: number of this process; 0 writes files and talks.
        size: number of processes.
        local_rank: number of this process on its machine, which is its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process validates, writes and prints."""
        return self.rank == 0

    def total(self, values: list[float]) -> list[float]:
        """The sums over the ranks. Every rank must call this."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64, device=_device())
        dist.all_reduce(sums)
        result: list[float] = sums.tolist()
        return result

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks, detached. Every rank must call this."""
        if self.size == 1:
            return values
        values = values.detach().clone()
        dist.all_reduce(values)
        return values / self.size

    def barrier(self) -> None:
        """Wait for the other processes."""
        if self.size > 1:
            dist.barrier()


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


@contextmanager
def joined_world(use_cuda: bool) -> Iterator[World]:
    """Join the processes that torchrun started; alone, give a world of one.

    Args:
        use_cuda: train on GPUs (NCCL), else on the CPU (gloo).

    Raises:
        TrainingError: torchrun's variables are incomplete, or a GPU for this rank is missing.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield World()
        return
    world = World(
        int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", 0))
    )
    if use_cuda:
        if world.local_rank >= torch.cuda.device_count():
            raise TrainingError(
                f"process {world.local_rank} has no GPU: {torch.cuda.device_count()} found; start "
                "torchrun with that --nproc-per-node or add --device cpu"
            )
        torch.cuda.set_device(world.local_rank)
    try:
        dist.init_process_group("nccl" if use_cuda else "gloo")
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the processes cannot reach one another: {error}") from error
    try:
        yield world
    finally:
        dist.destroy_process_group()


def wrap(model: nn.Module, world: World, device: torch.device) -> nn.Module:
    """The model so wrapped that backward averages its gradients over the processes."""
    if world.size == 1:
        return model
    if device.type == "cuda":
        return DistributedDataParallel(model, device_ids=[device.index])
    return DistributedDataParallel(model)


def synchronise_bn(model: nn.Module, world: World, device: torch.device) -> None:
    """Replace the BN layers inside the model by SyncBN, for several processes on GPUs.

    torch has no SyncBN for CPUs: there each process normalises by its own images.
    """
    if world.size > 1 and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
