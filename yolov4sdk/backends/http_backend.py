"""A model behind the REST service, used as if it were here: `Detector("http://host:8000")`.

Images are letterboxed here and boxes chosen here, with every option of the Detector; the network
runs there and nothing else, through the KServe v2 route and raw tensors.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from ..contract.spec import METADATA_KEY, ModelSpec
from ..errors import BackendError, MissingExtraError, SettingError, TensorError
from .base import ContextManager, Outputs, check_batch
from .kserve import HEADER_LENGTH, decode, encode

try:
    import httpx
except ImportError as _error:
    raise MissingExtraError("A Detector of an http address", "client", "httpx") from _error

API_KEY: Final = "YOLOV4SDK_API_KEY"
"""Environment variable with the service's API key: keys in code end up in repositories."""

# Connecting tells quickly whether anybody is there; an answer may wait in the service's queue.
TIMEOUT: Final = httpx.Timeout(60, connect=5)
PARALLEL: Final = 8
"""Images of one batch that are under way at the same time; the service batches them again."""


class HttpBackend(ContextManager):
    """See `Backend`; `infer` runs in the service.

    Args:
        model: "http://host:8000" for the service's default model, or
            "http://host:8000/models/NAME".

    Raises:
        SettingError: an address that is not valid, or an option that the service decides.
        BackendError: nobody there, the API key is missing or refused, no such model, not ready.
        MissingExtraError: httpx is not installed.
    """

    name = "http"

    def __init__(
        self,
        model: str,
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
    ) -> None:
        if device != "auto" or precision is not None or threads is not None:
            raise SettingError("device, precision and threads are the service's own settings")
        self._base, wanted = _split(model)
        key = os.environ.get(API_KEY)
        self._client = httpx.Client(
            base_url=self._base, timeout=TIMEOUT, headers={"X-API-Key": key} if key else {}
        )
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="yolov4sdk-http")
        try:
            self._path = f"/v2/models/{quote(self._choose(wanted), safe='')}"
            told = self._describe()
            self.spec: ModelSpec = ModelSpec.from_json(told[METADATA_KEY])
        except BaseException:
            self.close()
            raise
        self.device: str
        self.precision: str
        self.device, self.precision = f"{self._base} ({told['device']})", told["precision"]

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """See `Backend.infer`; a batch goes as single images, which the service batches again."""
        if self._client.is_closed:
            raise BackendError("this backend is closed; make the Detector again")
        check_batch(batch, self.spec)
        rows = [batch] if self.spec.batch else [batch[i : i + 1] for i in range(len(batch))]
        boxes, scores, class_ids = zip(*self._pool.map(self._infer, rows), strict=True)
        return Outputs(
            np.concatenate(boxes),
            np.concatenate(scores),
            None if class_ids[0] is None else np.concatenate(class_ids),
        )

    def close(self) -> None:
        """See `Backend.close`."""
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def _infer(self, batch: NDArray[Any]) -> Outputs:
        header = {"parameters": {"binary_data_output": True}}
        name = self.spec.contract.input.name
        body, length = encode(header, {name: batch}, "inputs", {name})
        answer = self._call(
            "POST", f"{self._path}/infer", content=body, headers={HEADER_LENGTH: str(length)}
        )
        try:
            _, outputs = decode(answer.content, answer.headers.get(HEADER_LENGTH), "outputs")
            return Outputs(**outputs)
        except (TensorError, TypeError) as error:
            raise self._foreign(answer) from error

    def _choose(self, wanted: str | None) -> str:
        """The name of the model that is wanted, or of the service's default one."""
        answer = self._call("GET", "/v1/models")
        try:
            models = answer.json()["models"]
            names: dict[str, bool] = {model["name"]: model["default"] for model in models}
        except (ValueError, KeyError, TypeError) as error:
            raise self._foreign(answer) from error
        for name, default in names.items():
            if name == wanted or (wanted is None and default):
                return name
        there = ", ".join(names) or "none"
        raise BackendError(f"{self._base} has no model {wanted or 'of its own'!r}; it has {there}")

    def _describe(self) -> dict[str, str]:
        """What the service says about the model: its spec, device and precision."""
        answer = self._call("GET", self._path)
        try:
            parameters: dict[str, str] = answer.json()["parameters"]
            return {name: parameters[name] for name in (METADATA_KEY, "device", "precision")}
        except (ValueError, KeyError, TypeError) as error:
            raise self._foreign(answer) from error

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise BackendError(
                f"nobody answers at {self._base} ({error}); start the service there with "
                "`yolov4sdk serve`, or correct the address"
            ) from error
        except httpx.TimeoutException as error:
            raise BackendError(f"{self._base} did not answer in {TIMEOUT.read:g} s") from error
        except httpx.HTTPError as error:
            raise BackendError(f"{self._base} broke off: {error}") from error
        if not answer.is_success:
            raise BackendError(f"{self._base}: {_reason(answer)}")
        return answer

    def _foreign(self, answer: httpx.Response) -> BackendError:
        return BackendError(
            f"{answer.url} did not answer as yolov4sdk's service does; is something else there?"
        )


def _split(address: str) -> tuple[str, str | None]:
    """The service's address, and the name of the model where the address has one."""
    parts = urlsplit(address)
    if not parts.hostname or parts.query or parts.fragment or parts.username:
        raise SettingError(
            f"expected http://host:8000 or http://host:8000/models/NAME, got {address!r}; an API "
            f"key goes into the environment variable {API_KEY}"
        )
    folder, found, name = parts.path.rstrip("/").rpartition("/models/")
    path = folder.removesuffix("/v1") if found else parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}", unquote(name) if found else None


def _reason(answer: httpx.Response) -> str:
    """Why the service refused, and what helps."""
    if answer.status_code in (401, 403):
        return f"the API key is missing or wrong; set the environment variable {API_KEY}"
    try:
        problem = answer.json()
        words = ": ".join(str(problem[k]) for k in ("title", "detail") if problem.get(k))
    except (ValueError, AttributeError):  # a proxy's page
        words = ""
    after = answer.headers.get("Retry-After")
    return f"{answer.status_code} {words or answer.reason_phrase}" + (
        f"; try again in {after} s" if after else ""
    )
