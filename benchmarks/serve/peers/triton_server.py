"""The model behind pytriton's Triton; run by the Python of its own environment."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, QueuePolicy, Tensor, TimeoutAction
from pytriton.triton import Triton, TritonConfig


def main() -> None:
    """Serve on 127.0.0.1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    for name, kind in (("port", int), ("threads", int), ("batch", int), ("delay", float),
                       ("queue", int), ("deadline", float)):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, required=True)
    args = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    outputs = session.get_outputs()
    names = [output.name for output in outputs]
    for count in range(1, args.batch + 1):
        session.run(names, {"images": np.zeros((count, 3, 320, 320), np.float32)})

    @batch  # type: ignore[untyped-decorator]
    def run(images: Any) -> dict[str, Any]:
        return dict(zip(names, session.run(names, {"images": images}), strict=True))

    queue = QueuePolicy(
        timeout_action=TimeoutAction.REJECT, max_queue_size=args.queue,
        default_timeout_microseconds=int(args.deadline * 1e6),
    )  # fmt: skip
    delay = int(args.delay * 1e6)
    batcher = DynamicBatcher(max_queue_delay_microseconds=delay, default_queue_policy=queue)
    config = TritonConfig(
        http_address="127.0.0.1", http_port=args.port, allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="default",
            infer_func=run,
            inputs=[Tensor(name="images", dtype=np.float32, shape=(3, 320, 320))],
            outputs=[Tensor(name=n, dtype=np.float32, shape=(-1, o.shape[-1])) for n, o in
                     zip(names, outputs, strict=True)],
            config=ModelConfig(max_batch_size=args.batch, batcher=batcher),
        )  # fmt: skip
        triton.serve()


if __name__ == "__main__":
    main()
