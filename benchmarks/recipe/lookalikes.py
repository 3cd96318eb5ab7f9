"""A drawn data set of six classes that look alike: python -m benchmarks.recipe.lookalikes FOLDER.

Signs with a letter or digit and tick marks, as on cards, plates and dials, with blur, rotation and
occlusion. Test pictures have other fonts and backgrounds than those for training and validation.
The fonts are those that come with matplotlib.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Array = NDArray[Any]

NAMES = ("3", "8", "B", "S", "6", "G")
_TRAINING = ("DejaVuSans-Bold", "DejaVuSans", "DejaVuSerif", "STIXGeneralBol")
FONTS = {
    "train": _TRAINING, "val": _TRAINING, "test": ("DejaVuSansMono-Bold", "DejaVuSerif-Bold"),
}  # fmt: skip
TONES = {"train": (30, 150), "val": (30, 150), "test": (80, 210)}  # of backgrounds
_SIGN = 160  # pixels of a sign's longer side before it is scaled
_SEED = {"train": 11, "val": 12, "test": 13}


def sign(rng: np.random.Generator, kind: int, split: str) -> Array:
    """One sign, uint8 BGR [160, 128, 3]."""
    height, width = _SIGN, _SIGN * 4 // 5
    face = rng.integers(0, 256, 3)
    dark = face.sum() > 380
    ink = tuple(int(v) for v in (rng.integers(0, 70, 3) if dark else rng.integers(190, 256, 3)))
    image = Image.new("RGB", (width, height), tuple(int(v) for v in face))
    draw = ImageDraw.Draw(image)
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{rng.choice(FONTS[split])}.ttf")
    font = ImageFont.truetype(file, int(rng.integers(110, 150)))
    draw.text((width / 2, height / 2), NAMES[kind], font=font, fill=ink, anchor="mm")
    if rng.random() < 0.5:
        draw.rectangle((3, 3, width - 4, height - 4), outline=ink, width=3)
    for x in range(16, width, int(rng.integers(12, 30))):  # tick marks, which say nothing
        draw.line((x, 0, x, int(rng.integers(4, 12))), fill=ink, width=2)
    return np.array(image)[:, :, ::-1]


def background(rng: np.random.Generator, split: str, size_hw: tuple[int, int]) -> Array:
    """Clouds, grain and sometimes stripes; float32 [H, W, 3]."""
    height, width = size_hw
    low = rng.normal(0, 25, (*rng.integers(3, 9, 2), 3)).astype(np.float32)
    image = cv2.resize(low, (width, height), interpolation=cv2.INTER_CUBIC)
    image += rng.integers(*TONES[split], 3).astype(np.float32)
    grain = rng.normal(0, rng.uniform(2, 12), (height // 2, width // 2)).astype(np.float32)
    image += cv2.resize(grain, (width, height))[:, :, None]
    if rng.random() < (0.3 if split != "test" else 0.6):
        turn, step = rng.uniform(0, math.tau), rng.uniform(3, 25)
        y, x = np.mgrid[:height, :width]
        image += (18 * np.sin((x * math.cos(turn) + y * math.sin(turn)) / step))[:, :, None]
    clouds: Array = image
    return clouds


def picture(
    rng: np.random.Generator, split: str, size_hw: tuple[int, int]
) -> tuple[Array, list[tuple[float, ...]]]:
    """One picture, uint8 BGR, and its rows: class, centre x, y, width, height, normalised."""
    height, width = size_hw
    image, taken = background(rng, split, size_hw), np.zeros(size_hw, np.uint8)
    rows: list[tuple[float, ...]] = []
    for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1]))):
        kind, side = int(rng.integers(len(NAMES))), rng.uniform(0.35, 0.7) * height
        flat = sign(rng, kind, split)
        h, w = flat.shape[:2]
        corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2 * side / h
        corners *= 1 + rng.uniform(-0.1, 0.1, (4, 2))
        turn = math.radians(rng.normal(0, 12))
        cos, sin = math.cos(turn), math.sin(turn)
        middle = rng.uniform(0.2, 0.8, 2) * (width, height)
        corners = corners @ np.array([[cos, sin], [-sin, cos]]) + middle
        mask = cv2.fillConvexPoly(np.zeros(size_hw, np.uint8), corners.astype(np.int32), 1)
        if (mask & taken).sum() > 0.3 * mask.sum():  # of the one below
            continue
        taken |= mask
        source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
        matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
        warped = cv2.warpPerspective(flat, matrix, (width, height), flags=cv2.INTER_AREA)
        image = np.where(mask[:, :, None] > 0, warped.astype(np.float32), image)
        low, high = (np.clip(v, 0, (width, height)) for v in (corners.min(0), corners.max(0)))
        centre, extent = (low + high) / 2 / (width, height), (high - low) / (width, height)
        rows.append((kind, *centre.tolist(), *extent.tolist()))
    if rng.random() < 0.4:  # a bar in front
        x = int(rng.integers(width))
        cv2.line(image, (x, 0), (int(rng.integers(width)), height), (60, 70, 65), height // 40)
    light = rng.uniform(0.6, 1.15, (2, 2)).astype(np.float32)
    image *= cv2.resize(light, (width, height))[:, :, None]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4) * height / 240)
    image += rng.normal(0, rng.uniform(1, 5), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), rows


def write(folder: Path, counts: dict[str, int], size_hw: tuple[int, int] = (360, 480)) -> Path:
    """Draw the splits in YOLO's layout; returns the data.yaml. The same pictures every time."""
    for split, count in counts.items():
        rng = np.random.default_rng(_SEED[split])
        for part in ("images", "labels"):
            (folder / part / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, rows = picture(rng, split, size_hw)
            cv2.imwrite(str(folder / "images" / split / f"{index:05}.png"), image)
            lines = ["{:.0f} {:.6f} {:.6f} {:.6f} {:.6f}\n".format(*row) for row in rows]
            (folder / "labels" / split / f"{index:05}.txt").write_text("".join(lines))
    path = folder / "data.yaml"
    splits = "".join(f"{split}: images/{split}\n" for split in counts)
    path.write_text(f"path: {folder.absolute()}\n{splits}names: {json.dumps(NAMES)}\n")
    return path


def main() -> None:
    """Draw a set from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for split, count in (("train", 300), ("val", 100), ("test", 200)):
        parser.add_argument(f"--{split}", type=int, default=count, help="pictures")
    parser.add_argument("--height", type=int, default=360, help="pixels; the width is 4/3 of it")
    args = parser.parse_args()
    counts = {split: getattr(args, split) for split in FONTS}
    print(write(args.folder, counts, (args.height, args.height * 4 // 3)))


if __name__ == "__main__":
    main()
