"""Detection as a step of a Ray Data pipeline: encoded images in, boxes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..detections import Detections
from ..detector import Detector
from ..errors import ImageError

if TYPE_CHECKING:
    import pyarrow


class BatchPredictor:
    """A callable for `ray.data.Dataset.map_batches`; it is picklable and loads its model once.

    ::

        ray.data.read_binary_files("s3://bucket/photographs", include_paths=True).map_batches(
            BatchPredictor, fn_constructor_kwargs={"model": "model.onnx"},
            batch_format="pyarrow", batch_size=32, compute=ray.data.ActorPoolStrategy(size=4))

    Args:
        model: as `Detector` takes it; a path must be readable where the actor runs.
        options: of `Detector`.
    """

    def __init__(self, model: Any = None, **options: Any) -> None:
        self._model, self._options = model, options
        self._detector: Detector | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the loaded model: it is loaded again where the predictor arrives."""
        return {**self.__dict__, "_detector": None}

    @property
    def detector(self) -> Detector:
        """Loaded at the first use."""
        if self._detector is None:
            self._detector = Detector(self._model, **self._options)
        return self._detector

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        """Detect in each row; an image that cannot be read gets an error and no detections.

        Args:
            table: a column `bytes` of encoded images; a row whose column `error` (optional) is
                set already is passed on.

        Returns:
            The table without `bytes`, with the columns of `result_schema`.

        Raises:
            YOLOv4Error: the model cannot be loaded or run.
        """
        import pyarrow

        errors = _column(table, "error")
        encoded = [
            data.as_py() or b""
            for data, error in zip(table["bytes"], errors, strict=True)
            if error is None
        ]
        found = (result for _, _, result in self.detector.detect_each(encoded, on_error="keep"))
        rows = [_row_of(next(found)) if error is None else failed_row(error) for error in errors]
        kept = table.select([c for c in table.column_names if c not in ("bytes", "error")])
        results = pyarrow.Table.from_pylist(rows, result_schema())
        for field, column in zip(results.schema, results.columns, strict=True):
            kept = kept.append_column(field, column)
        return kept


def _row_of(result: Detections | ImageError) -> dict[str, Any]:
    return failed_row(str(result)) if isinstance(result, ImageError) else row(result)


def row(found: Detections) -> dict[str, Any]:
    """One image's result as plain values; scores to 6 places, pixels to 3, as everywhere."""
    entries = found.to_dict()
    return {
        **entries["image"],
        "detections": [
            {key: d[key] for key in ("name", "class_id", "score")} | d["box"]
            for d in entries["detections"]
        ],
        "error": None,
    }


def failed_row(error: str) -> dict[str, Any]:
    """The result of an image that cannot be used."""
    return {"height": None, "width": None, "detections": [], "error": error}


def result_schema() -> pyarrow.Schema:
    """height, width (null for a broken image), detections, error (null for a good one)."""
    import pyarrow as pa

    box = [(side, pa.float64()) for side in ("x1", "y1", "x2", "y2")]
    detection = pa.struct(
        [("name", pa.string()), ("class_id", pa.int64()), ("score", pa.float64()), *box]
    )
    return pa.schema(
        [
            ("height", pa.int32()), ("width", pa.int32()),
            ("detections", pa.list_(detection)), ("error", pa.string()),
        ]
    )  # fmt: skip


def _column(table: pyarrow.Table, name: str) -> list[str | None]:
    if name not in table.column_names:
        return [None] * table.num_rows
    values: list[str | None] = table[name].to_pylist()
    return values
