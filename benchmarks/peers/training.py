"""Images a second of ultralytics' trainer: `python training.py DATA MODEL SIZE BATCH EPOCHS`.

The last line is JSON: seconds of each epoch but the first, and the images of an epoch.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true")


def main() -> None:
    """Train from scratch with the defaults of the project, and time its epochs."""
    import ultralytics

    data, model = sys.argv[1:3]
    size, batch, epochs = map(int, sys.argv[3:6])
    begun: list[float] = []
    ended: list[float] = []
    images = 0

    def at_start(trainer: Any) -> None:
        nonlocal images
        images = len(trainer.train_loader.dataset)
        begun.append(time.perf_counter())

    trained = ultralytics.YOLO(f"{model}.yaml")
    trained.add_callback("on_train_epoch_start", at_start)
    trained.add_callback("on_train_epoch_end", lambda _: ended.append(time.perf_counter()))
    with tempfile.TemporaryDirectory() as folder:
        trained.train(
            data=data, imgsz=size, batch=batch, epochs=epochs, device="cpu", workers=1,
            cache="ram", pretrained=False, val=False, plots=False, save=False, project=folder,
        )  # fmt: skip
    seconds = [after - before for before, after in zip(begun, ended, strict=True)][1:]
    version = ultralytics.__version__
    print(json.dumps({"seconds": seconds, "images": images, "version": version}))


if __name__ == "__main__":
    main()
