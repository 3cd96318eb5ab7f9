"""The model behind LitServe; run by the Python of its own environment.

Tensors go as raw bytes both ways: LitServe's JSON would cost it most of its time.
"""

import argparse
import struct
from typing import Annotated, Any

import litserve
import numpy as np
import onnxruntime
from fastapi import Body, Response

SHAPE = (3, 320, 320)


class Network(litserve.LitAPI):  # type: ignore[misc]
    """Batches of float32 [3, 320, 320] through ONNX Runtime."""

    def __init__(self, model: str, threads: int, **options: Any) -> None:
        super().__init__(**options)
        self._model, self._threads = model, threads

    def setup(self, device: str) -> None:
        """Load and warm up."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        self._session = onnxruntime.InferenceSession(
            self._model, options, providers=["CPUExecutionProvider"]
        )
        self._names = [output.name for output in self._session.get_outputs()]
        for count in range(1, self.max_batch_size + 1):
            self._session.run(self._names, {"images": np.zeros((count, *SHAPE), np.float32)})

    # FastAPI gives the body as it is for this annotation; LitServe itself would read JSON.
    def decode_request(self, request: Annotated[bytes, Body()]) -> Any:
        """The tensor of a request."""
        return np.frombuffer(request, np.float32).reshape(SHAPE)

    def batch(self, inputs: list[Any]) -> Any:
        """Tensors to one batch."""
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        """Run the network."""
        return self._session.run(self._names, {"images": x if x.ndim == 4 else x[None]})

    def unbatch(self, output: Any) -> Any:
        """One batch's outputs to one list an image."""
        return list(zip(*output, strict=True))

    def encode_response(self, output: Any) -> Response:
        """Outputs as raw bytes, each behind its length."""
        parts = [np.ascontiguousarray(array).tobytes() for array in output]
        content = b"".join(struct.pack("<I", len(part)) + part for part in parts)
        return Response(content, media_type="application/octet-stream")


def main() -> None:
    """Serve on 127.0.0.1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    for name, kind in (("port", int), ("threads", int), ("batch", int), ("delay", float),
                       ("queue", int), ("deadline", float)):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, required=True)
    args = parser.parse_args()
    api = Network(args.model, args.threads, max_batch_size=args.batch, batch_timeout=args.delay)
    server = litserve.LitServer(api, accelerator="cpu", timeout=args.deadline)  # no queue limit
    server.run(host="127.0.0.1", port=args.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
