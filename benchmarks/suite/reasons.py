"""Why a number was not reached, by the name of its target; shown only where it is missed."""

from __future__ import annotations

from typing import Final

_CALL = (
    "one image a call leaves nothing to overlap: decoding a 1080p JPEG takes 4.5 to 5 ms of one "
    "core (libjpeg-turbo's own speed) while the other core idles, and letterbox, normalisation and "
    "suppression take 1 to 2 ms more. Lists decode ahead, streams also run batches side by side."
)
_SCALED = (
    "of the 6 ms an image takes beside the network, scaled decoding leaves 4: entropy decoding, "
    "which no scale shortens, letterbox, normalisation and suppression, on one core while the "
    "other idles; this network itself takes 8 ms of both."
)
_STREAM = (
    "a stream spends 19 to 23 ms of processor time an image, decoding 6 of them, so two cores give "
    "100 images/s at most; both are busy nine tenths of the time. The bare network needs neither "
    "decoding nor letterbox, and its own rate moves by a quarter from round to round."
)
_P7 = (
    "yolov4-p7 has 1637 GFLOPs and 288 million parameters, EfficientDet D7 650 and 52 (325 billion "
    "multiply-adds, its paper), for 55.4 against 53.7 AP. The field's table was measured on a GPU, "
    "where depthwise convolutions fall further behind their count of operations than on a CPU; "
    "here the 2.5 times as many operations take 1.0 (bf16) to 1.3 times as long."
)

REASONS: Final[dict[str, str]] = {
    "openvino-bf16": (
        "the graph runs at the bf16 matrix rate already (see the row of that rate), so only fewer "
        "operations would be faster; the plain export's time, the other side of the ratio, moves "
        "by a few per cent from run to run."
    ),
    **{
        f"pipeline-{model}-{runtime}-calls": _CALL
        for model in ("yolov4-csp", "yolov4-csp-n")
        for runtime in ("onnx-runtime", "openvino-bf16", "openvino-int8")
    },
    **{
        f"pipeline-yolov4-csp-n-{runtime}-scaled-calls": _SCALED
        for runtime in ("openvino-bf16", "openvino-int8")
    },
    **{
        f"pipeline-yolov4-csp-n-{runtime}-stream": _STREAM
        for runtime in ("onnx-runtime", "openvino-bf16", "openvino-int8")
    },
    **{
        f"efficientdet-p7-{engine}": _P7
        for engine in ("torch-eager", "openvino-f32", "openvino-bf16")
    },
    "predict-plain": (
        "ours walks 25,200 rows of 80 scores, theirs 8,400; the export with `--topk` leaves that "
        "to the graph. Letterbox and normalisation are memory-bound: 1.2 million values are read "
        "and written as float32 once."
    ),
}
