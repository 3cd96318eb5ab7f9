"""Names that were published once stay importable from where they were."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module

import pytest

import yolov4sdk

from .conftest import REPOSITORY

FORMER = re.findall(
    r"\S+",
    """
    yolov4sdk.detector.Detector
    yolov4sdk.detections.Detections
    yolov4sdk.images.read_image
    yolov4sdk.streaming.Stream
    yolov4sdk.streaming.Frame
    yolov4sdk.video_writer.VideoWriter
    yolov4sdk.tracking.Tracker
    yolov4sdk.tiling.Tiling
    yolov4sdk.regions.Regions
    yolov4sdk.anonymise.anonymise
    yolov4sdk.batch_predictor.BatchPredictor
    yolov4sdk.spec.ModelSpec
    yolov4sdk.models.official.import_official
    yolov4sdk.models.darknet.import_darknet
    yolov4sdk.models.checkpoints.load_checkpoint
    yolov4sdk.models.checkpoints.save_checkpoint
    export.api.export_model
    export.api.ExportResult
    yolov4sdk.backends.load_backend
    yolov4sdk.backends.base.Backend
    yolov4sdk.backends.base.Outputs
    yolov4sdk.preprocess.letterbox_plan
    yolov4sdk.preprocess.Letterbox
    yolov4sdk.postprocess.nms
    yolov4sdk.verify.compare_artefacts
    yolov4sdk.verify.Agreement
    yolov4sdk.evaluation.evaluate
    yolov4sdk.evaluation.EvaluationResult
    yolov4sdk.datasets.load.load_dataset
    train.main.train
    train.main.resume
    train.settings.TrainSettings
    """,
)
"""docs/api.md before the modules moved into folders."""
TODAY = re.findall(r"^::: (\S+)", (REPOSITORY / "docs/api.md").read_text(), re.MULTILINE)


def found(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    loaded = import_module(module)
    return getattr(loaded, attribute) if hasattr(loaded, attribute) else import_module(name)


@pytest.mark.parametrize("name", FORMER)
def test_a_former_name_is_the_object_of_today(name: str) -> None:
    last = name.rpartition(".")[2]
    (today,) = (other for other in TODAY if other.rpartition(".")[2] == last)
    assert found(name) is found(today)


def test_the_package_offers_its_public_names() -> None:
    assert yolov4sdk.read_image is found("yolov4sdk.images.read_image")
    assert set(yolov4sdk.__all__) <= set(dir(yolov4sdk))
    text = (REPOSITORY / "docs/api.md").read_text()
    assert {f"`{name}`" for name in yolov4sdk.__all__ if name != "__version__"} <= set(
        re.findall(r"`\w+`", text)
    )


def test_a_former_name_can_come_first() -> None:
    """In a fresh interpreter, where nothing has loaded the module by today's name."""
    code = (
        "import pickle, yolov4sdk.spec as old, yolov4sdk.engines.options; "
        "from yolov4sdk.contract import spec; from yolov4sdk.images import read_image; "
        "assert old is spec and pickle.loads(pickle.dumps(old.ModelSpec)) is spec.ModelSpec; "
        "assert spec.__spec__.name == spec.__name__ == 'yolov4sdk.contract.spec'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
