"""Settings of the service, by flag, environment (YOLOV4SDK_BATCH_SIZE=8) or TOML file."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from yolov4sdk.errors import SettingError
from yolov4sdk.system.option import checked, options_of

from .options import ServiceOptions, words

PREFIX: Final = "YOLOV4SDK_"
CONFIG: Final = "YOLOV4SDK_CONFIG"
"""Environment variable with the path of a TOML file of settings."""
API_KEYS: Final = PREFIX + "API_KEYS"
CLIENT_KEY: Final = "YOLOV4SDK_API_KEY"
"""Environment variable of the client's key, which may be set beside a service."""


class ApiKey(BaseModel):
    """Who may call. The key itself is kept nowhere: `printf %s KEY | sha256sum`.

    Attributes:
        name: stands in logs and metrics.
        sha256: of the key, 64 hex digits.
        rate: requests allowed, "100/minute"; None is unlimited.
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


class Settings(BaseSettings, ServiceOptions, frozen=True):  # type: ignore[misc]  # both are frozen
    """The options from all sources, and the keys."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", enable_decoding=False)

    api_keys: tuple[ApiKey, ...] = ()
    """None: everybody may detect, and nobody may load models."""

    @field_validator("models", "device", "hosts", "cors", "url_hosts", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return words(value) if isinstance(value, str) else value

    @field_validator("*")
    @classmethod
    def _as_declared(cls, value: Any, info: ValidationInfo) -> Any:
        option = next((o for o in options_of(ServiceOptions) if o.name == info.field_name), None)
        try:
            return value if option is None else checked(option, value)
        except SettingError as error:
            raise ValueError(str(error)) from None

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
            raise SettingError(f"{variable} is not a setting{hint}")


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.8)
    return f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
