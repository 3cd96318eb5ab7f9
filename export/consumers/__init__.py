"""Files for programs that read detectors by a contract of their own, one file a program.

A consumer is a row: what the graph has to take and give, how that program reads it, and the
configuration that it needs. A new one is a file here and a row in `CONSUMERS`.
"""

from __future__ import annotations

from typing import Final

from yolov4sdk.errors import SettingError
from yolov4sdk.system.bounds import brief

from . import deepstream, efficientnms, frigate, modelapi, ultralytics
from .base import Consumer

CONSUMERS: Final[dict[str, Consumer]] = {
    row.name: row
    for row in (
        frigate.CONSUMER, deepstream.CONSUMER, ultralytics.CONSUMER, efficientnms.CONSUMER,
        modelapi.CONSUMER,
    )
}  # fmt: skip
"""All rows by name."""


def consumer(name: str) -> Consumer:
    """The row of a name.

    Raises:
        SettingError: there is none; the message lists them.
    """
    if name not in CONSUMERS:
        raise SettingError(f"--for is one of {', '.join(CONSUMERS)}, got {brief(name)}")
    return CONSUMERS[name]
