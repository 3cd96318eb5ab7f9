"""EfficientDet by `effdet`; how it is called stands in side_by_side.py."""

from __future__ import annotations

from typing import Any

import effdet
from side_by_side import main
from timm.layers import set_layer_config


def network(name: str) -> tuple[Any, int]:
    """The model in evaluation mode, and its own input size."""
    with set_layer_config(exportable=True, scriptable=False):
        model = effdet.create_model(name, pretrained=False, pretrained_backbone=False)
    return model.eval(), int(model.config.image_size[0])


if __name__ == "__main__":
    main(network, "effdet")
