"""A plain ResNet-50 (1512.03385), to compare backbones with; stride on the 3x3 convolution."""

from __future__ import annotations

from torch import Tensor, nn

_EXPANSION = 4
_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width, number of blocks


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(c_out)
    )


class _Block(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut."""

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        c_out = width * _EXPANSION
        self.body = nn.Sequential(
            _conv(c_in, width, 1), nn.ReLU(inplace=True),
            _conv(width, width, 3, stride), nn.ReLU(inplace=True),
            _conv(width, c_out, 1),
        )  # fmt: skip
        same = c_in == c_out and stride == 1
        self.shortcut = nn.Identity() if same else _conv(c_in, c_out, 1, stride)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, c_in, H, W] -> [B, 4 * width, H / stride, W / stride]."""
        out: Tensor = self.act(self.body(x) + self.shortcut(x))
        return out


def resnet50(classes: int) -> nn.Sequential:
    """[B, 3, H, W] -> [B, classes] logits; 25.6 million parameters with 1000 classes."""
    layers: list[nn.Module] = [
        _conv(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip
    channels = 64
    for stage, (width, blocks) in enumerate(_STAGES):
        for block in range(blocks):
            layers.append(_Block(channels, width, 2 if stage and not block else 1))
            channels = width * _EXPANSION
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )
