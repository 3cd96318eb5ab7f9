"""RF-DETR by `rfdetr`; how it is called stands in side_by_side.py."""

from __future__ import annotations

from typing import Any

import rfdetr
from side_by_side import main


def network(name: str) -> tuple[Any, int]:
    """The model ("Nano", "Small", ...) as it is exported, and its own input size."""
    whole = getattr(rfdetr, f"RFDETR{name}")(pretrain_weights=None)
    model = whole.model.model.eval()
    model.export()  # the forward pass without what only training needs
    return model, int(whole.model_config.resolution)


if __name__ == "__main__":
    main(network, "rfdetr")
