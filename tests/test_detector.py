"""Detector: one answer whatever the way in, the batch, the shape of the graph."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yolov4sdk import Detector, errors

from .tiny import make_tiny


@pytest.fixture(scope="module")
def detector(tiny_artefacts: dict[str, Path]):
    with Detector(tiny_artefacts["onnxruntime"], conf=0.5) as detector:
        yield detector


def test_one_image_through_every_source(
    detector: Detector, tiny_artefacts: dict[str, Path], photos_dir: Path
) -> None:
    path = photos_dir / "chelsea.png"
    pixels = cv2.imread(str(path))
    expected = detector(path)
    assert len(expected) and expected.image_size == pixels.shape[:2]
    for source in (str(path), path.read_bytes(), pixels, Image.open(path)):
        assert detector(source) == expected
    import torch

    assert detector(torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1)) == expected
    with Detector(tiny_artefacts["onnxruntime"], conf=0.5, color="RGB") as other:
        assert other(np.ascontiguousarray(pixels[..., ::-1])) == expected


def test_scaled_decoding(tiny_artefacts: dict[str, Path], photos_dir: Path) -> None:
    """Boxes are in pixels of the whole photograph; tiles see every pixel."""
    path, options = photos_dir / "dog.jpg", {"conf": 0.5, "size": 64}
    with (
        Detector(tiny_artefacts["onnxruntime"], **options) as whole,
        Detector(tiny_artefacts["onnxruntime"], scaled_decode=True, **options) as scaled,
    ):
        expected, found = whole(path), scaled(path)
        assert found.image_size == expected.image_size == (576, 768)
        assert len(found) == pytest.approx(len(expected), rel=0.3) and len(found)
        assert found.xyxy[:, 2].max() > 700
        assert scaled(path, tiles=300) == whole(path, tiles=300)
        assert scaled(cv2.imread(str(path))) == expected
    with pytest.raises(errors.SettingError, match="gpu_letterbox"):
        Detector(tiny_artefacts["onnxruntime"], scaled_decode=True, gpu_letterbox=True)


def test_a_list_is_run_in_batches(tiny_artefacts: dict[str, Path], photos_dir: Path) -> None:
    images = [cv2.imread(str(p)) for p in sorted(photos_dir.glob("*.[jp][pn]g"))] * 2
    with Detector(tiny_artefacts["onnxruntime"], conf=0.5, batch=4) as detector:
        shapes = []
        run = detector.backend.infer

        def counted(batch):
            shapes.append(batch.shape)
            return run(batch)

        detector.backend.infer = counted  # type: ignore[method-assign]
        together = detector(images)
        assert sum(shape[0] for shape in shapes) == len(images) > len(shapes)
        assert all(shape[0] <= 4 for shape in shapes)
        # Rows of a batch are computed apart; only float rounding may differ from single runs.
        for image, found in zip(images, together, strict=True):
            alone = detector(image)
            assert found.image_size == alone.image_size
            assert abs(len(found) - len(alone)) <= 1
            n = min(len(found), len(alone), 5)
            np.testing.assert_allclose(found.scores[:n], alone.scores[:n], atol=1e-3)
    assert detector.spec.nc == 3


def test_order_and_types(detector: Detector, photos_dir: Path) -> None:
    dog, cat = photos_dir / "dog.jpg", photos_dir / "chelsea.png"
    results = detector([dog, cat, dog])
    assert results[0] == results[2] != results[1]
    assert detector([]) == [] and detector((dog,)) == [detector(dog)]


def test_sources_are_remembered_and_arrays_only_when_asked(
    detector: Detector, tiny_artefacts: dict[str, Path], photos_dir: Path
) -> None:
    path = photos_dir / "dog.jpg"
    pixels = cv2.imread(str(path))
    assert detector(path).source == path and detector([str(path)])[0].source == str(path)
    for source in (pixels, path.read_bytes(), Image.open(path)):
        assert detector(source).source is None
        assert np.array_equal(detector(source, keep_images=True).source, pixels)
    kept = detector(pixels, keep_images=True)
    pixels[:] = 0  # the caller's array is his own
    assert kept.source.any()
    for keep, expected in ((False, str), (True, np.ndarray)):
        (_, _, found), *_ = detector.detect_each([str(path)], keep_images=keep)
        assert isinstance(found.source, expected)
    with Detector(
        tiny_artefacts["onnxruntime"], keep_images=True, scaled_decode=True, size=64
    ) as other:
        assert other(path).source.shape == (576, 768, 3)
        assert other(path, tiles=300).source.shape == (576, 768, 3)


def test_warmup(tiny_artefacts: dict[str, Path]) -> None:
    with Detector(tiny_artefacts["onnxruntime"], shape="rect") as detector:
        shapes = []
        run = detector.backend.infer
        detector.backend.infer = lambda batch: shapes.append(batch.shape) or run(batch)  # type: ignore[method-assign]
        assert detector.warmup() is detector
        detector.warmup(image_size=(80, 160), batch=3)
    assert shapes[0][2:] == detector.size
    assert shapes[1][0] == 3 and shapes[1][2] < shapes[1][3] == detector.size[1]


def test_fixed_batch_and_size(tiny_fixed: Path, photos_dir: Path) -> None:
    with Detector(tiny_fixed, conf=0.5) as detector:
        path = photos_dir / "dog.jpg"
        alone, *three = detector(path), *detector([path] * 3)
        assert all(found == alone for found in three)
        assert "96 x 160" in repr(detector)
        with pytest.raises(errors.SettingError, match="--dynamic"):
            Detector(tiny_fixed, size=320)
        with pytest.raises(errors.SettingError, match="rect"):
            Detector(tiny_fixed, shape="rect")


def test_square_and_rectangular_canvas(tiny_artefacts: dict[str, Path]) -> None:
    wide = np.full((50, 160, 3), 90, np.uint8)
    for shape, expected in (("auto", (64, 160)), ("rect", (64, 160)), ("square", (160, 160))):
        with Detector(tiny_artefacts["onnxruntime"], shape=shape) as detector:
            assert detector.pipeline.plan(wide.shape[:2]).canvas == expected


@pytest.mark.parametrize("options", [{"topk": 40}, {"nms": True, "conf": 0.5, "iou": 0.45}])
def test_reduced_graphs(options, tiny_model, detector, photos_dir, tmp_path: Path) -> None:
    """A graph that reduces its outputs gives what the full one gives."""
    from export import export_model

    path = export_model(
        tiny_model, "onnx", tmp_path / "r.onnx", batch=None, dynamic=True, **options
    ).path
    image = photos_dir / "dog.jpg"
    full = detector(image, conf=0.6, max_det=5)
    with Detector(path, conf=0.6, max_det=5) as reduced:
        found = reduced(image)
        np.testing.assert_allclose(found.scores, full.scores, atol=1e-4)
        np.testing.assert_allclose(found.xyxy, full.xyxy, atol=0.1)
        assert np.array_equal(found.class_ids, full.class_ids)
        if "nms" in options:
            with pytest.raises(errors.SettingError, match="multi_label"):
                reduced(image, multi_label=True)
        else:
            several = detector(image, conf=0.6, max_det=5, multi_label=True)
            assert np.allclose(reduced(image, multi_label=True).scores, several.scores, atol=1e-4)


def test_uint8_graph(tiny_model, detector, photos_dir, tmp_path: Path) -> None:
    from export import export_model

    path = export_model(
        tiny_model, "onnx", tmp_path / "u.onnx", batch=None, dynamic=True, uint8=True
    ).path
    with Detector(path, conf=0.5) as other:
        found, expected = other(photos_dir / "dog.jpg"), detector(photos_dir / "dog.jpg")
        np.testing.assert_allclose(found.scores[:20], expected.scores[:20], atol=1e-3)


def test_options_and_overrides(detector: Detector, photos_dir: Path) -> None:
    path = photos_dir / "dog.jpg"
    everything = detector(path)
    assert (detector(path, conf=0.8).scores > 0.8).all()
    assert len(detector(path, max_det=2)) == 2
    bees = detector(path, classes=["bee"])
    assert len(bees) and set(bees.labels) == {"bee"} == set(detector(path, classes=[1]).labels)
    assert len(detector(path, agnostic=True)) <= len(everything)
    assert len(detector(path, multi_label=True)) >= len(everything)
    for bad, kind, message in (
        ({"classes": ["beee"]}, errors.UnknownClassError, "did you mean 'bee'"),
        ({"classes": [3]}, errors.UnknownClassError, "no class 3"),
        ({"confidence": 0.5}, errors.SettingError, "unknown options"),
        ({"conf": 2}, errors.SettingError, "between 0 and 1"),
    ):
        with pytest.raises(kind, match=message):
            detector(path, **bad)


def test_wrong_settings_are_told_at_once(tiny_artefacts: dict[str, Path]) -> None:
    path = tiny_artefacts["onnxruntime"]
    for options, kind in (
        ({"conf": -1}, errors.SettingError),
        ({"classes": ["dog"]}, errors.UnknownClassError),
        ({"size": 100}, errors.InputSizeError),
        ({"shape": "round"}, errors.SettingError),
        ({"batch": 0}, errors.SettingError),
    ):
        with pytest.raises(kind):
            Detector(path, **options)


def test_one_class(tmp_path: Path, photos_dir: Path) -> None:
    """From the head to the boxes with a single class, on every backend."""
    from export import export_model
    from yolov4sdk.models.checkpoints import save_checkpoint

    model = make_tiny(["thing"], size=96, seed=1)
    save_checkpoint(model, tmp_path / "one.safetensors")
    export_model(model, "onnx", tmp_path / "one.onnx")
    export_model(model, "openvino", tmp_path / "one.xml")
    results = []
    for suffix in ("safetensors", "onnx", "xml"):
        with Detector(tmp_path / f"one.{suffix}", conf=0.2, max_det=5, shape="square") as detector:
            results.append(detector(photos_dir / "dog.jpg"))
    for found in results:
        assert len(found) == 5 and set(found.labels) == {"thing"}
        np.testing.assert_allclose(found.xyxy, results[0].xyxy, atol=0.5)


def test_no_default_model_is_said(monkeypatch) -> None:
    import yolov4sdk.backends.artefacts as module

    monkeypatch.setattr(module, "DEFAULT_MODEL", "none.onnx")
    with pytest.raises(errors.ArtefactNotFoundError, match="no embedded default"):
        Detector()


def test_embedded_default(photos_dir: Path) -> None:
    """It loads on both runtimes, they agree, and it finds what the photographs are named for."""
    shown = {"chelsea.png": "cat", "dog.jpg": "dog", "person.jpg": "person", "horses.jpg": "horse"}
    with Detector() as detector, Detector(backend="openvino") as other:
        assert detector.names[:3] == ("person", "dog", "cat")
        for name, label in shown.items():
            found, same = detector(photos_dir / name), other(photos_dir / name)
            assert label in found.labels and found.labels == same.labels
            np.testing.assert_allclose(found.xyxy, same.xyxy, atol=0.5)
