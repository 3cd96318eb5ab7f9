"""Tensors of the KServe v2 inference protocol, in JSON or with the binary extension.

A message is a JSON object, and behind it the raw bytes of the tensors that say so in their
`binary_data_size`, in the object's order. BYTES are the contents of files here: in JSON, which has
no bytes, they are base64.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import TensorError

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""The HTTP header that says how many bytes the JSON object takes where raw bytes follow it."""

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"), "UINT8": np.dtype("u1"), "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"), "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}  # fmt: skip
DATATYPES: Final[dict[np.dtype[Any], str]] = {dtype: name for name, dtype in DTYPES.items()}

ELEMENTS: Final = 10_000
"""Files in a tensor of BYTES at most: millions of empty ones would take seconds to split."""

Part = Literal["inputs", "outputs"]


def encode(
    header: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    part: Part,
    binary: Collection[str],
) -> tuple[bytes, int | None]:
    """Write a message.

    Args:
        header: the other members of the JSON object.
        tensors: arrays of a dtype in `DTYPES` by name; of bytes objects as dtype object.
        part: "inputs" of a request, "outputs" of an answer.
        binary: names of the tensors that go behind the JSON object as raw bytes; BYTES always do.

    Returns:
        The body, and the length of its JSON object where raw bytes follow, else None.

    Raises:
        TensorError: NaN or infinity, which JSON cannot hold, or a dtype that is not sent.
    """
    entries, raw = [], []
    for name, array in tensors.items():
        texts = array.dtype == object
        if not texts and array.dtype not in DATATYPES:
            raise TensorError(f"the tensor {name!r} of {array.dtype} cannot be sent")
        entry: dict[str, Any] = {
            "name": name,
            "datatype": "BYTES" if texts else DATATYPES[array.dtype],
            "shape": list(array.shape),
        }
        if texts or name in binary:
            data = _prefixed(array) if texts else np.ascontiguousarray(array).tobytes()
            entry["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise TensorError(f"the tensor {name!r} has NaN or infinity; ask for binary data")
            entry["data"] = array.ravel().tolist()
        entries.append(entry)
    text = json.dumps({**header, part: entries}, separators=(",", ":")).encode()
    return b"".join([text, *raw]), len(text) if raw else None


def decode(
    body: bytes, header_length: str | None, part: Part
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a message; every byte and number in it is checked.

    Args:
        body: the whole body.
        header_length: the value of the HTTP header `HEADER_LENGTH`, None when it is absent.
        part: which member holds the tensors.

    Returns:
        The JSON object without its tensors, and the arrays by name (BYTES as dtype object);
        numeric arrays from raw bytes share the body's memory and are read-only.

    Raises:
        TensorError: anything that contradicts the protocol or itself.
    """
    end = len(body)
    if header_length is not None:
        digits = header_length if len(header_length) <= 18 else "-"  # int() takes no more for long
        if not digits.isascii() or not digits.isdigit() or int(digits) > end:
            raise TensorError(
                f"{HEADER_LENGTH} must be a number of bytes up to the body's {end}, got "
                f"{header_length[:40]!r}"
            )
        end = int(header_length)
    header = _json_object(body[:end])
    entries = header.pop(part, None)
    if not isinstance(entries, list) or not entries:
        raise TensorError(f"{part!r} must be a list of at least one tensor")
    rest, tensors = memoryview(body)[end:], {}
    for entry in entries:
        name, array, used = _tensor(entry, rest, part)
        if name in tensors:
            raise TensorError(f"the tensor {name!r} is given twice")
        tensors[name], rest = array, rest[used:]
    if rest:
        raise TensorError(f"{len(rest)} bytes are left behind the last tensor")
    return header, tensors


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise TensorError(f"the body does not start with a JSON object: {reason}") from error
    if not isinstance(value, dict):
        raise TensorError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _tensor(entry: Any, rest: memoryview, part: str) -> tuple[str, NDArray[Any], int]:
    """Name and array of one tensor, and how many raw bytes it took."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise TensorError(f"each of {part!r} must be an object with a name")
    name, datatype, shape = entry["name"][:80], entry.get("datatype"), entry.get("shape")
    if datatype != "BYTES" and (not isinstance(datatype, str) or datatype not in DTYPES):
        raise TensorError(
            f"{name!r}: the datatype must be one of BYTES, {', '.join(DTYPES)}, got "
            f"{str(datatype)[:40]!r}"
        )
    if (
        not isinstance(shape, list)
        or len(shape) > 8
        or not all(type(v) is int and 0 <= v < 2**31 for v in shape)
    ):
        raise TensorError(f"{name!r}: the shape must be a list of up to 8 sizes")
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict):
        raise TensorError(f"{name!r}: 'parameters' must be an object")
    if unknown := sorted(set(parameters) - {"binary_data_size"}):
        raise TensorError(f"{name!r}: parameters not known here: {', '.join(unknown)[:200]}")
    size = parameters.get("binary_data_size")
    if (size is None) == ("data" not in entry):
        raise TensorError(f"{name!r} needs either 'data' or the parameter 'binary_data_size'")
    if size is None:
        flat = _from_json(entry["data"], datatype, name)
    elif type(size) is not int or not 0 <= size <= len(rest):
        raise TensorError(
            f"{name!r}: binary_data_size is {str(size)[:40]}, {len(rest)} bytes are there"
        )
    else:
        flat = _from_bytes(rest[:size], datatype, name)
    if flat.size != math.prod(shape):
        raise TensorError(f"{name!r}: {flat.size} values came for the shape {shape}")
    try:
        return name, flat.reshape(shape), size or 0
    except ValueError as error:  # no values, and other sizes beyond what an array can have
        raise TensorError(f"{name!r}: the shape {shape} is too large") from error


def _from_json(data: Any, datatype: str, name: str) -> NDArray[Any]:
    """Values as a flat array; JSON may nest them as the shape says, or give them flat."""
    if datatype == "BYTES":
        if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
            raise TensorError(f"{name!r}: BYTES in JSON are a flat list of strings")
        try:
            return _objects([base64.b64decode(text, validate=True) for text in data])
        except ValueError as error:
            raise TensorError(f"{name!r}: BYTES in JSON are read as base64: {error}") from error
    dtype = DTYPES[datatype]
    try:
        values = np.asarray(data)
    except (ValueError, OverflowError) as error:
        raise TensorError(f"{name!r}: the data are ragged or nested too deep") from error
    kinds = {"f": "iuf", "b": "b"}.get(dtype.kind, "iu")
    if values.size and values.dtype.kind not in kinds:
        raise TensorError(f"{name!r}: the data are not all numbers that fit {datatype}")
    if dtype.kind in "iu" and values.size:
        limits: Any = np.iinfo(dtype.name)
        if values.min() < limits.min or values.max() > limits.max:
            raise TensorError(f"{name!r}: {datatype} holds {limits.min} to {limits.max}")
    with np.errstate(over="ignore"):  # too large a number becomes infinity, as in C
        return values.astype(dtype).ravel()


def _from_bytes(data: memoryview, datatype: str, name: str) -> NDArray[Any]:
    if datatype == "BYTES":
        return _objects(_split(data, name))
    dtype = DTYPES[datatype]
    if len(data) % dtype.itemsize:
        raise TensorError(f"{name!r}: {len(data)} bytes are not a whole number of {datatype}")
    return np.frombuffer(data, dtype)


def _split(data: memoryview, name: str) -> list[bytes]:
    """BYTES elements: each behind its length, 4 bytes little-endian."""
    found: list[bytes] = []
    while data:
        length = int.from_bytes(data[:4], "little")
        if len(data) < 4 + length:
            raise TensorError(f"{name!r}: an element of {length} bytes is cut off")
        if len(found) == ELEMENTS:
            raise TensorError(f"{name!r}: more than {ELEMENTS:,} elements of BYTES")
        found.append(bytes(data[4 : 4 + length]))
        data = data[4 + length :]
    return found


def _prefixed(array: NDArray[Any]) -> bytes:
    return b"".join(len(item).to_bytes(4, "little") + item for item in array.ravel())


def _objects(items: list[bytes]) -> NDArray[Any]:
    array = np.empty(len(items), object)
    array[:] = items
    return array
