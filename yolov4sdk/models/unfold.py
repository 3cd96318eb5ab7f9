"""A folded network made trainable again.

Folding puts batch normalisation into the convolutions; training needs it back. Any split of a
folded convolution w, b into a convolution u and a normalisation keeps the function as long as

    u = k w,  mean = E[u x],  var = V[u x],  gamma = sqrt(var + eps) / k,  beta = E[w x] + b,

so the statistics are measured on images: then the function is the same in evaluation mode, and
nearly so in training mode, where the statistics are those of a batch. The factor k, one a layer,
gives u the spread of a fresh convolution. A normalised layer does not see its scale, but steps and
weight decay act on u as they do on fresh weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..contract.onnx_header import read_onnx_spec
from ..errors import ForeignFileError, MissingExtraError
from .blocks import SPPCSP, BottleneckCSP, BottleneckCSP2, Conv
from .build import build_model
from .fold import Affine, fold
from .model import Model

_Moments = dict[str, tuple[Tensor, Tensor]]
_HALF = ".half"  # ends the name of a weight that an exported file stores in float16


def read_folded(path: str | Path) -> Model:
    """The folded network inside an ONNX file that this package has exported.

    Args:
        path: float32, or float32 with `--half-weights`, at any options that leave the
            convolutions as they are.

    Returns:
        A folded model in evaluation mode, float32, with the file's spec.

    Raises:
        ArtefactError: no such file, or none that can be read; no or a wrong ModelSpec.
        ForeignFileError: a weight is missing, as in files that are quantised or were changed.
    """
    spec = read_onnx_spec(path)
    tensors = _initializers(Path(path))
    folded = fold(build_model(spec.architecture, spec.names, spec.anchors))
    head = f"model.{len(folded.model) - 1}."
    state = folded.state_dict()
    for key, target in state.items():
        if key.endswith(("anchors", "anchor_grid")):
            continue
        name = (
            key.replace(head, "head.detect.", 1)
            if key.startswith(head)
            else key.replace("model.", "layers.layers.", 1)
        )
        stored = tensors.get(name, tensors.get(name + _HALF))
        if stored is None or stored.numel() != target.numel():
            raise ForeignFileError(
                f"{path} holds no {'such ' if stored is not None else ''}weight {name} of "
                f"{list(target.shape)}, so it cannot be trained on; expected an ONNX file of "
                "`yolov4sdk export` that is not quantised. Train on the checkpoint it came from"
            )
        state[key] = stored.view_as(target).float()
    folded.load_state_dict(state)
    folded.spec = spec
    return folded


def _initializers(path: Path) -> dict[str, Tensor]:
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtraError("Training from an ONNX file", "train", "onnx") from error
    graph = onnx.load(path).graph
    return {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}


@torch.no_grad()
def unfold(folded: Model, batches: Iterable[Tensor]) -> Model:
    """A trainable model with the function of a folded one.

    Args:
        folded: from `fold` or `read_folded`; it is not changed.
        batches: images [B, 3, H, W], RGB in 0..1, on which the statistics are measured; a few
            hundred images like those to be trained on. At least one.

    Returns:
        A model in evaluation mode. `fold` of it is the folded one again, up to rounding.
    """
    spec = folded.spec
    model = build_model(spec.architecture, spec.names, spec.anchors).eval()
    moments = _measure(folded, batches)
    parts = dict(folded.named_modules())
    for name, module in model.named_modules():
        if isinstance(module, Conv):
            # fold() puts a multiply-add behind the cv6 of an SPPCSP, in a sequence of two
            inner = f"{name}.conv" if f"{name}.conv" in parts else f"{name}.0.conv"
            _unfold_conv(module.conv, module.bn, slice(None), parts[inner], moments[inner])
        elif isinstance(module, BottleneckCSP):
            for conv, part in (("cv3", _first(module.bn)), ("cv2", _second(module.bn))):
                inner = f"{name}.{conv}"
                target = module.get_submodule(conv)
                _unfold_conv(target, module.bn, part, parts[inner], moments[inner])
        elif isinstance(module, BottleneckCSP2 | SPPCSP):
            inner = f"{name}.cv2"
            part = _second(module.bn)
            _unfold_conv(module.cv2, module.bn, part, parts[inner], moments[inner])
            branch = "m" if isinstance(module, BottleneckCSP2) else "cv6"
            inner = f"{name}.{branch}.{len(parts[f'{name}.{branch}']) - 1}"  # type: ignore[arg-type]
            _unfold_affine(module.bn, parts[inner], moments[inner])
    model.detect.load_state_dict(folded.detect.state_dict())
    model.spec = spec
    return model


def _measure(folded: Model, batches: Iterable[Tensor]) -> _Moments:
    """Mean and variance, float64 [C], of what each convolution gives and each affine takes."""
    sums: dict[str, list[Tensor]] = {}

    def add(name: str, x: Tensor) -> None:
        x = x.double()
        new = [x.sum((0, 2, 3)), x.square().sum((0, 2, 3)), torch.tensor(x[:, 0].numel())]
        old = sums.get(name)
        sums[name] = new if old is None else [a + b for a, b in zip(old, new, strict=True)]

    hooks = []
    for name, module in folded.named_modules():
        if isinstance(module, Affine):
            hooks.append(module.register_forward_pre_hook(lambda _, x, n=name: add(n, x[0])))  # type: ignore[misc]
        elif isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda _, __, y, n=name: add(n, y)))  # type: ignore[misc]
    try:
        for images in batches:
            folded.raw(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: (total / count, (squares / count - (total / count).square()).clamp(min=0))
        for name, (total, squares, count) in sums.items()
    }


def _first(bn: nn.Module) -> slice:
    assert isinstance(bn, nn.BatchNorm2d)
    return slice(0, bn.num_features // 2)


def _second(bn: nn.Module) -> slice:
    assert isinstance(bn, nn.BatchNorm2d)
    return slice(bn.num_features // 2, None)


def _unfold_conv(
    conv: nn.Module, bn: nn.Module, part: slice, folded: nn.Module, moments: tuple[Tensor, Tensor]
) -> None:
    """Split a folded convolution into `conv` and the channels `part` of `bn`."""
    assert isinstance(conv, nn.Conv2d) and isinstance(folded, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d) and folded.bias is not None
    mean, variance = moments
    k = float(conv.weight.std() / folded.weight.std().clamp(min=1e-12))
    conv.weight.copy_(folded.weight * k)
    variance = variance * k * k
    _set(
        bn,
        part,
        mean=(mean - folded.bias) * k,
        variance=variance,
        gamma=(variance + bn.eps).sqrt() / k,
        beta=mean,
    )


def _unfold_affine(bn: nn.Module, affine: nn.Module, moments: tuple[Tensor, Tensor]) -> None:
    """Turn x * scale + shift into the first half of a joint normalisation."""
    assert isinstance(bn, nn.BatchNorm2d) and isinstance(affine, Affine)
    mean, variance = moments
    scale, shift = affine.scale.flatten().double(), affine.shift.flatten().double()
    _set(
        bn,
        _first(bn),
        mean=mean,
        variance=variance,
        gamma=scale * (variance + bn.eps).sqrt(),
        beta=shift + mean * scale,
    )


def _set(
    bn: nn.BatchNorm2d, part: slice, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor
) -> None:
    assert bn.running_mean is not None and bn.running_var is not None
    bn.running_mean[part] = mean.to(bn.running_mean.dtype)
    bn.running_var[part] = variance.to(bn.running_var.dtype)
    bn.weight[part] = gamma.to(bn.weight.dtype)
    bn.bias[part] = beta.to(bn.bias.dtype)
