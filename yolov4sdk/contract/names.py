"""Class names of COCO 2017 in the order of the 80 contiguous ids, and names of built-in models."""

from __future__ import annotations

COCO: tuple[str, ...] = tuple(
    """person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|
stop sign|parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|
umbrella|handbag|tie|suitcase|frisbee|skis|snowboard|sports ball|kite|baseball bat|baseball glove|
skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|knife|spoon|bowl|banana|apple|
sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch|potted plant|bed|
dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven|toaster|sink|
refrigerator|book|clock|vase|scissors|teddy bear|hair drier|toothbrush""".replace("\n", "").split(
        "|"
    )
)


def default_names(nc: int) -> tuple[str, ...]:
    """COCO's names for 80 classes, otherwise class0, class1, ..."""
    return COCO if nc == len(COCO) else tuple(f"class{i}" for i in range(nc))


MODELS: tuple[str, ...] = (
    "yolov4-csp-n", "yolov4-csp-s", "yolov4-csp-m", "yolov4-csp", "yolov4-p5", "yolov4-p6",
    "yolov4-p7",
)  # fmt: skip
"""Those of `yolov4sdk.models`, for whoever only has to name them: that package loads torch."""
