"""Settings of the service, by flag, environment (YOLOV4SDK_BATCH_SIZE=8) or TOML file."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from yolov4sdk.backends import BackendName, Precision
from yolov4sdk.errors import SettingError

PREFIX: Final = "YOLOV4SDK_"
CONFIG: Final = "YOLOV4SDK_CONFIG"
"""Environment variable with the path of a TOML file of settings."""
API_KEYS: Final = PREFIX + "API_KEYS"
CLIENT_KEY: Final = "YOLOV4SDK_API_KEY"
"""Environment variable of the client's key, which may be set beside a service."""

Words = Annotated[tuple[str, ...], NoDecode]
"""A list that the environment gives as words with commas between them."""

Seconds = Annotated[float, Field(gt=0, le=3600)]


class ApiKey(BaseModel):
    """Who may call. The key itself is kept nowhere: `printf %s KEY | sha256sum`.

    Attributes:
        name: stands in logs and metrics.
        sha256: of the key, 64 hex digits.
        rate: requests allowed, "100/minute"; None is no limit.
        admin: whether models may be loaded and unloaded with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rate: str | None = None
    admin: bool = False

    @field_validator("rate")
    @classmethod
    def _rate(cls, rate: str | None) -> str | None:
        if rate is not None:
            from limits import parse

            try:
                parse(rate)
            except ValueError as error:
                raise ValueError('expected a rate like "100/minute"') from error
        return rate


class Settings(BaseSettings):
    """Every setting; the defaults are for one machine behind no proxy."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)

    models: Words = ()
    """Artefacts, "path" or "name=path", the default one first; none is the embedded model."""
    models_dir: Path | None = None
    """The only folder that models are loaded from at run time; None is no loading."""
    backend: BackendName | None = None
    device: Words = ("auto",)
    """One or several ("cuda:0,cuda:1"); each gets a worker process with all models."""
    precision: Precision | None = None
    shape: Literal["auto", "square", "rect"] = "auto"
    threads: int | None = Field(None, ge=1, le=1024)

    batch_size: int = Field(8, ge=1, le=256)
    batch_delay: float = Field(0.005, ge=0, le=1)
    """Seconds that a batch waits for more images while others are on their way."""
    queue_length: int = Field(64, ge=1, le=100_000)
    """Images a model may have waiting; more get 503. At most deadline x throughput is useful."""
    deadline: Seconds = 5
    """Seconds from acceptance to the start of the network; later is 504."""
    decoders: int | None = Field(None, ge=1, le=64)
    """Decoder processes; None is one a processor, 2 to 8."""
    decode_limit: Seconds = 2
    """Seconds an image may take to decode; its process is ended then."""
    scaled_decode: bool = False
    """Decode large JPEGs at the fraction of their size that the network needs."""
    run_limit: Seconds = 60
    """Seconds a batch may take; its worker is ended and restarted then."""
    load_limit: Seconds = 300

    max_body: int = Field(20_000_000, ge=1024, le=2_000_000_000)
    """Bytes of a request."""
    max_pixels: int = Field(50_000_000, ge=1, le=1_000_000_000)
    max_files: int = Field(16, ge=1, le=1000)
    """Images in one request to /v1/detect/batch."""
    max_streams: int = Field(16, ge=0, le=10_000)
    """WebSockets at once."""
    upload_memory: int = Field(256_000_000, ge=1024)
    """Bytes of all request bodies held at once; the slowest make room for others, or get 503."""
    answer_memory: int = Field(64_000_000, ge=1024)
    """Bytes of answers that clients have not read; the slowest readers are dropped."""
    shared_memory: int = Field(1 << 30, ge=1 << 20)
    """Bytes for images and tensors in flight; only what is used is taken."""
    body_limit: Seconds = 30
    """Seconds a client may take to send a request's body."""
    header_limit: Seconds = 10
    """Seconds a connection may take to send a request's headers."""
    least_rate: int = Field(2000, ge=1, le=1_000_000)
    """Bytes a second that a client must send of a body, and read of an answer."""
    max_connections: int = Field(1000, ge=8, le=1_000_000)
    """Connections at once, at most what the limit of open files allows."""

    api_keys: tuple[ApiKey, ...] = ()
    """None: everybody may detect, and nobody may load models."""
    hosts: Words = ()
    """Host names that are answered, "*.example.org" for all below, "*" for all. None: with keys
    all, without keys addresses and local names only."""
    cors: Words = ()
    """Origins whose pages may call, "https://example.org"."""
    url_hosts: Words = ()
    """Hosts that images may be fetched from over https; none is no URL input."""
    url_limit: Seconds = 5

    drain_delay: float = Field(5, ge=0, le=600)
    """Seconds between SIGTERM, when /readyz turns 503, and the end of accepting work."""
    log_format: Literal["auto", "json", "text"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    telemetry: bool = False
    """Send traces by OpenTelemetry, as its own environment variables say."""

    @field_validator("models", "device", "hosts", "cors", "url_hosts", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        return value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value  # from a flag

    @field_validator("models_dir")
    @classmethod
    def _folder(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.is_dir():
            raise ValueError(f"no folder {folder}")
        return folder

    @field_validator("device")
    @classmethod
    def _devices(cls, devices: tuple[str, ...]) -> tuple[str, ...]:
        if not devices or len(set(devices)) != len(devices):
            raise ValueError("expected one device or several different ones")
        return devices

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the file that YOLOV4SDK_CONFIG names."""
        file = os.environ.get(CONFIG)
        if not file:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(file))


def load_settings(**flags: Any) -> Settings:
    """Settings from flags, the environment and the file.

    Raises:
        SettingError: one sentence that says which setting is wrong and what was expected.
    """
    file = os.environ.get(CONFIG)
    if file and not Path(file).is_file():
        raise SettingError(f"{CONFIG}: no file {file}")
    _check_names()
    try:
        return Settings(**flags)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "no such setting" + _hint(name)
        raise SettingError(f"the setting {name} ({PREFIX}{name.upper()}): {message}") from None
    except ValueError as error:  # broken TOML, or JSON in an environment variable
        raise SettingError(f"the settings cannot be read: {error}") from None


def _check_names() -> None:
    """Refuse environment variables that look like a misspelt setting."""
    known = {name.upper() for name in Settings.model_fields}
    for variable in sorted(os.environ):
        name = variable.removeprefix(PREFIX)
        if variable in (name, CONFIG, CLIENT_KEY) or name in known:
            continue
        if hint := _hint(name.lower()):
            raise SettingError(f"{variable} is no setting{hint}")


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.8)
    return f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
