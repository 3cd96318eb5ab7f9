"""What each of two gloo processes does in `test_distributed.py`; started by torchrun.

Usage: ddp_worker.py measure|run DATA OUTPUT. Writes OUTPUT/batch<r>.pt, the loss and gradients of
one batch with fixed statistics, or OUTPUT/run<r>.pt, the weights after a short run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from tests.train.synthetic import quick
from train.distributed import World, joined_world, wrap
from train.job import Job, prepare
from train.loader import TrainLoader
from train.loop import Trainer
from train.main import train


def one_batch(job: Job, world: World) -> dict[str, torch.Tensor]:
    """Loss of the first batch over all processes, and the averaged gradients.

    Batch norm uses fixed statistics: without SyncBN, which CPUs lack, each process would
    normalise by its own images, and no equality could be expected.
    """
    network = wrap(job.model.eval(), world, job.device)
    loader = TrainLoader(job.train_set, job.local_batch, 0, world.rank, world.size)
    batch = next(loader.epoch(0))
    raw = network.module if world.size > 1 else network
    raw.forward = raw.raw  # raw maps in evaluation mode, through DDP's own forward
    parts = job.loss(network(batch.images.float() / 255), batch.targets, 0.5)
    (parts.total * world.size).backward()
    means = world.mean(parts.values())
    gradients = {name: p.grad for name, p in raw.named_parameters()}
    return {"loss": means, **gradients}


def measure(data: Path, output: Path) -> None:
    """Write the loss and gradients of one batch."""
    with joined_world(use_cuda=False) as world:
        torch.set_num_threads(1)
        job = prepare(quick(data, output / "unused"), world, torch.device("cpu"), lambda _: None)
        torch.save(one_batch(job, world), output / f"batch{world.rank}.pt")


def run(data: Path, output: Path) -> None:
    """Train, and write the weights that came out."""
    trained: list[Trainer] = []
    fit = Trainer.fit

    def remember(self: Trainer):
        trained.append(self)
        return fit(self)

    Trainer.fit = remember
    train(quick(data, output / "run", nominal_batch=8))
    job, updates = trained[0].job, trained[0].position.updates
    result = {"model": job.model.state_dict(), "updates": updates}
    torch.save(result, output / f"run{job.world.rank}.pt")


if __name__ == "__main__":
    # One launch each: a second process group in the same launch can meet keys of the first.
    {"measure": measure, "run": run}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
