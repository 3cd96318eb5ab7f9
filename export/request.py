"""Options of an export, sorted to where they belong."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import yolov4sdk
from yolov4sdk.errors import SettingError
from yolov4sdk.tensorrt.build_log import Progress

from .formats import FORMATS
from .options import ExportOptions, Int8Options
from .plan import Format, Request
from .sources import Source


def request_of(
    source: Source, format: Format, given: dict[str, Any], progress: Progress | None = None
) -> Request:
    """Sort the options and choose the precision.

    Raises:
        SettingError: an option that does not exist, that the format does not take, out of range.
        InputSizeError: a size that the strides do not allow.
    """
    rest = dict(given)
    graph = _taken(ExportOptions, rest)
    own = {kind: _taken(kind, rest) for kind in format.kinds}
    if rest:
        _refuse(rest, format)
    int8 = own.pop(Int8Options, {})
    made = {kind: kind(**values) for kind, values in own.items()}
    spec = source.spec
    if graph.get("precision") is None:
        graph["precision"] = spec.precision if spec.precision != "fp32" else format.precision
    elif graph["precision"] not in format.precisions:
        raise SettingError(
            f"precision must be one of {', '.join(format.precisions)} for {format.name}, got "
            f"{graph['precision']!r}"
        )
    options = ExportOptions(**graph | format.implied(spec, made))
    format.check_options(options)
    if not format.is_graph:
        options = replace(options, float_input=True, raw_outputs=True)
    return Request(
        source, options, source.artefact_spec(options, yolov4sdk.__version__), made,
        _int8(int8, format, options, spec.precision), progress,
    )  # fmt: skip


def _names(*kinds: Any) -> list[str]:
    return [entry.name for kind in kinds for entry in fields(kind)]


def _taken(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """Take the fields of a dataclass out of `given`."""
    return {name: given.pop(name) for name in _names(kind) if name in given}


def _refuse(rest: dict[str, Any], format: Format) -> None:
    """Raise SettingError for what is left: options of other formats, or of none."""
    names = ", ".join(sorted(rest))
    others = [f.name for f in FORMATS.values() if set(rest) <= set(_names(*f.kinds))]
    if others:
        raise SettingError(f"{names}: only for {', '.join(others)}, not for {format.name}")
    known = ", ".join(_names(ExportOptions, *format.kinds))
    raise SettingError(f"unknown options {names}; there are {known}")


def _int8(
    given: dict[str, Any], format: Format, options: ExportOptions, precision: str
) -> Int8Options | None:
    """How to quantise; None where that is not asked for, or the source is quantised already."""
    if options.precision != "int8" or precision == "int8":
        if given:
            raise SettingError(
                f"{', '.join(sorted(given))} belong to precision int8 of a float model, not to "
                f"{options.precision} of a {precision} one"
            )
        return None
    if given.get("calibration") is None:
        raise SettingError(
            "precision int8 needs images to calibrate with: a folder or a data set of pictures of "
            "the kind that the model will see (--calibration)"
        )
    return Int8Options(**{"qdq": format.qdq, **given})
