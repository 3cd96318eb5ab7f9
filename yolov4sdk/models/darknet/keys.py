"""Which keys of a Darknet section matter: the only place that decides what may be ignored.

A key is read, or allowed at the one value that changes nothing, or ignored because it steers
only training, drawing or non-maximum suppression. Any other key is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from .cfg import Section, failure

READ: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset(keys.split())
    for kind, keys in {
        "net": "width height channels",
        "convolutional": "batch_normalize filters size stride pad padding groups activation",
        "shortcut": "from activation weights_type weights_normalization",
        "route": "layers groups group_id",
        "maxpool": "size stride padding",
        "upsample": "stride",
        "avgpool": "",
        "local_avgpool": "size stride padding",
        "scale_channels": "from activation scale_wh",
        "sam": "from activation",
        "reorg": "stride",
        "reorg3d": "stride",
        "dropout": "",
        "contrastive": "",
        "yolo": "mask anchors classes num scale_x_y new_coords yolo_point",
        "region": "anchors classes coords num softmax thresh",  # thresh: for OpenCV, written again
        "Gaussian_yolo": "mask anchors classes num scale_x_y yolo_point",
    }.items()
}

NEUTRAL: Final[Mapping[str, Mapping[str, float]]] = {
    "convolutional": {
        "dilation": 1, "antialiasing": 0, "binary": 0, "bin_output": 0,
        "cbn": 0, "deform": 0, "flipped": 0, "xnor": 0, "sway": 0, "rotate": 0, "stretch": 0,
        "stretch_sway": 0, "reverse": 0, "coordconv": 0,
    },
    "shortcut": {"alpha": 1, "beta": 1},
    "maxpool": {"maxpool_depth": 0, "antialiasing": 0},
    "upsample": {"scale": 1},
    "reorg": {"reverse": 0},
    "reorg3d": {"reverse": 0},
}  # fmt: skip
"""Value at which a key changes nothing; at any other value it is an error."""

NEUTRAL_EVERYWHERE: Final[Mapping[str, float]] = {"dontload": 0, "dontloadscales": 0, "clip": 0}

IGNORED: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset(keys.split())
    for kind, keys in {
        # letter_box says how Darknet resizes; this SDK always keeps the aspect.
        "net": """
            batch subdivisions time_steps track augment_speed sequential_subdivisions
            num_sigmas_reject_badlabels badlabels_rejection_percentage
            equidistant_point momentum decay angle aspect saturation exposure hue
            learning_rate learning_rate_min burn_in max_batches policy power steps scales step
            max_epochs scale gamma seq_scales sgdr_cycle sgdr_mult adam B1 B2 eps max_crop min_crop
            flip blur
            gaussian_noise mixup cutmix mosaic mosaic_bound letter_box label_smooth_eps resize_step
            attention adversarial_lr max_chart_loss ema_alpha dynamic_minibatch optimized_memory
            workspace_size_limit_MB loss_scale try_fix_nan use_cuda_graph
            show_receptive_field weights_reject_freq contrastive contrastive_jit_flip
            contrastive_color unsupervised
        """,
        "convolutional": "angle grad_centr assisted_excitation",
        "dropout": "probability dropblock dropblock_size_rel dropblock_size_abs",
        "contrastive": """
            classes temperature yolo_layer cls_normalizer max_delta contrastive_neg_max
        """,
        "region": """
            max log sqrt focal_loss jitter resize rescore classfix absolute random
            coord_scale object_scale noobject_scale mask_scale class_scale bias_match map
        """,
        "Gaussian_yolo": """
            max jitter resize random ignore_thresh truth_thresh iou_thresh iou_thresh_kind
            iou_normalizer obj_normalizer cls_normalizer delta_normalizer uc_normalizer iou_loss
            counters_per_class label_smooth_eps objectness_smooth max_delta nms_kind beta_nms map
        """,
        # An embedding tracks objects in Darknet's own demonstration; boxes do not depend on it.
        "yolo": """
            max jitter resize random ignore_thresh truth_thresh iou_thresh iou_thresh_kind
            iou_normalizer obj_normalizer cls_normalizer delta_normalizer iou_loss focal_loss
            counters_per_class label_smooth_eps objectness_smooth max_delta nms_kind beta_nms
            show_details track_history_size sim_thresh dets_for_track dets_for_show
            track_ciou_norm embedding_layer uc_normalizer beta1 map
        """,
    }.items()
}
MISSING: Final[Mapping[str, str]] = {
    "dilation": "dilated convolutions",
    "antialiasing": "blurred (anti-aliased) strides",
    "share_index": "convolutions that share the weights of another",
    "xnor": "binary (XNOR) convolutions",
    "bin_output": "binary (XNOR) convolutions",
    "tree": "a tree of classes (YOLO9000)",
}
"""What keys stand for that are not supported; said in the error."""
IGNORED_EVERYWHERE: Final = frozenset({
    "stopbackward", "onlyforward", "dont_update", "burnin_update", "train_only_bn",
    "learning_rate", "dontsave", "stream", "wait_stream",
})  # fmt: skip


def check_keys(section: Section) -> None:
    """Raise ModelConfigError for a key that is unknown, not neutral, or given twice differently."""
    kind = section.kind
    neutral = {**NEUTRAL.get(kind, {}), **NEUTRAL_EVERYWHERE}
    matters = READ[kind] | set(neutral)
    ignored = IGNORED.get(kind, frozenset()) | IGNORED_EVERYWHERE
    point = kind == "convolutional" and section.text("size", "1") == "1"
    for key, option in section.options.items():
        missing = f": {MISSING[key]} cannot be imported" if key in MISSING else ""
        if key == "dilation" and point:  # as Darknet has it: one cell is not dilated
            continue
        if key in neutral and section.number(key) != neutral[key]:
            raise failure(
                section,
                key,
                f"is supported only at {neutral[key]:g}, got {option.value!r}{missing}",
            )
        if missing and key not in neutral:
            raise failure(section, key, f"is not supported{missing}")
        if key not in matters | ignored:
            close = difflib.get_close_matches(key, sorted(matters | ignored), 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise failure(
                section, key, f"is unknown{hint}; it could change the result, so it is not skipped"
            )
    for key, option in section.repeated:
        if key in matters and option.value != section.options[key].value:
            raise failure(
                section,
                key,
                f"is given twice: {section.options[key].value!r} in line "
                f"{section.options[key].line} and {option.value!r}; keep one",
                option.line,
            )
