"""Full-size networks with random weights in every form, made once and kept in a folder.

Batch normalisation is calibrated on drawn pictures, so that activations have the spread of a
trained network's. All graphs take any batch; runtimes are told the one they get.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

import export
import yolov4sdk.models
from export import int8_openvino
from export.calibration import CalibrationSet
from export.onnx_export import write_onnx
from export.openvino_export import write_openvino
from export.options import ExportOptions
from yolov4sdk.models import build_model
from yolov4sdk.models.checkpoints import save_checkpoint

from ..int8 import calibrated

PHOTOGRAPHS: Final = Path(__file__).parents[2] / "examples" / "images"


def prepared(
    name: str, size: int, cache: Path, int8: bool = True, classes: int | None = None
) -> dict[str, Path]:
    """Files of a built-in model at a square size.

    Args:
        int8: also quantise, which needs the memory of all activations.
        classes: other than the model's own; such a model is only exported as the SDK does.

    Returns:
        "torch" (.safetensors), "plain" (ONNX without help: Softplus-Tanh-Mul, nothing folded),
        "onnx" (ours), "openvino" (.xml) and "int8" (.xml).
    """
    folder = cache / _sources() / f"{name}-{size}" / str(classes or "own")
    forms = {"onnx": "onnx.onnx"}
    if classes is None:
        forms |= {"torch": "torch.safetensors", "plain": "plain.onnx", "openvino": "openvino.xml"}
        forms |= {"int8": "int8.xml"} if int8 else {}
    files = {form: folder / file for form, file in forms.items()}
    if not all(file.exists() for file in files.values()):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, then moved: what is interrupted leaves nothing that looks finished.
        temporary = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _write(name, size, temporary, int8, classes)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return files


def _write(name: str, size: int, folder: Path, int8: bool, classes: int | None) -> None:
    options = ExportOptions(size=(size, size), batch=None)
    if classes is not None:
        model = build_model(name, [f"class {i}" for i in range(classes)]).eval()
        spec = options.artefact_spec(model.spec, "benchmark")
        write_onnx(model, folder / "onnx.onnx", options, spec)
        return
    model = calibrated(name, (size, size))
    spec = options.artefact_spec(model.spec, "benchmark")
    save_checkpoint(model, folder / "torch.safetensors")
    write_onnx(model, folder / "plain.onnx", options, spec, mish="softplus", folded=False)
    write_onnx(model, folder / "onnx.onnx", options, spec)
    source = folder / "operator.onnx"
    write_onnx(model, source, options, spec, mish="operator", mish_first=True)
    write_openvino(source, folder / "openvino.xml", spec)
    source.unlink()
    if int8:
        images = CalibrationSet.of(PHOTOGRAPHS, "train", spec)
        spec = spec.replace(precision="int8")
        int8_openvino.quantise(folder / "openvino.xml", folder / "int8.xml", images, "minmax", spec)


def _sources() -> str:
    """A name for the code that writes the files: another one's are not used."""
    digest = hashlib.sha256()
    for package in (export, yolov4sdk.models):
        assert package.__file__ is not None
        for path in sorted(Path(package.__file__).parent.rglob("*")):
            if path.suffix in {".py", ".yaml"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
