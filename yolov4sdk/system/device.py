"""How a device is named."""

from __future__ import annotations

from numbers import Integral
from typing import Protocol

from ..errors import SettingError


class TorchDevice(Protocol):
    """A `torch.device`; its own type would have every checker read torch."""

    @property
    def type(self) -> str:
        """ "cpu", "cuda"."""
        ...

    @property
    def index(self) -> int | None:
        """Of the device."""
        ...


Device = str | int | TorchDevice


def device_name(device: object) -> str:
    """A device as the runtimes take it: 0 and "0" are "cuda:0", a `torch.device` is its name.

    Raises:
        SettingError: it is neither a name nor a number.
    """
    text = str(device).strip().lower() if type(device).__name__ == "device" else device
    if isinstance(text, Integral) and not isinstance(text, bool) and int(text) >= 0:
        return f"cuda:{int(text)}"
    if not isinstance(text, str):
        raise SettingError(f'device must be a name such as "cpu" or "cuda:1", got {device!r}')
    return f"cuda:{int(text)}" if text.isascii() and text.isdigit() else text
