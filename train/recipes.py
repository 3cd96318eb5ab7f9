"""Recipes: settings that go together, by name.

A recipe is a table of what differs from the fields' own defaults; what a person gives replaces its
values. `docs/training-recipe.md` says how each value of `own` was chosen and what was dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from train.settings import TrainSettings
from yolov4sdk.datasets import load_dataset
from yolov4sdk.errors import SettingError

# The published settings of Scaled-YOLOv4 (2011.08036 and the authors' hyper-parameter files). For
# fine-tuning they differ only in augmentation, which `TrainSettings.augmenting` knows.
AUTHORS: Final[dict[str, Any]] = {
    "amp": "off",
    "optimizer": "sgd", "lr": 0.01, "lr_final": 0.2, "momentum": 0.937, "weight_decay": 5e-4,
    "nominal_batch": 64, "warmup_epochs": 3.0, "warmup_iterations": 1000, "warmup_share": 1 / 3,
    "ema_decay": 0.9999, "ema_tau": 2000.0, "clip_gradients": 0.0,
    "iou": "giou", "box_gain": 0.05, "objectness_gain": 1.0, "class_gain": 0.5,
    "class_gain_of_80": True, "ignored_regions": False, "focal": 0.0, "label_smoothing": 0.0,
    "close_mosaic": 0,
}  # fmt: skip

# For data of one's own: few images, few classes, few updates.
OWN: Final[dict[str, Any]] = {
    "amp": "auto", "optimizer": "adamw",
    "box_gain": 0.2, "class_gain": 0.5, "class_gain_of_80": False, "ignored_regions": True,
    "translate": 0.1, "scale": 0.5, "mixup": 0.0,
}  # fmt: skip

# From random weights SGD is ahead of AdamW at every epoch; from a trained model it is behind.
OWN_FROM_SCRATCH: Final[dict[str, Any]] = {**OWN, "optimizer": "sgd"}

RECIPES: Final = {"own": OWN, "authors": AUTHORS}
FULL_SIZE: Final = ("yolov4-csp", "yolov4-p5", "yolov4-p6", "yolov4-p7")
_COCO_CLASSES = 80


def settings(base: TrainSettings | None = None, /, **given: Any) -> TrainSettings:
    """The settings of a run: those given, over those of the recipe, over those of `base`.

    Args:
        base: of another run. Its values stay where no recipe is given.
        given: settings by name, as `TrainSettings.changed` takes them; `recipe` is "own" or
            "authors". Without it the full-size models on 80 classes have the authors', all else
            has "own".

    Raises:
        SettingError: an unknown recipe or setting, or a value out of range.
    """
    name = given.get("recipe")
    if base is not None and name is None:
        return base.changed(given)
    name = name or default_recipe(given)
    if name not in RECIPES:
        raise SettingError(f"recipe is {name!r}; expected one of {', '.join(RECIPES)}")
    base = base or TrainSettings()
    values = RECIPES[name]
    if name == "own" and from_scratch({**vars(base), **given}):
        values = OWN_FROM_SCRATCH
    return base.changed({**values, **_open(given), "recipe": name})


def from_scratch(given: Mapping[str, Any]) -> bool:
    """Whether a run with these settings starts from random weights, at least in its head."""
    if given.get("weights"):
        return False
    return any(given.get(name) for name in ("from_scratch", "model", "backbone"))


def _open(given: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings one by one, groups taken apart, so that they replace a recipe's."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        flat.update(value if isinstance(value, Mapping) else {name: value})
    return flat


def default_recipe(given: Mapping[str, Any]) -> str:
    """The recipe of a run that names none."""
    if given.get("model") not in FULL_SIZE or not given.get("data"):
        return "own"
    # any split holds the names; the one for validation is the smaller
    split = given.get("val_split", "val") or given.get("train_split", "train")
    return "authors" if load_dataset(given["data"], split).nc == _COCO_CLASSES else "own"
