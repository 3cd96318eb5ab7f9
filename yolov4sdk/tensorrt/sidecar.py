"""`x.engine.json`: what an engine is, where it runs, and whether it may be loaded here.

An engine is native code for one version of a library and some GPUs. Its file is TensorRT's bytes
and nothing else; everything that is known of it stands in a JSON file beside it.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from packaging.version import Version

from ..contract.spec import ModelSpec
from ..errors import EngineMismatchError, SpecError, TruncatedFileError
from ..system.bounds import JSON_BYTES, brief
from ..system.cuda_driver import Gpu
from ..system.documents import parse_json, read_bounded
from .options import Profile

FORMAT_VERSION: Final = 1
KEY_VARIABLE: Final = "YOLOV4SDK_ENGINE_KEY"
"""Environment variable: a secret; with it sidecars are signed, and unsigned ones are refused."""


@dataclass(frozen=True)
class Sidecar:
    """What is known of an engine.

    Attributes:
        spec: of the model.
        flavour: "trt" or "trt-rtx".
        version: of the library that built it.
        version_compatible: whether later versions load it too; then it carries code of its own.
        capabilities: compute capabilities it runs on; "8.0+" is this and later ones.
        driver: CUDA version of the driver it was built with, None without a GPU.
        gpu: name of the GPU it was built on, None without one.
        source: name of the file that was exported.
        onnx_sha256: of the graph it was built from.
        engine_bytes, engine_sha256: its file.
        precision: of the convolutions.
        profile: batches and sizes it takes.
        weights: name of the ONNX file beside it that holds its weights, None when it does itself.
        refittable: whether its weights can be exchanged.
        layers, kernels: how many it has.
        convolutions: how many run in which precision.
        build_seconds: of parsing and building.
        built: when, UTC.
        agreement: errors against the model it came from, of the graph ("onnx") and where a GPU was
            there of the engine itself ("engine").
    """

    spec: ModelSpec
    flavour: str
    version: str
    version_compatible: bool
    capabilities: tuple[str, ...]
    driver: str | None
    gpu: str | None
    source: str
    onnx_sha256: str
    engine_bytes: int
    engine_sha256: str
    precision: str
    profile: Profile
    weights: str | None
    refittable: bool
    layers: int
    kernels: int
    convolutions: Mapping[str, int]
    build_seconds: float
    built: str
    agreement: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, key: bytes | None = None) -> str:
        """Readable JSON, signed where a key is given."""
        data = {
            "format_version": FORMAT_VERSION,
            **asdict(self),
            "spec": json.loads(self.spec.to_json()),
        }
        if key is not None:
            data["hmac"] = _sign(data, key)
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: Path, key: bytes | None = None) -> Sidecar:
        """Read what `to_json` wrote.

        Raises:
            SpecError: no JSON, another version, a missing, unknown or wrong field.
            EngineMismatchError: a key is given, and the signature is missing or another one.
        """
        data = parse_json(text, str(source), SpecError)
        try:
            version = data.pop("format_version")
            if version != FORMAT_VERSION:
                raise ValueError(
                    f"format version {brief(version)}, this SDK reads {FORMAT_VERSION}"
                )
            signature = data.pop("hmac", None)
            signed = {"format_version": version, **data}
            data["spec"] = ModelSpec.from_json(json.dumps(data["spec"]))
            data["profile"] = Profile.from_dict(data["profile"])
            data["capabilities"] = tuple(data["capabilities"])
            sidecar = cls(**data)
            for f in fields(cls):
                _check_type(f.name, getattr(sidecar, f.name), str(f.type))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise SpecError(
                f"{source} does not describe an engine: {str(error)[:300]}; build the engine again"
            ) from error
        if key is not None and not hmac.compare_digest(str(signature), _sign(signed, key)):
            raise EngineMismatchError(
                f"{source} is not signed with the key in {KEY_VARIABLE}, so the engine may have "
                "been exchanged; build it here with this key"
            )
        return sidecar


def sidecar_path(engine: Path) -> Path:
    """x.engine -> x.engine.json"""
    return engine.with_name(engine.name + ".json")


def read_sidecar(engine: Path) -> Sidecar | None:
    """The sidecar of an engine, None where there is none; see `Sidecar.from_json`."""
    path = sidecar_path(engine)
    if not path.exists():
        return None
    return Sidecar.from_json(read_bounded(path, JSON_BYTES, SpecError), path, engine_key())


def engine_key() -> bytes | None:
    """The secret that sidecars are signed with, None where none is set."""
    return os.environ.get(KEY_VARIABLE, "").encode() or None


def check_engine_bytes(engine: Path, sidecar: Sidecar) -> bytes:
    """The engine's bytes, when they are those that the sidecar describes.

    Raises:
        TruncatedFileError: shorter.
        EngineMismatchError: another file.
    """
    data = engine.read_bytes()
    if len(data) < sidecar.engine_bytes:
        raise TruncatedFileError(
            f"{engine} has {len(data):,} bytes, its sidecar announces {sidecar.engine_bytes:,}; "
            "copy or build it again"
        )
    if sha256(data).hexdigest() != sidecar.engine_sha256:
        raise EngineMismatchError(
            f"{engine} is not the engine that {sidecar_path(engine).name} describes (SHA-256 "
            "differs); copy both files of one build, or build it again"
        )
    return data


def check_here(engine: Path, sidecar: Sidecar, flavour: str, version: str, gpu: Gpu) -> None:
    """Raise EngineMismatchError unless the engine was built for this machine.

    The message lists every field that differs and says how to rebuild.
    """
    differing = []
    if sidecar.flavour != flavour:
        differing.append(("flavour", sidecar.flavour, flavour))
    elif not version_fits(sidecar, version):
        differing.append(("version", sidecar.version, version))
    if not capability_fits(sidecar.capabilities, gpu.capability):
        differing.append(
            (
                "compute capability",
                ", ".join(sidecar.capabilities),
                f"{gpu.capability} ({gpu.name})",
            )
        )
    if sidecar.driver is not None and (Version(gpu.driver).major < Version(sidecar.driver).major):
        differing.append(("driver (CUDA)", sidecar.driver, gpu.driver))
    if differing:
        rows = "\n".join(f"  {what}: engine {its}, here {here}" for what, its, here in differing)
        raise EngineMismatchError(
            f"{engine} was not built for this machine:\n{rows}\n"
            f"Build it here: yolov4sdk export {sidecar.source} --engine {flavour} -o {engine.name}"
        )


def version_fits(sidecar: Sidecar, version: str) -> bool:
    """The same version; a version-compatible engine runs on later ones of its major version."""
    if sidecar.version == version:
        return True
    its, here = Version(sidecar.version), Version(version)
    return sidecar.version_compatible and its.major == here.major and its <= here


def capability_fits(capabilities: tuple[str, ...], here: str) -> bool:
    """Whether "8.9" is among ("8.6", "8.9") or covered by ("8.0+",)."""
    return any(
        Version(here) >= Version(one[:-1]) if one.endswith("+") else one == here
        for one in capabilities
    )


def _sign(data: Mapping[str, Any], key: bytes) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _check_type(name: str, value: Any, kind: str) -> None:
    """Enforce the simple types of the fields."""
    kinds: dict[str, Any] = {
        "str": str, "bool": bool, "int": int, "float": int | float, "str | None": str | None,
        "Mapping[str, int]": dict, "Mapping[str, Any]": dict,
    }  # fmt: skip
    expected = kinds.get(kind)
    if expected is not None and not isinstance(value, expected):
        raise TypeError(f"{name} is {brief(value)}, expected {kind}")
    if name == "capabilities" and not all(isinstance(one, str) for one in value):
        raise TypeError(f"capabilities must be strings, got {brief(value)}")
