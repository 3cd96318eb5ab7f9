"""What a graph takes and gives: the one description of it, for every runtime and every consumer.

A `GraphContract` is data. How raw outputs become candidates is a convention's function
(`yolov4sdk.conventions`); how an image becomes an input is in `yolov4sdk.imaging.preprocess`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..system.bounds import brief
from .sizes import Size as Size
from .sizes import check_size as check_size

Layout = Literal["NCHW", "NHWC", "CHW"]
Dtype = Literal["float32", "float16", "uint8"]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Resize:
    """How an image of any size fills the network's canvas.

    Attributes:
        policy: "letterbox" keeps the aspect and centres the image, "letterbox-top-left" puts it
            there, "stretch" does not keep the aspect; "shortest-side" scales the short side to
            `shortest`, the long one to `longest` at most, and the canvas is as large as that needs.
        pad: grey value of the border, 0..255.
        rounding: of the resized sides, to the "nearest" pixel or "down".
        interpolation: of the pixels.
        antialias: average over source pixels when shrinking.
        margin: pixels of the canvas's height and of its width that stay free of the image.
        shortest, longest: pixels, for "shortest-side".
    """

    policy: Literal["letterbox", "letterbox-top-left", "stretch", "shortest-side"] = "letterbox"
    pad: int = 114
    rounding: Literal["nearest", "down"] = "nearest"
    interpolation: Literal["linear", "cubic", "area", "nearest"] = "linear"
    antialias: bool = False
    margin: int = 0
    shortest: int | None = None
    longest: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.pad <= 255 or self.margin < 0:
            raise SpecError(f"pad is 0 to 255 and margin at least 0; got {self.pad}, {self.margin}")
        if (self.policy == "shortest-side") != (self.shortest is not None):
            raise SpecError('"shortest-side" and `shortest` go together')


@dataclass(frozen=True)
class ExtraInput:
    """An input beside the images.

    Graphs that scale boxes to the source image get values with which they stay in input pixels:
    the way back is the same for all, and one batch holds images of any sizes.

    Attributes:
        name: of the tensor.
        value: "scale" is [B, 2] of ones; "size_hw" and "size_wh" are [B, 2] with the sides of the
            canvas; "mask" is [B, *shape] of ones, of the canvas's size where `shape` is empty.
        dtype: of the tensor.
        shape: of a "mask", without the batch; of another size than the canvas's.
    """

    name: str
    value: Literal["scale", "size_hw", "size_wh", "mask"]
    dtype: Literal["float32", "int64", "int32", "bool"] = "float32"
    shape: tuple[int, ...] = ()

    def array(self, batch: int, size: Size) -> NDArray[Any]:
        """The tensor for a batch of canvases of (height, width)."""
        if self.value == "scale":
            return np.ones((batch, 2), self.dtype)
        if self.value == "mask":
            return np.ones((batch, *(self.shape or size)), self.dtype)
        sides = size if self.value == "size_hw" else size[::-1]
        return np.tile(np.asarray(sides, self.dtype), (batch, 1))


@dataclass(frozen=True)
class InputContract:
    """What a graph takes: (pixel * scale - mean) / std of resized images.

    Attributes:
        name: of the tensor.
        layout: "NCHW" or "NHWC"; "CHW" is one image without an axis for the batch.
        dtype: of the tensor.
        color: order of the channels.
        scale: of the pixels 0..255, before mean and std.
        mean, std: of the channels, in the order of `color`.
        resize: from an image to the canvas.
        size: (height, width) in pixels: the only one of a fixed graph, else the usual one.
        dynamic: whether other sizes are taken.
        multiple: height and width are multiples of this.
        extra: inputs beside the images.
    """

    name: str = "images"
    layout: Layout = "NCHW"
    dtype: Dtype = "float32"
    color: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1 / 255
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    resize: Resize = field(default_factory=Resize)
    size: Size = (640, 640)
    dynamic: bool = True
    multiple: int = 32
    extra: tuple[ExtraInput, ...] = ()

    def __post_init__(self) -> None:
        if self.multiple < 1 or min(self.std) <= 0 or self.scale <= 0:
            raise SpecError("multiple, scale and std of an input must be positive")
        if self.dtype == "uint8" and (self.scale, self.mean, self.std) != (1, (0,) * 3, (1,) * 3):
            raise SpecError("a uint8 input takes pixels as they are: scale 1, mean 0, std 1")
        self.check_size(self.size)

    @property
    def planar(self) -> bool:
        """Whether the channels come before height and width."""
        return self.layout != "NHWC"

    @property
    def form(self) -> str:
        """In words: "float32 RGB [B, 3, H, W]"."""
        axes = {"NCHW": "[B, 3, H, W]", "NHWC": "[B, H, W, 3]", "CHW": "[1, 3, H, W]"}
        return f"{self.dtype} {self.color} {axes[self.layout]}"

    @property
    def plain(self) -> bool:
        """Whether it is one of our own forms: RGB, 0..1 or uint8, letterboxed in the centre."""
        own = float_input() if self.dtype == "float32" else uint8_input()
        fields = ("layout", "dtype", "color", "scale", "mean", "std", "resize", "extra")
        return all(getattr(self, name) == getattr(own, name) for name in fields)

    def check_size(self, size: Sequence[int]) -> Size:
        """`size` as (height, width); InputSizeError unless both are multiples of `multiple`."""
        return check_size(size, self.multiple)

    def shape(self, batch: int, size: Size) -> tuple[int, int, int, int]:
        """Of a batch of canvases of (height, width)."""
        return (batch, 3, *size) if self.planar else (batch, *size, 3)

    def canvas_of(self, shape: Sequence[int]) -> Size:
        """(height, width) in a batch's shape."""
        height, width = shape[2:4] if self.planar else shape[1:3]
        return int(height), int(width)

    def feeds(self, batch: Any) -> dict[str, Any]:
        """All inputs by name, for a batch in the form of `shape`."""
        images = {self.name: batch[0] if self.layout == "CHW" else batch}
        if not self.extra:
            return images
        size = self.canvas_of(batch.shape)
        return images | {one.name: one.array(len(batch), size) for one in self.extra}


def float_input(**changes: Any) -> InputContract:
    """Our own usual input: float32 RGB [B, 3, H, W] in 0..1."""
    return InputContract(**changes)


def uint8_input(**changes: Any) -> InputContract:
    """Our own input that is normalised in the graph: uint8 RGB [B, H, W, 3]."""
    return InputContract(layout="NHWC", dtype="uint8", scale=1.0, **changes)


Role = Literal["boxes", "scores", "objectness", "labels", "count", "packed"]
Column = Literal["box", "objectness", "scores", "score", "label", "image"]
BoxCode = Literal[
    "xyxy", "yxyx", "cxcywh", "grid-exp", "dfl", "anchors-sigmoid", "anchors-exp"
]  # fmt: skip


@dataclass(frozen=True)
class OutputTensor:
    """One output of a graph.

    Attributes:
        role: what it holds; "packed" holds several things in its columns.
        name: in the graph; or
        position: among the graph's outputs, where names are not stable.
        axes: a letter an axis: B batch, N rows, C columns, 1 an axis of length one, and of maps
            that are not flattened yet A anchors, H, W, and K anchors times columns. Without B the
            outputs are those of one image, or rows that name their image.
        columns: of "packed", in order; "box" takes as many as the box code needs, "scores" one a
            class.
        level: index into `OutputContract.grid`, where each level has tensors of its own.
    """

    role: Role
    name: str | None = None
    position: int | None = None
    axes: str = "BNC"
    columns: tuple[Column, ...] = ()
    level: int | None = None

    def __post_init__(self) -> None:
        if (self.name is None) == (self.position is None):
            raise SpecError(f"the output {self.role!r} needs either a name or a position")
        letters = self.axes.replace("1", "")
        if set(letters) - set("BNCAHWK") or len(set(letters)) != len(letters):
            raise SpecError(f"axes are letters of B, N, C, 1, A, H, W, K, got {brief(self.axes)}")
        if (self.role == "packed") != bool(self.columns):
            raise SpecError("columns belong to packed outputs")


@dataclass(frozen=True)
class OutputContract:
    """What a graph gives.

    Attributes:
        convention: name of the function from these tensors to candidates.
        tensors: by role.
        box: how four or more numbers are a box: corners, centre and size, "grid-exp" ((p + cell)
            and exp(p), times the stride), "dfl" (distributions of the distances to the four sides,
            in strides), or offsets to `anchors` ("anchors-sigmoid": (2s)^2 times the anchor,
            "anchors-exp": exp).
        unit: "input" is pixels of the network's input, "fraction" is 0..1 of it.
        activation: still to be done on scores (and objectness).
        score: what a row scores for a class.
        selection: "rows": each row is a candidate with a score for every class; "topk": the best
            `topk` pairs of row and class; "given": rows come with one score and one label.
        topk: pairs, for selection "topk".
        background: a class that is not an object, dropped after the activation.
        class_offset: label (or column) of the first name.
        class_ids: label (or column) of each name, where they do not follow one another.
        classes: number of names.
        suppression: still to be done "class-wise" or "agnostic" of the class, done "in graph", or
            "none" is needed.
        unused: how rows that say nothing are marked: score 0, a negative label or image, or a
            `count` of those that are used.
        rows: how many an image has; None where it depends on the size, or is not known.
        grid: (stride in pixels, boxes a cell) of each level in the order of the rows, where they
            come from grids of cells.
        bins: of a "dfl" distribution.
        centre: where the centre of a cell lies, in cells, for "dfl".
        anchors: (width, height) pairs in pixels of each level.
        xy_scale: of each level, of the sigmoid of a centre ("scale_x_y" of Darknet).
    """

    convention: str
    tensors: tuple[OutputTensor, ...]
    classes: int
    box: BoxCode = "xyxy"
    unit: Literal["input", "fraction"] = "input"
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    score: Literal["class", "objectness*class", "objectness"] = "class"
    selection: Literal["rows", "topk", "given"] = "rows"
    topk: int | None = None
    background: Literal["none", "first", "last"] = "none"
    class_offset: int = 0
    class_ids: tuple[int, ...] | None = None
    suppression: Literal["class-wise", "agnostic", "in graph", "none"] = "class-wise"
    unused: Literal["none", "zeros", "negative", "count"] = "none"
    rows: int | None = None
    grid: tuple[tuple[int, int], ...] = ()
    bins: int | None = None
    centre: float = 0.0
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    xy_scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rows", "topk", "bins", "classes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SpecError(f"{name} must be positive, got {value}")
        if self.class_ids is not None and len(self.class_ids) != self.classes:
            raise SpecError(f"{len(self.class_ids)} class_ids for {self.classes} classes")
        if (self.selection == "topk") != (self.topk is not None):
            raise SpecError('selection "topk" and its number go together')

    @property
    def per_class(self) -> bool:
        """Whether a candidate has a score for every class, not one score and a class."""
        return self.selection == "rows"

    @property
    def suppressed(self) -> bool:
        """Whether no overlapping candidates are left to suppress."""
        return self.suppression in ("in graph", "none")

    def count(self, size: Size) -> int | None:
        """Rows for an input of (height, width) pixels; None where that is not known."""
        return grid_rows(self.grid, size) if self.rows is None and self.grid else self.rows


@dataclass(frozen=True)
class GraphContract:
    """What a graph takes and gives.

    Attributes:
        batch: the only batch size of the graph, None when any is accepted.
    """

    input: InputContract
    output: OutputContract
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise SpecError(f"batch must be a positive integer, got {self.batch}")

    def rows(self, size: Size | None = None) -> int | None:
        """Rows an image, at (height, width) or at any size; None where they differ."""
        if size is None:
            size = None if self.input.dynamic else self.input.size
        return self.output.rows if size is None else self.output.count(size)


OUTPUTS: Final = {"boxes": "float32", "scores": "float32", "class_ids": "int64"}
"""Names and dtypes of our own outputs; `class_ids` only where rows have one class."""
FORMS: Final = ("full", "best", "topk", "nms")


def grid_rows(grid: Sequence[tuple[int, int]], size: Size) -> int:
    """Boxes of all cells: `grid` has (stride, boxes a cell) of each level."""
    return sum(boxes * -(-size[0] // s) * -(-size[1] // s) for s, boxes in grid)


def own_output(
    form: str,
    classes: int,
    rows: int | None = None,
    grid: tuple[tuple[int, int], ...] = (),
) -> OutputContract:
    """Our own outputs: "full" and "best" (a score for every class), "topk" and "nms" (rows with
    one class)."""
    boxes = OutputTensor("boxes", "boxes")
    if form in ("full", "best"):
        return OutputContract(
            form, (boxes, OutputTensor("scores", "scores")), classes, rows=rows,
            grid=grid if form == "full" else (), unused="none" if form == "full" else "zeros",
        )  # fmt: skip
    return OutputContract(
        form,
        (
            boxes,
            OutputTensor("scores", "scores", axes="BN"),
            OutputTensor("labels", "class_ids", axes="BN"),
        ),
        classes,
        selection="given",
        suppression="in graph" if form == "nms" else "class-wise",
        unused="zeros",
        rows=rows,
    )


def decoded(contract: GraphContract) -> GraphContract:
    """The contract of what a convention's function makes of the outputs: one of our own forms."""
    output = contract.output
    if output.convention in FORMS:
        return contract
    if output.per_class:
        own = own_output("full", output.classes, output.rows, output.grid)
    else:
        form = "nms" if output.suppressed else "topk"
        own = own_output(form, output.classes, output.topk or output.rows)
    return GraphContract(
        contract.input, replace(own, suppression=output.suppression), contract.batch
    )


def output_shapes(contract: GraphContract, size: Size | None = None) -> dict[str, tuple[int, ...]]:
    """Name to shape, without the batch, of our own outputs; -1 where it is not fixed."""
    rows = contract.rows(size) or -1
    if contract.output.per_class:
        return {"boxes": (rows, 4), "scores": (rows, contract.output.classes)}
    return {"boxes": (rows, 4), "scores": (rows,), "class_ids": (rows,)}
