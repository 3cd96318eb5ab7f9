"""Drawn images and their tables shown: in notebooks, in figures, in a window."""

from __future__ import annotations

import base64
import html as markup
import sys
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError
from .palette import palette
from .tables import Found

if TYPE_CHECKING:
    import matplotlib.axes

_SIDE: Final = 800
"""Pixels of a notebook's picture at most: its file holds every one."""
_ROWS: Final = 50


def html(found: Found, picture: NDArray[np.uint8] | None) -> str:
    """A picture, where there is one, and a table of the boxes.

    Args:
        picture: uint8 BGR [H, W, 3], drawn.
    """
    height, width = found.image_size
    count = f"{len(found)} detection{'' if len(found) == 1 else 's'}" if len(found) else "nothing"
    parts = [f"<p>{count} in an image of {width} x {height} pixels</p>"]
    if picture is not None:
        data = base64.b64encode(_encode(".jpg", picture)).decode()
        words = markup.escape(", ".join(dict.fromkeys(found.labels)) or "nothing found")
        parts.append(
            f'<img alt="{words}" style="max-width: 100%" src="data:image/jpeg;base64,{data}">'
        )
    if len(found):
        parts.append(_table(found))
    return "<div>" + "".join(parts) + "</div>"


def _table(found: Found) -> str:
    tracks, colors = found.track_ids, palette(len(found.names))
    heads = ["class", "score", "x1", "y1", "x2", "y2", *(["track"] if tracks is not None else [])]
    lines = ["<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for i, label in enumerate(found.labels[:_ROWS]):
        blue, green, red = colors[int(found.class_ids[i])]
        dot = f'<span style="color: #{red:02x}{green:02x}{blue:02x}">&#9632;</span> '
        cells = [f"{found.scores[i]:.3f}", *(f"{v:.1f}" for v in found.xyxy[i])]
        cells += [] if tracks is None else [str(tracks[i])]
        name = f'<td style="text-align: left">{dot}{markup.escape(label)}</td>'
        lines.append("<tr>" + name + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    more = len(found) - _ROWS
    return f"<table>{''.join(lines)}</table>" + (f"<p>and {more} more</p>" if more > 0 else "")


def png(picture: NDArray[np.uint8]) -> bytes:
    """A PNG file of a picture uint8 BGR [H, W, 3], made smaller where it is large."""
    return _encode(".png", picture)


def _encode(suffix: str, picture: NDArray[np.uint8]) -> bytes:
    if (scale := _SIDE / max(picture.shape[:2])) < 1:
        size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    options = [cv2.IMWRITE_JPEG_QUALITY, 85] if suffix == ".jpg" else []
    data: bytes = cv2.imencode(suffix, picture, options)[1].tobytes()
    return data


def show(picture: NDArray[np.uint8]) -> None:
    """In a notebook below the cell; elsewhere in a window, until it is closed.

    Args:
        picture: uint8 BGR [H, W, 3].

    Raises:
        SettingError: no display, or no Tk.
    """
    # Looked up, not imported: in a notebook IPython is running already.
    shell = sys.modules.get("IPython")
    running: Any = shell.get_ipython() if shell else None
    if running is not None and hasattr(running, "kernel"):
        from IPython.display import Image, display

        display(Image(data=png(picture)))
        return
    from .window import Window

    window = Window("yolov4sdk", "Showing a picture")
    window.show(picture)
    window.wait()


def plot(
    picture: NDArray[np.uint8], axes: matplotlib.axes.Axes | None = None
) -> matplotlib.axes.Axes:
    """A picture in a figure, without an axis.

    Args:
        picture: uint8 BGR [H, W, 3].
        axes: of a figure; None makes one.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    if axes is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise MissingExtraError("Plotting", "plot", "matplotlib") from error
        axes = pyplot.subplots(layout="constrained")[1]
    axes.imshow(picture[..., ::-1])
    axes.set_axis_off()
    return axes
