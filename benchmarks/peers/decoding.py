"""Peers' own decoding of their own exports, for `python -m benchmarks.decoding`.

Runs in the peers' environment (`benchmarks/peers/environment`): decoding.py FOLDER. Every model is
built small with random weights, exported by its maker's way, and run by ONNX Runtime on one
picture that its maker's processor prepared. FOLDER gets NAME.onnx and NAME.npz: the picture, the
raw outputs and what the maker's own function makes of them; reasons.json says what is missing.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 160
CLASSES = 7
QUERIES = 30
CONF = 0.05
PICTURE = np.random.default_rng(0).integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
PICTURE = PICTURE.repeat(8, axis=0).repeat(8, axis=1)  # RGB [H, W, 3]


def stand_in() -> None:
    """torchvision's operators, where its build has none for this torch: suppression only."""
    import torch

    try:
        import torchvision

        return
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    names = ["roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d", "qroi_align"]
    for name in [*names, *(f"_{name}_backward" for name in names)]:
        library.define(f"{name}(Tensor x) -> Tensor")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", suppressed, "CPU")
    globals()["_library"] = library  # it ends with its object
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True
    torchvision.extension._assert_has_ops = nothing
    torchvision.ops.boxes._assert_has_ops = nothing


def nothing() -> None:
    """Instead of a check for the operators; torch compiles it, so it is no lambda."""
    return


def suppressed(boxes: Any, scores: Any, iou: float) -> Any:
    """Greedy suppression, as torchvision documents it."""
    import torch

    kept, alive = [], torch.ones(len(boxes), dtype=torch.bool)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in scores.argsort(descending=True, stable=True).tolist():
        if alive[i]:
            kept.append(i)
            low = torch.maximum(boxes[:, :2], boxes[i, :2])
            sides = (torch.minimum(boxes[:, 2:], boxes[i, 2:]) - low).clamp(min=0)
            shared = sides[:, 0] * sides[:, 1]
            alive &= ~(shared / (areas + areas[i] - shared) > iou)
    return torch.tensor(kept, dtype=torch.int64)


def transformers_model(kind: str) -> tuple[Any, Any]:
    """A small network of transformers and its image processor."""
    import transformers as t

    resnet = {
        "embedding_size": 8, "hidden_sizes": [8, 16, 32, 64], "depths": [1] * 4,
        "layer_type": "basic",
    }  # fmt: skip
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    shared = {
        "d_model": 32, "num_queries": QUERIES, "num_labels": CLASSES, "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64, **heads,
    }  # fmt: skip
    rtdetr = {
        **shared, "encoder_hidden_dim": 32, "decoder_layers": 2, "decoder_in_channels": [32] * 3,
        "num_denoising": 0,
    }  # fmt: skip
    stages = ["stage2", "stage3", "stage4"]
    if kind in ("rtdetr", "rtdetr-v2"):
        backbone = t.RTDetrResNetConfig(**resnet, out_features=stages)
        options = {**rtdetr, "backbone_config": backbone, "encoder_in_channels": [16, 32, 64]}
        if kind == "rtdetr":
            made = t.RTDetrForObjectDetection(t.RTDetrConfig(**options))
        else:
            made = t.RTDetrV2ForObjectDetection(t.RTDetrV2Config(**options))
        return made, t.RTDetrImageProcessor()
    if kind == "dfine":
        backbone = t.HGNetV2Config(
            stem_channels=[3, 8, 8], stage_in_channels=[8, 16, 32, 64],
            stage_mid_channels=[8, 8, 16, 16], stage_out_channels=[16, 32, 64, 64],
            stage_num_blocks=[1] * 4, stage_numb_of_layers=[1] * 4, out_features=stages,
            embedding_size=8, hidden_sizes=[16, 32, 64, 64], depths=[1] * 4,
        )  # fmt: skip
        options = {**rtdetr, "backbone_config": backbone, "encoder_in_channels": [32, 64, 64]}
        return t.DFineForObjectDetection(t.DFineConfig(**options)), t.RTDetrImageProcessor()
    if kind == "yolos":
        config = t.YolosConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
            image_size=[SIDE, SIDE], num_detection_tokens=QUERIES, num_labels=CLASSES,
        )  # fmt: skip
        return t.YolosForObjectDetection(config), t.YolosImageProcessor()
    options = {
        **shared, "use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None,
        "backbone_config": t.ResNetConfig(**resnet, out_features=["stage4"]),
        "encoder_layers": 1, "decoder_layers": 1,
    }  # fmt: skip
    if kind == "conditional-detr":
        made = t.ConditionalDetrForObjectDetection(t.ConditionalDetrConfig(**options))
        return made, t.ConditionalDetrImageProcessor()
    return t.DetrForObjectDetection(t.DetrConfig(**options)), t.DetrImageProcessor()


def of_transformers(kind: str, convention: str) -> Callable[[Path], dict[str, Any]]:
    """Export one and decode it by `post_process_object_detection`."""

    def made(file: Path) -> dict[str, Any]:
        import torch

        network, processor = transformers_model(kind)
        network.eval()

        class Both(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, pixel_values: Any) -> tuple[Any, Any]:
                found = self.network(pixel_values)
                return found.logits, found.pred_boxes

        given = processor(images=PICTURE, do_resize=False, do_pad=False, return_tensors="pt")
        pixels = given["pixel_values"]
        export(Both(), pixels, file, "pixel_values", ["logits", "pred_boxes"])
        raw = run(file, pixel_values=pixels.numpy())
        outputs = type("Outputs", (), {k: torch.from_numpy(v) for k, v in raw.items()})
        (told,) = processor.post_process_object_detection(
            outputs, threshold=CONF, target_sizes=[(SIDE, SIDE)]
        )
        return {"package": "transformers", "convention": convention, "raw": raw, **arrays(told)}

    return made


def of_torchvision(kind: str) -> Callable[[Path], dict[str, Any]]:
    """Exported with decoding and suppression inside: its boxes are the graph's own.

    Those of class 0, the background, are left out: only random weights give them.
    """

    def made(file: Path) -> dict[str, Any]:
        import torch
        from torchvision.models import detection

        build = getattr(detection, kind)
        sized = {} if kind.startswith("ssd") else {"min_size": SIDE}
        network = build(
            weights=None, weights_backbone=None, num_classes=CLASSES + 1, score_thresh=0.0, **sized
        ).eval()
        pixels = torch.from_numpy(PICTURE).permute(2, 0, 1).float() / 255
        export(network, [pixels], file, "images", ["boxes", "scores", "labels"])
        raw = run(file, images=pixels.numpy())
        own = {key: value[raw["labels"] > 0] for key, value in raw.items()}
        return {"package": "torchvision", "convention": "torchvision", "raw": raw, **own}

    return made


def yolox(decoded: bool) -> Callable[[Path], dict[str, Any]]:
    """YOLOX-nano by pixeltable-yolox, decoded by its own `postprocess`."""

    def made(file: Path) -> dict[str, Any]:
        import torch
        from yolox.config import YoloxConfig
        from yolox.utils import postprocess

        config = YoloxConfig.get_named_config("yolox_nano")
        config.num_classes = CLASSES
        network = config.get_model().eval()
        network.head.decode_in_inference = decoded
        pixels = torch.from_numpy(PICTURE[:, :, ::-1].copy()).permute(2, 0, 1).float()[None]
        export(network, pixels, file, "images", ["output"])
        raw = run(file, images=pixels.numpy())
        rows = torch.from_numpy(raw["output"])
        if not decoded:
            network.head.hw = [(SIDE // s, SIDE // s) for s in (8, 16, 32)]
            rows = network.head.decode_outputs(rows, dtype="torch.FloatTensor")
        (told,) = postprocess(rows.clone(), CLASSES, conf_thre=1e-5, nms_thre=0.65)
        found = told.numpy()
        return {
            "package": "pixeltable-yolox", "convention": "yolox" if decoded else "yolox-raw",
            "raw": raw, "boxes": found[:, :4], "scores": found[:, 4] * found[:, 5],
            "labels": found[:, 6].astype(np.int64),
        }  # fmt: skip

    return made


def rfdetr(file: Path) -> dict[str, Any]:
    """RF-DETR nano by rfdetr, decoded by its `decode_detections`."""
    import rfdetr as package
    from rfdetr.export._runtime.decode import decode_detections

    made = package.RFDETRNano(pretrain_weights=None, num_classes=CLASSES)
    folder = file.parent / "rfdetr"
    made.export(format="onnx", output_dir=str(folder))
    next(folder.rglob("*.onnx")).rename(file)
    side = made.model_config.resolution
    picture = np.resize(PICTURE, (side, side, 3))
    pixels = (picture / np.float32(255) - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    raw = run(file, input=pixels.transpose(2, 0, 1)[None].astype(np.float32))
    told = decode_detections(raw["dets"][0], raw["labels"][0], (side, side), threshold=0.0)
    return {
        "package": "rfdetr", "convention": "rfdetr", "raw": raw, "picture": picture,
        "boxes": told.xyxy, "scores": told.confidence, "labels": told.class_id, "clipped": True,
    }  # fmt: skip


PEERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "RT-DETR": of_transformers("rtdetr", "rtdetr-hf"),
    "RT-DETR v2": of_transformers("rtdetr-v2", "rtdetr-hf"),
    "D-FINE": of_transformers("dfine", "rtdetr-hf"),
    "DETR": of_transformers("detr", "detr"),
    "Conditional DETR": of_transformers("conditional-detr", "deformable-detr"),
    "YOLOS": of_transformers("yolos", "detr"),
    "SSDlite": of_torchvision("ssdlite320_mobilenet_v3_large"),
    "RetinaNet": of_torchvision("retinanet_resnet50_fpn"),
    "YOLOX": yolox(decoded=False),
    "YOLOX, decoded": yolox(decoded=True),
    "RF-DETR": rfdetr,
}


def export(network: Any, given: Any, file: Path, name: str, outputs: list[str]) -> None:
    """By torch's older exporter, which these models were written for."""
    import torch

    with torch.no_grad():
        torch.onnx.export(
            network, (given,), file, input_names=[name], output_names=outputs, opset_version=17,
            dynamo=False,
        )  # fmt: skip


def run(file: Path, **inputs: Any) -> dict[str, Any]:
    """The raw outputs of ONNX Runtime by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def arrays(told: dict[str, Any]) -> dict[str, Any]:
    """A result of torch as arrays."""
    return {key: told[key].detach().numpy() for key in ("boxes", "scores", "labels")}


def main() -> None:
    """Write every model that can be made here."""
    folder = Path(sys.argv[1])
    wanted = sys.argv[2:] or list(PEERS)
    stand_in()
    import torch

    reasons: dict[str, str] = {}
    for name in wanted:
        torch.manual_seed(0)
        try:
            made = PEERS[name](folder / f"{name}.onnx")
        except Exception as error:
            traceback.print_exc(limit=-3)
            reasons[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
            continue
        raw = {f"raw/{key}": value for key, value in made.pop("raw").items()}
        version = importlib.metadata.version(made["package"])
        told = {"picture": PICTURE, "clipped": False, **raw, **made}
        np.savez(folder / f"{name}.npz", version=version, **told)
        print(f"{name}: {len(made['scores'])} boxes", flush=True)
    (folder / "reasons.json").write_text(json.dumps(reasons))


if __name__ == "__main__":
    main()
