"""A network of torch computed in other arithmetic than its own, without a copy of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

HALF: Final = {"fp16": torch.float16, "bf16": torch.bfloat16}


class InDouble(TorchFunctionMode):
    """Float64 wherever a float64 value comes in: give the network float64 images."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run `func`, with float32 arguments beside float64 ones made float64."""
        arguments = (args, kwargs or {})
        dtypes = {leaf.dtype for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)}
        if {torch.float32, torch.float64} <= dtypes:
            arguments = tree_map(_double, arguments)
        return func(*arguments[0], **arguments[1])


class _Convolutions(TorchFunctionMode):
    """Base of what changes only the convolutions: where sums are."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run `func`; a convolution by `convolve`."""
        if func is torch.conv2d:
            return self.convolve(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def convolve(self, x: Tensor, weight: Tensor, *rest: Any, **options: Any) -> Tensor:
        """As `torch.conv2d`."""
        raise NotImplementedError


class ReversedSums(_Convolutions):
    """Every convolution adds its input channels and its kernel's cells in the reverse order."""

    def convolve(self, x: Tensor, weight: Tensor, *rest: Any, **options: Any) -> Tensor:
        """As `torch.conv2d`; of a depthwise one only the batch normalisation's rounding is left."""
        if x.shape[1] == weight.shape[1]:  # not in groups
            x, weight = x.flip(1), weight.flip(1)
        return torch.conv2d(x, weight, *rest, **options)


class Rounded(_Convolutions):
    """Weights, inputs and results of the convolutions rounded to half precision, sums in float32.

    That is what a device does with half weights and activations.
    """

    def __init__(self, precision: str) -> None:
        """precision: a key of `HALF`."""
        super().__init__()
        self._dtype = HALF[precision]

    def convolve(self, x: Tensor, weight: Tensor, *rest: Any, **options: Any) -> Tensor:
        """As `torch.conv2d`."""
        return self._round(torch.conv2d(self._round(x), self._round(weight), *rest, **options))

    def _round(self, x: Tensor) -> Tensor:
        return x.to(self._dtype).to(x.dtype)


def _double(value: Any) -> Any:
    single = isinstance(value, Tensor) and value.dtype == torch.float32
    return value.double() if single else value
