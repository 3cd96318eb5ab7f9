"""Darknet .weights: a header, then the float32 values of each layer in the cfg's order."""

from __future__ import annotations

import math
import re
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
from .layers import Weighted

LARGEST_VERSION: Final = 1000
"""Above it the version's digits say that matrices are transposed; no detector is stored so."""


HEADER_KEY: Final = "darknet_header"
"""Key of a spec's provenance: a file is written again with the header it had."""


@dataclass(frozen=True)
class Header:
    """What a file says before its values.

    Attributes:
        version: major, minor, revision.
        seen: images that it was trained on.
    """

    version: tuple[int, int, int] = (0, 2, 5)
    seen: int = 0

    def to_bytes(self) -> bytes:
        """As the file begins; the count has 8 bytes since version 0.2."""
        return np.array(self.version, "<i4").tobytes() + np.array([self.seen], self._seen).tobytes()

    def to_text(self) -> str:
        """For a spec's provenance: "0.2.5 32013312"."""
        return f"{'.'.join(map(str, self.version))} {self.seen}"

    @classmethod
    def from_text(cls, text: str) -> Header:
        """What `to_text` wrote; the usual header for anything else."""
        match = re.fullmatch(r"(\d{1,3})\.(\d{1,3})\.(\d{1,9}) (\d{1,18})", text)
        if match is None:
            return cls()
        major, minor, revision, seen = map(int, match.groups())
        return cls((major, minor, revision), seen)

    @property
    def size(self) -> int:
        """In bytes."""
        return 12 + np.dtype(self._seen).itemsize

    @property
    def _seen(self) -> str:
        return "<i8" if self.version[0] * 10 + self.version[1] >= 2 else "<i4"


@dataclass(frozen=True)
class LayerWeights:
    """Values of one layer.

    Attributes:
        weight: of a convolution [out, in / groups, k, k]; of a weighted shortcut [sources, 1] or
            [sources, channels], and nothing else.
        bias: of the convolution, or of the batch normalisation (its beta): [out].
        scale, mean, variance: of the batch normalisation, [out].
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None

    @property
    def parts(self) -> list[Tensor]:
        """In the order of the file."""
        found = (self.bias, self.scale, self.mean, self.variance, self.weight)
        return [part for part in found if part is not None]


def value_count(layers: Iterable[Weighted]) -> int:
    """How many float32 values the layers need."""
    return sum(math.prod(shape) for layer in layers for shape in layer.parts)


def read_weights(
    path: str | Path, layers: Iterable[Weighted]
) -> tuple[Header, Mapping[int, LayerWeights]]:
    """Read the values of each layer, by its index; the file must hold exactly these.

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
        major, minor, revision = map(int, version)
        if not (0 <= major < LARGEST_VERSION and 0 <= minor < LARGEST_VERSION):
            raise ForeignFileError(
                f"{path} is not a Darknet .weights file: its header says version {major}.{minor}"
            )
        header = Header((major, minor, revision))
        _check_count(path, path.stat().st_size - header.size, value_count(layers), (major, minor))
        seen = np.fromfile(file, "<i8" if header.size == 20 else "<i4", 1)
        values = np.fromfile(file, "<f4").astype(np.float32, copy=False)
    return Header(header.version, int(seen[0])), _split(path, values, layers)


def write_weights(
    path: Path, header: Header, layers: Iterable[Weighted], values: Mapping[int, LayerWeights]
) -> None:
    """Write a file that `read_weights` reads as the same values; the caller makes it atomic."""
    with path.open("wb") as file:
        file.write(header.to_bytes())
        for layer in layers:
            for part in values[layer.index].parts:
                part.detach().cpu().numpy().astype("<f4", copy=False).tofile(file)


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
            f"{counts}: {expected - found:,} are missing. It is cut off, holds only a backbone, "
            "or belongs to another cfg"
        )
    raise WeightsCountError(
        f"{counts}: {found - expected:,} too many. It belongs to another cfg (a different number "
        "of classes is the usual reason)"
    )


def _split(
    path: Path, values: NDArray[np.float32], layers: list[Weighted]
) -> dict[int, LayerWeights]:
    result, position = {}, 0
    with np.errstate(over="ignore", invalid="ignore"):
        finite = bool(np.isfinite(values.sum()))  # then all values are: no array of flags
    for layer in layers:
        parts = []
        for shape in layer.parts:
            count = math.prod(shape)
            part = values[position : position + count]
            position += count
            if not finite and not np.isfinite(part).all():
                raise ForeignFileError(f"{path}: NaN or infinite values for {layer.where}")
            parts.append(torch.from_numpy(part).view(shape))
        *norm, weight = parts
        result[layer.index] = found = LayerWeights(weight, *norm)
        if found.variance is not None and found.variance.min() < 0:
            raise ForeignFileError(
                f"{path}: a variance of {float(found.variance.min()):.3g} for {layer.where}; the "
                "file is damaged or belongs to another cfg"
            )
    return result
