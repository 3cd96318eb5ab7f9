"""Every error that the SDK raises on purpose.

::

    YOLOv4Error
    ├── ArtefactError              a model file cannot be used
    │   ├── ArtefactNotFoundError  (also FileNotFoundError)
    │   ├── EmptyFileError         zero bytes
    │   ├── TruncatedFileError     shorter than its own header says, or cut off
    │   ├── ForeignFileError       not a format that is read here
    │   ├── UnsafePickleError      a pickle asks for something outside the allow-list
    │   ├── StateDictError         keys or shapes that do not fit the model
    │   ├── WeightsCountError      Darknet weights that do not belong to the cfg
    │   ├── EngineMismatchError    an engine for another machine, or one that cannot be trusted
    │   └── SpecError              no ModelSpec inside, or one that contradicts itself
    │       └── NamesError         class names do not fit the head
    ├── ModelConfigError           a model YAML or Darknet cfg is wrong
    ├── ImageError                 an image cannot be used
    │   ├── ImageNotFoundError     (also FileNotFoundError)
    │   ├── ImageDecodeError       bytes that are not an image, or a broken one
    │   ├── EmptyImageError        height or width of zero
    │   ├── ImageTooLargeError     more pixels than allowed
    │   ├── ImageFormatError       wrong type, dtype or shape
    │   └── NonFiniteImageError    NaN or infinite pixels
    ├── VideoError                 a video or stream cannot be read
    │   ├── VideoNotFoundError     (also FileNotFoundError) nothing there, or no access
    │   ├── VideoDecodeError       no video in it, or none that can be decoded
    │   └── StreamTimeoutError     (also TimeoutError) did not start, or come back, in time
    ├── InputSizeError             a network size that the strides or the graph do not allow
    ├── TensorError                a batch of the wrong dtype or shape given to a backend
    ├── UnknownClassError          a class filter that names no class of the model
    ├── SettingError               an option outside its range, or options that exclude each other
    ├── MissingExtraError          (also ImportError) an optional package is not installed
    ├── BackendError               a runtime failed to load or run a model
    │   └── DeviceError            the device or execution provider asked for is not there
    ├── ExportError                an export failed
    │   ├── VerificationError      an exported file does not agree with its source
    │   └── NonFiniteOutputError   the source itself gives NaN or infinite values
    ├── OutputError                results cannot be written (also OSError)
    ├── DatasetError               a data set cannot be read
    └── TrainingError              training cannot start or go on
        └── NonFiniteLossError     the loss became NaN or infinite
"""

from __future__ import annotations

from collections.abc import Sequence


class YOLOv4Error(Exception):
    """Base of every error raised on purpose by the SDK."""


class ArtefactError(YOLOv4Error):
    """A model file cannot be used."""


class ArtefactNotFoundError(ArtefactError, FileNotFoundError):
    """The model file does not exist."""


class EmptyFileError(ArtefactError):
    """The model file has zero bytes."""


class TruncatedFileError(ArtefactError):
    """The model file ends before its own structure says it should."""


class ForeignFileError(ArtefactError):
    """The file is not of a format that is read here."""


class UnsafePickleError(ArtefactError):
    """A pickle asks for a class or function outside the allow-list; nothing of it was run."""


class StateDictError(ArtefactError):
    """Weights whose keys or shapes do not fit the model.

    Attributes:
        missing: keys of the model that the weights lack.
        unexpected: keys of the weights that the model lacks.
        misshaped: "key: shape in the file, shape in the model".
    """

    def __init__(
        self,
        source: str,
        missing: Sequence[str],
        unexpected: Sequence[str],
        misshaped: Sequence[str],
    ) -> None:
        self.missing: Sequence[str]
        self.unexpected: Sequence[str]
        self.misshaped: Sequence[str]
        self.missing, self.unexpected, self.misshaped = missing, unexpected, misshaped
        lines = [f"{source}: the weights do not fit the model"]
        for kind, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("misshaped", misshaped),
        ):
            if keys:
                more = f", and {len(keys) - 8} more" if len(keys) > 8 else ""
                lines.append(f"  {len(keys)} {kind}: {', '.join(keys[:8])}{more}")
        super().__init__("\n".join(lines))


class WeightsCountError(ArtefactError):
    """A Darknet .weights file with more values than its cfg needs."""


class EngineMismatchError(ArtefactError):
    """An engine was built for another machine or runtime, or nothing says what it is."""


class SpecError(ArtefactError):
    """The ModelSpec is missing from a file, is unreadable or contradicts itself."""


class NamesError(SpecError):
    """The class names do not fit the number of classes of the head."""


class ModelConfigError(YOLOv4Error, ValueError):
    """A model definition (YAML or Darknet cfg) is wrong."""


class ImageError(YOLOv4Error):
    """An image cannot be used."""


class ImageNotFoundError(ImageError, FileNotFoundError):
    """The image file does not exist."""


class ImageDecodeError(ImageError):
    """Bytes that are not an image, or a broken one."""


class EmptyImageError(ImageError):
    """An image whose height or width is zero."""


class ImageTooLargeError(ImageError):
    """An image with more pixels than allowed."""


class ImageFormatError(ImageError, TypeError):
    """An image object of a type, dtype or shape that is not read."""


class NonFiniteImageError(ImageError, ValueError):
    """An image with NaN or infinite pixels."""


class VideoError(YOLOv4Error):
    """A video or a stream cannot be read."""


class VideoNotFoundError(VideoError, FileNotFoundError):
    """There is no such video, camera or stream, or no access to it."""


class VideoDecodeError(VideoError):
    """A file without video, or without a frame that can be decoded."""


class StreamTimeoutError(VideoError, TimeoutError):
    """A live source did not start, or did not come back, in time."""


class InputSizeError(YOLOv4Error, ValueError):
    """A network size that the strides or the graph do not allow."""


class TensorError(YOLOv4Error, ValueError):
    """A batch of the wrong dtype or shape was given to a backend."""


class UnknownClassError(YOLOv4Error, ValueError):
    """A class filter names a class that the model does not have."""


class SettingError(YOLOv4Error, ValueError):
    """An option is outside its range, or options exclude each other."""


class MissingExtraError(YOLOv4Error, ImportError):
    """An optional package is not installed; the message names the pip command."""

    def __init__(self, what: str, extra: str, package: str | None = None, hint: str = "") -> None:
        """
        Args:
            what: what was asked for, as the start of a sentence ("The ONNX Runtime backend").
            extra: the extra of yolov4sdk that brings it.
            package: the package that failed to import, when it helps to know.
            hint: an alternative, put behind the command in brackets.
        """
        self.extra = extra
        more = f" ({hint})" if hint else ""
        missing = f" ({package} is not installed)" if package else ""
        super().__init__(f'{what} needs an extra{missing}: pip install "yolov4sdk[{extra}]"{more}')


class BackendError(YOLOv4Error, RuntimeError):
    """A runtime failed to load or to run a model."""


class DeviceError(BackendError):
    """The device or execution provider that was asked for is not there."""


class ExportError(YOLOv4Error, RuntimeError):
    """An export failed."""


class VerificationError(ExportError):
    """An exported file does not agree with the model it came from."""


class NonFiniteOutputError(ExportError):
    """The source of an export gives NaN or infinite values itself; the message says from where."""


class OutputError(YOLOv4Error, OSError):
    """Results cannot be written: a full disk, no permission."""


class DatasetError(YOLOv4Error, ValueError):
    """A data set cannot be read."""


class TrainingError(YOLOv4Error, RuntimeError):
    """Training cannot start or go on."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite."""
