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

from tests.support.images import seeds
from tests.support.service import Service

from .conftest import ADMIN

IMAGES = [seeds()[kind] for kind in ("JPEG", "WEBP")]  # small: limits are tested elsewhere
for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, st.sampled_from(IMAGES))
schemathesis.openapi.format("binary", st.sampled_from(IMAGES))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(i).decode() for i in IMAGES]))


def contract_of(service: Service, **config: Any) -> Any:
    url = f"http://127.0.0.1:{service.port}"
    document = httpx.get(f"{url}/openapi.json").json()
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "classes":  # which there are is the model's affair
                    parameter["schema"] = {"type": "string", "enum": ["ant", "0", "ant,0"]}
    # which files and runtimes there are is the folder's and the machine's affair
    loading = {"file": {"type": "string", "enum": ["a.onnx", "b.onnx"]}}
    document["components"]["schemas"]["LoadRequest"]["properties"] = loading
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url, **config)
    return schema.include(path_regex="^/(v1/|livez|readyz|metrics)")


@pytest.fixture(scope="session")
def contract(service: Service) -> Any:
    return contract_of(service)


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


def over_links(guarded: Service, examples: int, steps: int) -> None:
    """Requests that follow from answers: models are loaded, asked, listed and unloaded."""
    contract = contract_of(guarded, headers={"X-API-Key": ADMIN})
    contract.as_state_machine().run(
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None,
            suppress_health_check=list(HealthCheck),
        )
    )  # fmt: skip
    assert httpx.get(f"http://127.0.0.1:{guarded.port}/readyz").status_code == 200


def test_contract_over_links(guarded: Service) -> None:
    over_links(guarded, 3, 4)


@pytest.mark.slow
def test_contract_over_links_at_length(guarded: Service) -> None:
    over_links(guarded, int(os.environ.get("CONTRACT_EXAMPLES", "1000")), 6)


def test_document_has_examples_and_problems(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    detect = document["paths"]["/v1/detect"]["post"]
    assert detect["requestBody"]["content"]["application/json"]["example"]
    assert document["components"]["schemas"]["DetectAnswer"]["examples"]
    for status in ("413", "415", "422", "429", "503", "504"):
        assert "application/problem+json" in detect["responses"][status]["content"]
