"""Objects followed through a video: `python examples/track_video.py VIDEO [OUTPUT [MODEL]]`.

Needs `pip install "yolov4sdk[cpu,video,track]"`.
"""

from __future__ import annotations

import sys

from yolov4sdk import Detector
from yolov4sdk.results.tracking import Tracker, Trails
from yolov4sdk.streams.video_writer import VideoWriter


def main(video: str, output: str = "out/tracked.mp4", model: str | None = None) -> None:
    """Write the video with boxes, track numbers and trails; memory stays constant."""
    tracker, trails, seen = Tracker(), Trails(), set[int]()
    # Weak boxes do not start a track, but continue one while an object is half hidden.
    with (
        Detector(model, conf=0.1) as detector,
        detector.stream(video) as stream,
        VideoWriter(output) as writer,
    ):
        for frame in stream:
            tracked = tracker.update(frame.detections, frame.time)
            writer.write(trails.draw(tracked.draw(frame.image), tracked), frame.time)
            if tracked.track_ids is not None:
                seen.update(tracked.track_ids.tolist())
    print(f"written: {output}, {writer.frames} frames, {len(seen)} objects")


if __name__ == "__main__":
    main(*sys.argv[1:4])
