"""The largest numbers that a file may name, in every format that is read here.

A stranger's file of a few bytes can ask for a billion classes. Each reader compares what it finds
with these before it acts on it. They lie far above what real models and data sets hold.
"""

from __future__ import annotations

import math
import reprlib
from typing import Any, Final

# Sizes of files and of parts of files, in bytes.
YAML_BYTES: Final = 1 << 20
"""A model definition has some 4 kB, a data.yaml of 20,000 classes 500 kB."""
JSON_BYTES: Final = 16 << 20
"""Headers of safetensors files, specs and sidecars."""
CFG_BYTES: Final = 1 << 20
PICKLE_BYTES: Final = 32 << 20
"""The pickle in a checkpoint, without the values of its tensors."""
ZIP_DIRECTORY_BYTES: Final = 4 << 20
"""The list of entries of a checkpoint; one of 10,000 tensors has 1 MB."""
ONNX_METADATA_BYTES: Final = 16 << 20

# Counts of parts; each part costs some 100 bytes and a microsecond.
YAML_VALUES: Final = 100_000
"""Keys and values in a YAML file, aliases counted as often as they are named."""
JSON_VALUES: Final = 200_000
"""The header of yolov4-p7 has some 20,000."""
DEPTH: Final = 64
"""Lists and mappings inside one another."""
OPCODES: Final = 750_000
"""Steps of a pickle; a whole checkpoint of yolov4-p7 with its optimizer has about 300,000."""
OBJECTS: Final = 150_000
"""Lists, mappings, sets and objects that a pickle makes."""
TENSORS: Final = 50_000
MODULE_PARTS: Final = 100_000
"""Modules, parameters and buffers of a pickled network, counted as often as they are reached."""
ONNX_FIELDS: Final = 10_000
"""Parts of the outermost message of an ONNX file."""
LARGEST: Final = 1_000_000_000
"""Any number of a ModelSpec."""
DIGITS: Final = 400
"""Characters of a number in a text: float64 needs up to 330."""

# What a model is.
CLASSES: Final = 32_768
NAME_LENGTH: Final = 1_000
LEVELS: Final = 16
ANCHORS: Final = 256
"""Anchors of a level."""
PIXELS: Final = 65_536
"""A side of an anchor in pixels."""
SIDE: Final = 8_192
"""A side of a network's input in pixels."""
STRIDE: Final = 1_024
BATCH: Final = 4_096
BATCH_PIXELS: Final = 1 << 27
"""Pixels of a batch of a fixed size."""
ROWS: Final = 10_000_000
"""Rows of an output."""
VALUES: Final = 1 << 24
"""Values of an input beside the images."""
LAYERS: Final = 1_024
"""Layers of a definition or a Darknet cfg, and blocks of a layer."""
CHANNELS: Final = 65_536
KERNEL: Final = 127
"""A side of a window."""
FACTOR: Final = 64
"""A stride or a factor of upsampling of one layer."""
PARAMETERS: Final = 600_000_000
"""Of a whole network; yolov4-p7 has 287 million."""


def is_integer(value: Any, low: int, high: int) -> bool:
    """Whether it is an int (no bool) from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(value: Any, low: float, high: float) -> bool:
    """Whether it is an int or a finite float (no bool) from `low` to `high`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and low <= value <= high and math.isfinite(value)


def brief(value: Any) -> str:
    """A short text of any value, for a message: nothing in a file can make it long or slow."""
    try:
        text = _SHORT.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"a value of type {type(value).__name__}"
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 200 else text[:197] + "..."


_SHORT: Final = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 60, 60, 60
