"""A window for pictures, by Tk: OpenCV's headless build has none."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError


class Window:
    """Shows pictures until it is closed, or q or Escape is pressed.

    Args:
        title: of the window.
        what: was asked for, as the start of messages ("--show").

    Raises:
        SettingError: Tk or a display is missing.
    """

    def __init__(self, title: str, what: str) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise SettingError(
                f"{what} needs Tk, which this Python lacks: apt install python3-tk (Debian), brew "
                "install python-tk (macOS); or look at the written result instead"
            ) from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise SettingError(
                f"{what} needs a display ({error}); on a remote machine use ssh -X, or look at the "
                "written result instead"
            ) from error
        self.open: bool = True
        self._tk = tkinter
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self._leave)
        self._root.bind("<Escape>", self._leave)
        self._root.bind("q", self._leave)
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._photo: Any = None  # Tk holds no reference of its own

    def show(self, image: NDArray[np.uint8]) -> None:
        """Show a picture, uint8 BGR [H, W, 3]."""
        height, width = image.shape[:2]
        ppm = b"P6 %d %d 255\n" % (width, height) + image[:, :, ::-1].tobytes()
        self._photo = self._tk.PhotoImage(data=ppm, format="PPM")
        self._label.configure(image=self._photo)
        self._root.update()

    def wait(self) -> None:
        """Return when the window has been closed, and take it away."""
        while self.open:
            self._root.update()
            time.sleep(0.02)
        self.close()

    def close(self) -> None:
        """Take the window away."""
        self._root.destroy()

    def _leave(self, _event: Any = None) -> None:
        self.open = False
