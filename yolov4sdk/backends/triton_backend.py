"""A model that NVIDIA Triton serves, asked over gRPC."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ..contract.onnx_graph import GraphFacts, GraphTensor
from ..contract.spec import METADATA_KEY, ModelSpec
from ..conventions import decode
from ..errors import BackendError, MissingExtraError, SettingError, SpecError
from .base import ContextManager, Outputs, check_batch
from .foreign import Names, remote_spec

try:
    from tritonclient import grpc
    from tritonclient.grpc import model_config_pb2
    from tritonclient.utils import InferenceServerException, np_to_triton_dtype
except (ImportError, RuntimeError) as _error:  # RuntimeError: installed without its gRPC half
    raise MissingExtraError("A model in Triton", "triton", "tritonclient[grpc]") from _error

PORT: Final = 8001
"""Triton's gRPC port."""
CONNECT_SECONDS: Final = 5.0
INFER_SECONDS: Final = 60.0
NETWORK_KEY: Final = "yolov4sdk.network"
"""Parameter of an ensemble's configuration: the model inside that takes the network's input."""


class TritonBackend(ContextManager):
    """See `Backend`; the spec is in the configuration that `export --engine triton` wrote.

    Args:
        model: "triton://host:port/model"; the port is that of gRPC, 8001 unless given. An
            ensemble of the SDK stands for the network in it.
        device, precision, threads: Triton's own affair, so anything but the default is refused.
        convention: of a foreign model: name of a declaration, or a file with one.
        names: its class names, "coco", or None for numbers.

    Raises:
        SettingError: an address of another form, or a setting that the server decides.
        BackendError: no server there, or no such model; says which there are.
        SpecError: a model that the SDK did not write.
    """

    name = "triton"
    device = "remote"

    def __init__(
        self,
        model: str,
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        convention: str | None = None,
        names: Names | None = None,
    ) -> None:
        if device != "auto" or precision is not None or threads is not None:
            raise SettingError(
                f"{model}: device, precision and threads are set in the server's config.pbtxt"
            )
        self._address, self._model = _parse(model)
        self._client: Any = grpc.InferenceServerClient(self._address)
        try:
            config = self._config(self._model)
            network = config.parameters[NETWORK_KEY].string_value
            if network:
                self._model, config = network, self._config(network)
            spec = self._spec(config, convention, names)
        except Exception:
            self.close()
            raise
        self.spec: ModelSpec
        self._graph, self.spec = spec.contract, spec.decoded()
        self.precision: str = self.spec.precision
        self._max_batch: int = config.max_batch_size
        self._outputs = [output.name for output in config.output]

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """See `Backend.infer`; what is more than the server's largest batch goes in parts."""
        if self._client is None:
            raise BackendError("this backend is closed; connect again")
        check_batch(batch, self.spec)
        step = self._max_batch or len(batch)
        parts = [self._request(batch[i : i + step]) for i in range(0, len(batch), step)]
        arrays = {
            name: np.concatenate([part[name] for part in parts])
            if len(parts) > 1
            else parts[0][name]
            for name in self._outputs
        }
        return decode(arrays, self._graph, self._graph.input.canvas_of(batch.shape))

    def close(self) -> None:
        """See `Backend.close`."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _request(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        inputs = []
        for name, array in self._graph.input.feeds(batch).items():
            inputs.append(grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(np.ascontiguousarray(array))
        outputs = [grpc.InferRequestedOutput(name) for name in self._outputs]
        try:
            answer = self._client.infer(
                self._model, inputs, outputs=outputs, client_timeout=INFER_SECONDS
            )
        except InferenceServerException as error:
            raise BackendError(
                f"Triton at {self._address} failed on {self._model}: {_reason(error)}"
            ) from error
        return {name: answer.as_numpy(name) for name in self._outputs}

    def _spec(self, config: Any, convention: str | None, names: Names | None) -> ModelSpec:
        """The spec in a configuration, or of its inputs and outputs under a declaration."""
        text = config.parameters[METADATA_KEY].string_value
        if convention is None and not text:
            raise SpecError(
                f"the model {self._model} in Triton holds no ModelSpec; write its repository "
                "with `yolov4sdk export --engine triton`, or say what its outputs are with "
                "convention="
            )
        if convention is None:
            return ModelSpec.from_json(text)
        if text:
            raise SettingError(f"{self._model} is a model of this SDK; it needs no convention")
        batch = (None,) if config.max_batch_size else ()

        def told(port: Any) -> GraphTensor:
            sides = tuple(side if side > 0 else None for side in port.dims)
            return GraphTensor(port.name, _dtype(port), (*batch, *sides))

        inputs, outputs = tuple(map(told, config.input)), tuple(map(told, config.output))
        return remote_spec(self._model, GraphFacts(inputs, outputs), convention, names)

    def _config(self, model: str) -> Any:
        try:
            if self._client.is_model_ready(model, client_timeout=CONNECT_SECONDS):
                return self._client.get_model_config(model, client_timeout=CONNECT_SECONDS).config
            index = self._client.get_model_repository_index(client_timeout=CONNECT_SECONDS)
        except InferenceServerException as error:
            raise BackendError(
                f"no Triton answers at {self._address} ({_reason(error)}); its gRPC port is "
                f"{PORT} unless --grpc-port says otherwise"
            ) from error
        ready = sorted({entry.name for entry in index.models if entry.state == "READY"})
        raise BackendError(
            f"Triton at {self._address} has no model {model!r} ready; there are "
            f"{', '.join(ready) or 'none'}"
        )


def _parse(address: str) -> tuple[str, str]:
    """("host:port", model) of "triton://host:port/model"."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or PORT
    except ValueError:  # a port that is not a number
        host, port = None, 0
    model = parts.path.strip("/") if host else ""
    if not host or not model or "/" in model or parts.query or parts.username:
        raise SettingError(f'a model in Triton is "triton://host:port/model", got {address!r}')
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", model


def _dtype(port: Any) -> str:
    """NumPy's name of a type of Triton's configuration."""
    kind: str = model_config_pb2.DataType.Name(port.data_type).removeprefix("TYPE_")
    kinds = {"FP16": "float16", "FP32": "float32", "FP64": "float64", "BOOL": "bool"}
    return kinds.get(kind, kind.lower())


def _reason(error: Any) -> str:
    message: str = error.message() or str(error)
    return message.strip().splitlines()[0].rstrip(".")
