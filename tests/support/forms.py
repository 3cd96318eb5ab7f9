"""The form of a graph whose outputs can be compared with the network's value by value."""

from __future__ import annotations

from typing import Any


def raw(**options: Any) -> dict[str, Any]:
    """Options of an export with float32 pixels and every box, where they do not say otherwise."""
    forms: dict[str, Any] = {}
    if not options.get("uint8"):
        forms["float_input"] = True
    if not options.get("nms") and options.get("topk") is None:
        forms["raw_outputs"] = True
    return forms | options
