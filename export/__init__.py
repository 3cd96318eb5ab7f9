"""Exports: a model to ONNX and OpenVINO files that end in boxes and scores.

Importing this package loads neither torch nor ONNX; `export_model` does.
"""

from .api import ENGINES, ExportResult, export_model

__all__ = ["ENGINES", "ExportResult", "export_model"]
