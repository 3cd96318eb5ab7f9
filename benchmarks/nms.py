"""Non-maximum suppression against others: `python -m benchmarks.nms`.

Candidates of 80 classes, in clusters (as a detector gives them) or spread uniformly; at most 300
are kept. supervision and OpenCV get the same candidates. Their answers are compared with ours: the
share of our boxes that they keep as well (OpenCV shifts boxes by class, which rounds them).
supervision compares all pairs, which takes gigabytes and seconds with 20,000 candidates: it is
timed once there.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import supervision
from numpy.typing import NDArray

from yolov4sdk.measure.timing import alternate, machine
from yolov4sdk.results.postprocess import suppress

IOU, MOST, CLASSES = 0.45, 300, 80
_MANY = 5000  # candidates
Candidates = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def candidates(count: int, clusters: int | None, seed: int = 0) -> Candidates:
    """Boxes [N, 4] in a 640 x 640 image, scores [N], class ids [N]; each cluster has one class."""
    rng = np.random.default_rng(seed)
    if clusters is None:
        centres, sides = rng.uniform(0, 640, (count, 2)), rng.uniform(8, 80, (count, 2))
        ids = rng.integers(0, CLASSES, count)
    else:
        which = rng.integers(0, clusters, count)
        centres = rng.uniform(50, 600, (clusters, 2))[which] + rng.normal(0, 4, (count, 2))
        sides = rng.uniform(20, 120, (clusters, 2))[which] * rng.uniform(0.8, 1.2, (count, 2))
        ids = which % CLASSES
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    return boxes.astype(np.float32), rng.uniform(0.25, 1, count).astype(np.float32), ids


def peers(boxes: Any, scores: Any, ids: Any) -> dict[str, Callable[[], Any]]:
    """Each library's suppression of the same candidates, as boxes that stay."""
    found = supervision.Detections(xyxy=boxes, confidence=scores, class_id=ids)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)

    def opencv() -> Any:
        suppress_batched: Any = cv2.dnn.NMSBoxesBatched  # its stub knows lists alone
        return boxes[suppress_batched(xywh, scores, ids.astype(np.int32), 0.0, IOU)[:MOST]]

    return {
        "yolov4sdk": lambda: suppress(boxes, scores, ids, iou=IOU, max_det=MOST)[0],
        "supervision": lambda: found.with_nms(IOU).xyxy[:MOST],
        "OpenCV": opencv,
    }


def share(ours: Any, theirs: Any) -> float:
    """The share of our boxes that are among theirs."""
    known = set(map(bytes, np.ascontiguousarray(theirs, np.float32)))
    return sum(bytes(box) in known for box in ours) / max(len(ours), 1)


def main() -> None:
    """Print a Markdown table of medians in ms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{machine()}; one thread, {args.rounds} alternating rounds, medians in ms;")
    print(f"supervision {supervision.__version__}, OpenCV {cv2.__version__}\n")
    print("| candidates | yolov4sdk | supervision | OpenCV | kept | same: supervision, OpenCV |")
    print("|---|---|---|---|---|---|")
    for count, clusters in ((10, 5), (300, 20), (20_000, 100), (20_000, None)):
        runs = peers(*candidates(count, clusters))
        kept = {name: run() for name, run in runs.items()}
        slow = {"supervision": runs.pop("supervision")} if count > _MANY else {}
        times = alternate(runs, args.rounds) | alternate(slow, 1)
        label = f"{count} in {clusters} clusters" if clusters else f"{count}, uniform"
        cells = [f"{1e3 * statistics.median(times[name]):.2f}" for name in kept]
        same = ", ".join(f"{share(kept['yolov4sdk'], kept[n]):.1%}" for n in list(kept)[1:])
        print(f"| {label} |", " | ".join(cells), f"| {len(kept['yolov4sdk'])} | {same} |")


if __name__ == "__main__":
    main()
