"""docs/serving.md says what the code says."""

from __future__ import annotations

import json
import re

from serve.app import create_app
from serve.headers import FORMATS
from serve.settings import Settings

from ..conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "serving.md").read_text()


def shown(value: object) -> str:
    """A default as the table has it: a list as words, none as nothing."""
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else json.dumps(value).strip('"')


def test_settings() -> None:
    table = TEXT.split("| setting |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? *\|", table, re.MULTILINE)
    fields = Settings.model_fields.items()
    assert rows == [(name, shown(field.default)) for name, field in fields]


def test_routes() -> None:
    for path in create_app(Settings()).openapi()["paths"]:
        assert path.replace("/v1/models/{name}", "/v1/models") in TEXT


def test_formats() -> None:
    assert f"Images: {', '.join(FORMATS)}." in TEXT


def test_promises_name_tests_that_exist() -> None:
    text = (REPOSITORY / "docs" / "security.md").read_text()
    path = ""
    for file, name in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", text):
        path = file or path
        if path:
            source = (REPOSITORY / path).read_text()
            assert not name or f"def {name}(" in source, f"{path}::{name}"
