"""Readers of YOLO, COCO and PASCAL VOC labels, without torch."""

from __future__ import annotations

from yolov4sdk.datasets.dataset import DatasetReport, DetectionDataset, check_splits
from yolov4sdk.datasets.headers import image_size
from yolov4sdk.datasets.load import load_dataset

__all__ = [
    "DatasetReport",
    "DetectionDataset",
    "check_splits",
    "image_size",
    "load_dataset",
]
