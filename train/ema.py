"""An exponential moving average of a model's weights and buffers."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


class ModelEMA:
    """Keeps a smoothed copy of a model, which is what is validated and saved.

    The decay grows as decay * (1 - exp(-updates / tau)), so that the random start is forgotten
    (as the authors of arXiv 2011.08036 train).

    Args:
        model: the model in training; it is copied.
        decay: the decay reached in the end, below 1.
        tau: updates over which the decay grows.
    """

    def __init__(self, model: nn.Module, decay: float, tau: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.tau = decay, tau
        self.updates = 0
        self._pairs = _paired_tensors(model, self.model)

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model; call it after every optimizer step."""
        self.updates += 1
        weight = 1 - self.decay * (1 - math.exp(-self.updates / self.tau))
        floats, counters = self._pairs
        torch._foreach_lerp_(*floats, weight)
        torch._foreach_copy_(*counters)


_Pairs = tuple[list[Tensor], list[Tensor]]


def _paired_tensors(source: nn.Module, average: nn.Module) -> tuple[_Pairs, _Pairs]:
    """Pair the tensors of both models once: looking them up by name at each step costs more."""
    floats: _Pairs = ([], [])
    others: _Pairs = ([], [])
    sources = source.state_dict()
    for name, tensor in average.state_dict().items():
        averages, news = floats if tensor.is_floating_point() else others
        averages.append(tensor)
        news.append(sources[name])
    return floats, others
