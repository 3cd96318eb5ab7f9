"""Un-folding: the same function, trainable again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import yolov4sdk
from tests.tiny import make_tiny
from yolov4sdk.errors import ForeignFileError
from yolov4sdk.models import Model, fold
from yolov4sdk.models.unfold import read_folded, unfold

DEFAULT = Path(yolov4sdk.__file__).parent / "assets" / "default.onnx"


def _images(seed: int, count: int = 8, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def folded() -> Model:
    """Normalisations with factors of either sign, which folding hides in the weights."""
    model = make_tiny(("a", "b", "c"), size=64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(torch.randn(module.num_features, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(module.num_features, generator=generator) / 2)
    return fold(model)


def _raw(model: Model, images: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return model.raw(images)


def test_folding_the_unfolded_gives_the_same_outputs(folded: Model) -> None:
    again = fold(unfold(folded, [_images(100), _images(101)]))
    for one, other in zip(_raw(folded, _images(7)), _raw(again, _images(7)), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def test_in_training_mode_the_batch_s_own_statistics_give_the_same_function(folded: Model) -> None:
    images = _images(100)
    trainable = unfold(folded, [images])
    trainable.train()
    for one, other in zip(_raw(folded, images), _raw(trainable, images), strict=True):
        assert float((one - other).abs().max()) < 2e-2 * float(one.abs().max())
    assert all(p.requires_grad for p in trainable.parameters())


def test_weights_have_the_spread_of_fresh_ones(folded: Model) -> None:
    trainable = unfold(folded, [_images(1)])
    fresh = make_tiny(("a", "b", "c"), size=64)
    pairs = zip(trainable.named_modules(), fresh.modules(), strict=True)
    for (name, one), other in pairs:
        if isinstance(one, nn.Conv2d) and one.bias is None:
            assert isinstance(other, nn.Conv2d)
            assert one.weight.std().item() == pytest.approx(other.weight.std().item(), rel=0.3), (
                name
            )


def test_the_embedded_model_is_read_and_says_what_its_file_says() -> None:
    model = read_folded(DEFAULT)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    session = onnxruntime.InferenceSession(DEFAULT, providers=["CPUExecutionProvider"])
    boxes, scores = session.run(None, {session.get_inputs()[0].name: pixels})
    with torch.no_grad():
        own_boxes, own_scores = (part.numpy()[0] for part in model(images))
    order = [  # the file's rows are the best of the network's, best first
        int(np.abs(own_boxes - box).max(1).argmin()) for box in boxes[0]
    ]
    assert len(set(order)) == len(order) == 1000 < len(own_boxes)
    np.testing.assert_allclose(own_boxes[order], boxes[0], atol=0.05)
    np.testing.assert_allclose(own_scores[order], scores[0], atol=1e-4)
    again = fold(unfold(model, [images]))
    with torch.no_grad():
        found = again(images)[1].numpy()[0]
    np.testing.assert_allclose(found[order], scores[0], atol=1e-4)


def test_a_file_without_its_weights_is_refused(tmp_path: Path) -> None:
    import onnx

    graph = onnx.load(DEFAULT)
    renamed = next(t for t in graph.graph.initializer if t.name.startswith("layers.layers.8."))
    renamed.name = "elsewhere"
    onnx.save(graph, tmp_path / "changed.onnx")
    with pytest.raises(ForeignFileError, match=r"layers\.layers\.8.*not quantised"):
        read_folded(tmp_path / "changed.onnx")
