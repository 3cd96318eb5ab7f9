"""The service against its own OpenAPI document, by schemathesis, all default checks.

In long form: `CONTRACT_EXAMPLES=500 pytest tests/serve/test_openapi.py`.
"""

from __future__ import annotations

import base64
import os
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from benchmarks.serve.images import seeds
from benchmarks.serve.service import Service

IMAGES = [seeds()[kind] for kind in ("JPEG", "WEBP")]  # small: limits are tested elsewhere
for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, st.sampled_from(IMAGES))
schemathesis.openapi.format("binary", st.sampled_from(IMAGES))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(i).decode() for i in IMAGES]))


@pytest.fixture(scope="session")
def contract(service: Service) -> Any:
    url = f"http://127.0.0.1:{service.port}"
    document = httpx.get(f"{url}/openapi.json").json()
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "classes":  # which there are is the model's affair
                    parameter["schema"] = {"type": "string", "enum": ["ant", "0", "ant,0"]}
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    return schema.include(path_regex="^/(v1/|livez|readyz|metrics)")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_contract(contract: Any, mode: GenerationMode) -> None:
    for result in contract.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=int(os.environ.get("CONTRACT_EXAMPLES", "8")),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            case.call_and_validate()

        try:
            check()
        except Unsatisfiable:  # an operation without parameters has no wrong request
            assert mode is GenerationMode.NEGATIVE


def test_document_has_examples_and_problems(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    detect = document["paths"]["/v1/detect"]["post"]
    assert detect["requestBody"]["content"]["application/json"]["example"]
    assert document["components"]["schemas"]["DetectAnswer"]["examples"]
    for status in ("413", "415", "422", "429", "503", "504"):
        assert "application/problem+json" in detect["responses"][status]["content"]
