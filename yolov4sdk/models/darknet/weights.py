"""Darknet .weights: a header, then the float32 values of each convolution in the cfg's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...contract.safetensors_header import check_file
from ...errors import ForeignFileError, TruncatedFileError, WeightsCountError
from .graph import Convolution

LARGEST_VERSION: Final = 1000
"""Above it the version's digits say that matrices are transposed; no detector is stored so."""


@dataclass(frozen=True)
class ConvWeights:
    """Values of one convolution; scale, mean and variance only with batch normalisation.

    Attributes:
        bias: of the convolution, or of the batch normalisation (its beta): [out].
        weight: [out, in / groups, k, k].
        scale, mean, variance: of the batch normalisation, [out].
    """

    bias: Tensor
    weight: Tensor
    scale: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None


def value_count(layers: Iterable[Convolution]) -> int:
    """How many float32 values the convolutions need."""
    return sum(
        layer.channels * (4 if layer.batch_normalize else 1) + _weights_of(layer)
        for layer in layers
    )


def read_weights(path: str | Path, layers: Iterable[Convolution]) -> Mapping[int, ConvWeights]:
    """Read the values of each convolution, by its layer index; the file must hold exactly these.

    The tensors are views of one array that is read once.

    Raises:
        ArtefactNotFoundError, EmptyFileError: as they say.
        TruncatedFileError: fewer values than the cfg needs; the message says both counts.
        WeightsCountError: more values than the cfg needs.
        ForeignFileError: no header of Darknet, or values that no network has.
    """
    path, layers = check_file(path), list(layers)
    with path.open("rb") as file:
        version = np.fromfile(file, "<i4", 3)
        if len(version) < 3:
            raise TruncatedFileError(f"{path} ends inside its header; download or copy it again")
        major, minor, _ = map(int, version)
        if not (0 <= major < LARGEST_VERSION and 0 <= minor < LARGEST_VERSION):
            raise ForeignFileError(
                f"{path} is no Darknet .weights file: its header says version {major}.{minor}"
            )
        # The count of images seen has 8 bytes since version 0.2.
        header = 12 + (8 if major * 10 + minor >= 2 else 4)
        _check_count(path, path.stat().st_size - header, value_count(layers), (major, minor))
        file.seek(header)
        values = np.fromfile(file, "<f4").astype(np.float32, copy=False)
    return _split(path, values, layers)


def _check_count(path: Path, size: int, expected: int, version: tuple[int, int]) -> None:
    found, rest = divmod(max(size, 0), 4)
    if found == expected and not rest:
        return
    counts = (
        f"{path} (header of version {version[0]}.{version[1]}) holds {found:,} values"
        f"{f' and {rest} bytes' if rest else ''}, the cfg needs exactly {expected:,}"
    )
    if found < expected:
        raise TruncatedFileError(
            f"{counts}: {expected - found:,} are missing. It is cut off, holds a backbone alone, "
            "or belongs to another cfg"
        )
    raise WeightsCountError(
        f"{counts}: {found - expected:,} too many. It belongs to another cfg (a different number "
        "of classes is the usual reason)"
    )


def _split(
    path: Path, values: NDArray[np.float32], layers: list[Convolution]
) -> dict[int, ConvWeights]:
    result, position = {}, 0
    with np.errstate(over="ignore", invalid="ignore"):
        finite = bool(np.isfinite(values.sum()))  # then all values are: no array of flags

    def take(count: int, layer: Convolution) -> Tensor:
        nonlocal position
        part = values[position : position + count]
        position += count
        if not finite and not np.isfinite(part).all():
            raise ForeignFileError(f"{path}: NaN or infinite values for {layer.where}")
        return torch.from_numpy(part)

    for layer in layers:
        n = layer.channels
        bias = take(n, layer)
        norm: tuple[Tensor, ...] = ()
        if layer.batch_normalize:
            norm = tuple(take(n, layer) for _ in range(3))
            if norm[2].min() < 0:
                raise ForeignFileError(
                    f"{path}: a variance of {float(norm[2].min()):.3g} for {layer.where}; the file "
                    "is damaged or belongs to another cfg"
                )
        shape = (n, layer.c_in // layer.groups, layer.size, layer.size)
        result[layer.index] = ConvWeights(bias, take(_weights_of(layer), layer).view(shape), *norm)
    return result


def _weights_of(layer: Convolution) -> int:
    return layer.channels * (layer.c_in // layer.groups) * layer.size**2
