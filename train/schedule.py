"""Learning rate, momentum and accumulation as functions of how far the run has come.

Everything is computed only from the iteration number, so a resumed run needs no schedule state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """What the optimizer uses at one iteration.

    Attributes:
        lr: learning rate of weights.
        bias_lr: learning rate of biases, which are warmed down from above instead of up.
        momentum: SGD momentum, or Adam's first beta.
        accumulate: batches per optimizer update.
    """

    lr: float
    bias_lr: float
    momentum: float
    accumulate: int


@dataclass(frozen=True)
class Schedule:
    """Warm-up, then a one-cycle cosine (as the authors of arXiv 2011.08036 train).

    Attributes:
        epochs: length of the run.
        steps_per_epoch: batches in an epoch.
        lr: peak learning rate.
        final: the last learning rate as a share of the peak.
        momentum: momentum after the warm-up.
        accumulate: batches per update after the warm-up.
        warmup_epochs, warmup_iterations: the warm-up lasts the longer of the two, but at most
            `warmup_share` of the run.
        warmup_bias_lr, warmup_momentum: where biases' learning rate and the momentum start.
        cosine: False keeps the peak after the warm-up.
    """

    epochs: int
    steps_per_epoch: int
    lr: float
    final: float
    momentum: float = 0.937
    accumulate: int = 1
    warmup_epochs: float = 3.0
    warmup_iterations: int = 1000
    warmup_share: float = 1 / 3
    warmup_bias_lr: float = 0.1
    warmup_momentum: float = 0.9
    cosine: bool = True

    @property
    def warmup(self) -> int:
        """Iterations of warm-up."""
        wanted = max(self.warmup_epochs * self.steps_per_epoch, self.warmup_iterations)
        if self.warmup_epochs == 0:
            return 0
        return int(min(wanted, self.warmup_share * self.epochs * self.steps_per_epoch))

    def factor(self, epoch: float) -> float:
        """The cosine at `epoch`, as a share of the peak learning rate."""
        if not self.cosine:
            return 1.0
        return (1 + math.cos(math.pi * epoch / self.epochs)) / 2 * (1 - self.final) + self.final

    def at(self, iteration: int) -> Rates:
        """The rates of the given iteration (batches since the start of the run)."""
        lr = self.lr * self.factor(iteration / self.steps_per_epoch)
        if iteration >= self.warmup:
            return Rates(lr, lr, self.momentum, self.accumulate)
        done = iteration / self.warmup
        return Rates(
            lr=done * lr,
            bias_lr=_between(self.warmup_bias_lr, lr, done),
            momentum=_between(self.warmup_momentum, self.momentum, done),
            accumulate=max(1, round(_between(1, self.accumulate, done))),
        )


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
