"""Readers and writers of YOLO, COCO and VOC labels, without torch."""

from __future__ import annotations

from yolov4sdk.datasets.dataset import DetectionDataset, check_splits
from yolov4sdk.datasets.headers import image_size
from yolov4sdk.datasets.load import find_images, find_splits, load_dataset
from yolov4sdk.datasets.report import DatasetReport
from yolov4sdk.datasets.write import write_dataset

__all__ = [
    "DatasetReport",
    "DetectionDataset",
    "check_splits",
    "find_images",
    "find_splits",
    "image_size",
    "load_dataset",
    "write_dataset",
]
