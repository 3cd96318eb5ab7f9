"""The whole trainer can learn: it memorises eight images."""

from __future__ import annotations

import shutil

import pytest
import torch

from tests.train.synthetic import quick, write_dataset
from train.main import train
from train.validate import validate
from yolov4sdk.datasets import load_dataset
from yolov4sdk.models.checkpoints import load_checkpoint

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
GPU = (pytest.mark.gpu, NO_GPU)


@pytest.mark.parametrize(
    ("device", "amp"),
    [
        ("cpu", "off"),
        *(pytest.param("cuda", amp, marks=GPU) for amp in ("off", "bf16", "fp16")),
    ],
)
def test_eight_images_are_learnt_by_heart(tmp_path, device, amp):
    """8 images at 192 px to mAP50 > 0.95 in 220 steps, mosaic off, warm-up and EMA shortened."""
    data = write_dataset(tmp_path / "data", train=8, val=0, side=192)
    for kind in ("images", "labels"):  # judged on copies: the same files twice are refused
        folder = tmp_path / "data" / kind
        shutil.copytree(folder / "train", folder / "val", dirs_exist_ok=True)
    settings = quick(
        data, tmp_path / "run", size=192, batch=4, nominal_batch=4, epochs=110,
        mosaic=0.0, translate=0.0, scale=0.0, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0, fliplr=0.0,
        optimizer="adam", lr=0.003, lr_final=0.01, warmup_epochs=5, warmup_iterations=5,
        ema_decay=0.9, ema_tau=5, hard_epochs=0, ramp_epochs=30, val_interval=110,
        device=device, amp=amp,
    )  # fmt: skip
    position = train(settings)
    assert position.updates <= 300
    model = load_checkpoint(tmp_path / "run" / "last.safetensors")
    # On the canvas it was trained on: what is memorised does not carry over to a wider one.
    result = validate(
        model, load_dataset(data, "val"), 192, 8, torch.device("cpu"), rectangular=False
    )
    assert result.ap50 > 0.95
