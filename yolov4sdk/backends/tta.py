"""Test-time augmentation: a backend that asks another about scaled and mirrored images too."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError
from .base import Backend, ContextManager, Outputs, replicas

SCALES: Final = (1.0, 1.2)


def augmented(backend: Backend, scales: Sequence[float] | None = None) -> AugmentedBackend:
    """The backend with test-time augmentation; None is SCALES, or 1 where the size is fixed."""
    if scales is None:
        scales = SCALES if backend.spec.dynamic_size else (1.0,)
    return AugmentedBackend(backend, scales)


class AugmentedBackend(ContextManager):
    """The boxes of every scale and mirror image together; NMS then merges them.

    It is a backend itself, so detection and evaluation use it as any other. It costs about the
    sum of the squares of the scales, twice that with mirror images.
    """

    name: str
    device: str
    precision: str

    def __init__(
        self, backend: Backend, scales: Sequence[float] = SCALES, flip: bool = True
    ) -> None:
        """
        Args:
            backend: runs the network; it is closed with this one.
            scales: sizes relative to the image given, 0.1 to 4; each is rounded to the stride.
            flip: ask about the mirror images (left to right) as well.

        Raises:
            SettingError: a scale outside the range, a scale other than 1 for a graph of fixed
                size, or a graph whose boxes are reduced already.
        """
        spec = backend.spec
        if not scales or not all(0.1 <= scale <= 4 for scale in scales):
            raise SettingError(f"scales must be 0.1 to 4, got {tuple(scales)}")
        if not spec.dynamic_size and any(scale != 1 for scale in scales):
            raise SettingError(
                f"this graph takes only {spec.input_size}, so it can be mirrored, not scaled: "
                "use scales=(1,), or export it with `--dynamic`"
            )
        if not spec.contract.output.per_class:
            raise SettingError(
                f'test-time augmentation needs all boxes, this graph gives "{spec.outputs}"; '
                "export it without --nms"
            )
        self._backend = backend
        self._variants = [(s, mirror) for s in scales for mirror in ((False, True)[: 1 + flip])]
        self.spec = spec
        self.name, self.device = f"{backend.name} with TTA", backend.device
        self.precision = backend.precision

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Run every variant of a batch; boxes are in the pixels of the batch as given.

        Args:
            batch: as `Backend.infer` takes it.

        Returns:
            Boxes [B, V * N, 4] and scores [B, V * N, C] of the V variants (N differs with scale).
        """
        taken = self.spec.contract.input
        planar = taken.planar
        height, width = taken.canvas_of(batch.shape)
        boxes, scores = [], []
        for scale, mirror in self._variants:
            size = self._scaled(height, scale), self._scaled(width, scale)
            images = _resized(batch, size, planar)
            if mirror:
                images = images[..., ::-1] if planar else images[:, :, ::-1]
            found = self._backend.infer(np.ascontiguousarray(images))
            x1, y1, x2, y2 = np.moveaxis(found.boxes, -1, 0)
            if mirror:
                x1, x2 = size[1] - x2, size[1] - x1
            sx, sy = np.float32(width / size[1]), np.float32(height / size[0])
            boxes.append(np.stack([x1 * sx, y1 * sy, x2 * sx, y2 * sy], axis=-1))
            scores.append(found.scores)
        return Outputs(np.concatenate(boxes, axis=1), np.concatenate(scores, axis=1))

    def replicas(self) -> tuple[Backend, int]:
        """See `OnnxRuntimeBackend.replicas`."""
        side_by_side = copy(self)
        side_by_side._backend, count = replicas(self._backend)
        return side_by_side, count

    def close(self) -> None:
        """Close the backend behind it."""
        self._backend.close()

    def _scaled(self, side: int, scale: float) -> int:
        stride = self.spec.max_stride
        return max(1, round(side * scale / stride)) * stride


def _resized(batch: NDArray[Any], size: tuple[int, int], planar: bool) -> NDArray[Any]:
    """The batch at another (height, width), bilinear."""
    images = np.moveaxis(batch, 1, -1) if planar else batch  # [B, H, W, 3]
    if images.shape[1:3] == size:
        return batch
    resized = np.stack([cv2.resize(np.ascontiguousarray(i), size[::-1]) for i in images])
    return np.moveaxis(resized, -1, 1) if planar else resized
