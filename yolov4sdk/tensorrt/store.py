"""Writing an engine with its sidecar, and the cache of engines built on first use."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ..contract.onnx_header import read_onnx_spec
from ..contract.spec import ModelSpec
from ..errors import ArtefactError, ExportError, SettingError
from ..system.cuda_driver import gpus
from ..system.files import atomic_write, require_own, sha256
from .build import Built, build_engine, disk_full, require_space
from .build_log import Progress
from .flavour import Flavour
from .layers import kernels
from .options import EngineOptions
from .sidecar import Sidecar, check_engine_bytes, engine_key, read_sidecar, sidecar_path

CACHE_VARIABLE: Final = "YOLOV4SDK_CACHE"
"""Environment variable: the folder for engines that are built on first use."""


def describe(
    built: Built,
    spec: ModelSpec,
    flavour: Flavour,
    onnx_file: Path,
    options: EngineOptions,
    *,
    source: str,
    weights: str | None = None,
    agreement: Mapping[str, Any] | None = None,
) -> Sidecar:
    """The sidecar of an engine that was just built from `onnx_file`; see `Sidecar`.

    Its spec is the graph's, with what the profile pins.
    """
    gpu = gpus()[0] if gpus() else None
    least, _, largest = built.profile.size
    if least == largest:
        spec = spec.replace(dynamic_size=False, input_size=least)
    if built.profile.batch[0] == built.profile.batch[2]:
        spec = spec.replace(batch=built.profile.batch[0])
    return Sidecar(
        spec=spec,
        flavour=flavour.name,
        version=built.version,
        version_compatible=options.version_compatible,
        capabilities=built.capabilities,
        driver=gpu.driver if gpu else None,
        gpu=gpu.name if gpu else None,
        source=source,
        onnx_sha256=sha256(onnx_file),
        engine_bytes=len(built.engine),
        engine_sha256=hashlib.sha256(built.engine).hexdigest(),
        precision=spec.precision,
        profile=built.profile,
        weights=weights,
        refittable=options.refit or options.strip,
        layers=len(built.layers),
        kernels=kernels(built.layers),
        convolutions=built.convolutions,
        build_seconds=round(built.seconds, 2),
        built=datetime.now(UTC).isoformat(timespec="seconds"),
        agreement=agreement or {},
    )


def write_engine(path: Path, engine: bytes, sidecar: Sidecar) -> tuple[Path, Path]:
    """Write x.engine and x.engine.json; return (sidecar, engine).

    The sidecar names the engine's SHA-256, so that a reader that comes between the two writes
    finds a mismatch and not a wrong engine.

    Raises:
        ExportError: no room on the disk; nothing is left behind.
    """
    require_space(path.parent, len(engine))
    description = sidecar_path(path)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(engine)
        with atomic_write(description) as temporary:
            temporary.write_text(sidecar.to_json(engine_key()), encoding="utf-8")
    except OSError as error:
        if not disk_full(error):
            raise
        path.unlink(missing_ok=True)
        raise ExportError(
            f"no room on the disk of {path.parent} for an engine of {len(engine) / 1e6:.0f} MB; "
            "make room or write it elsewhere"
        ) from error
    return description, path


def cache_folder() -> Path:
    """Where engines built on first use are kept."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "yolov4sdk" / "engines"


def own_cache_folder() -> Path:
    """`cache_folder`, made where it is missing, and the user's own: engines are native code.

    Raises:
        SettingError: it cannot be made, is another user's, or others can write there.
    """
    folder = cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"the cache folder {folder} cannot be made ({error.strerror}); set "
            f"{CACHE_VARIABLE} to one that can be written"
        ) from error
    require_own(folder, CACHE_VARIABLE)
    return folder


def cached_engine(
    onnx_file: Path,
    flavour: Flavour,
    options: EngineOptions | None = None,
    progress: Progress | None = None,
) -> Path:
    """The engine of an ONNX file, built now or taken from the cache.

    One folder holds one engine. Its name is a hash of everything that matters: the ONNX file, the
    options, the flavour, its version, the GPU and the driver. It appears by a rename, so that
    processes that start together may build twice but never read half an engine.

    Raises:
        SettingError: the cache is not the user's own; see `own_cache_folder`.
        Others as `build_engine`.
    """
    cache = own_cache_folder()
    options = options or EngineOptions()
    spec = read_onnx_spec(onnx_file)
    folder = cache / f"{onnx_file.stem}-{_cache_key(onnx_file, flavour, options)}"
    engine = folder / f"{onnx_file.stem}.engine"
    if _is_whole(engine):
        return engine
    require_space(folder.parent, onnx_file.stat().st_size)
    built = build_engine(onnx_file, spec, flavour, options, progress)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        temporary = Path(name)
        sidecar = describe(built, spec, flavour, onnx_file, options, source=onnx_file.name)
        write_engine(temporary / engine.name, built.engine, sidecar)
        if not _is_whole(engine):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            temporary.rename(folder)
        except OSError:
            if not _is_whole(engine):  # another process was first is the good reason
                raise
    return engine


def _is_whole(engine: Path) -> bool:
    for part in (engine.parent, engine, sidecar_path(engine)):
        if part.exists():  # it may be older than the rights of the folder around it
            require_own(part, CACHE_VARIABLE)
    try:
        sidecar = read_sidecar(engine)
        if sidecar is None:
            return False
        check_engine_bytes(engine, sidecar)
    except (ArtefactError, OSError):
        return False
    return True


def _cache_key(onnx_file: Path, flavour: Flavour, options: EngineOptions) -> str:
    gpu = gpus()[0] if gpus() else None
    parts = {
        "onnx": sha256(onnx_file),
        "flavour": flavour.name,
        "version": str(flavour.load().__version__),
        "gpu": (gpu.name, gpu.capability, gpu.driver) if gpu else None,
        "options": asdict(options),
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
