"""The machine's own matrix and memory rates: what a network's speed is a share of."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import numpy as np

from ..system.cpu import available_cpus
from ..system.openvino_runtime import load_openvino, openvino_core

SIDE: Final = 2048
"""Of the matrices: large enough to keep all units busy, small enough for the cache."""
CUDA_SIDE: Final = 8192
"""Of those on a GPU, whose units are many."""
ROUNDS: Final = 8
COPIED: Final = 1 << 28
"""Bytes that each processor copies."""

Run = Callable[[], Any]


def matrix_rates(rounds: int = ROUNDS, device: str = "cpu") -> dict[str, float]:
    """Operations a second (2 x multiply-add) of a matrix product, by precision.

    On a CPU for each precision the best of what is installed (NumPy, torch, OpenVINO, ONNX
    Runtime), on a CUDA device torch's ("fp32" without TF32, as the backends compute), by the
    fastest run: a ceiling is not an average. A precision that no runtime here computes in is left
    out.
    """
    rates: dict[str, float] = {}
    side: int = SIDE
    probes: Sequence[Callable[[], dict[str, Run]]] = (_numpy, _torch, _openvino, _onnxruntime)
    if device != "cpu":
        side, probes = CUDA_SIDE, (partial(_cuda, device),)
    for probe in probes:
        try:
            runs = probe()
        except ImportError:
            continue
        for precision, run in runs.items():
            run()
            fastest = min(_seconds(run) for _ in range(rounds))
            rates[precision] = max(rates.get(precision, 0.0), 2 * side**3 / fastest)
    return rates


def copy_rate(rounds: int = ROUNDS) -> float:
    """Bytes a second, read and written together, of copying memory with all processors.

    By the fastest run, of arrays too large for any cache.
    """
    count = available_cpus()
    pairs = [(np.empty(COPIED, np.uint8), np.ones(COPIED, np.uint8)) for _ in range(count)]

    with ThreadPoolExecutor(count) as pool:  # NumPy copies without holding Python's lock

        def run() -> None:
            list(pool.map(lambda pair: np.copyto(*pair), pairs))

        run()
        fastest = min(_seconds(run) for _ in range(rounds))
    return 2 * count * COPIED / fastest


def _seconds(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _matrix() -> Any:
    return np.random.default_rng(0).random((SIDE, SIDE), np.float32)


def _numpy() -> dict[str, Run]:
    a, out = _matrix(), np.empty((SIDE, SIDE), np.float32)
    return {"fp32": lambda: np.matmul(a, a, out=out)}


def _torch() -> dict[str, Run]:
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), available_cpus()))
    single = torch.from_numpy(_matrix())
    half = single.bfloat16()
    return {"fp32": lambda: single @ single, "bf16": lambda: half @ half}


def _cuda(device: str) -> dict[str, Run]:
    """Nothing where torch sees no such device."""
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        return {}
    kinds = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    matrix = torch.rand(CUDA_SIDE, CUDA_SIDE, device=device)

    def product(a: Any) -> None:
        a @ a
        torch.cuda.synchronize(device)

    return {precision: partial(product, matrix.to(dtype)) for precision, dtype in kinds.items()}


def _onnxruntime() -> dict[str, Run]:
    """Integers in, integers out: without the conversions that stand around OpenVINO's product."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    left = rng.integers(0, 256, (SIDE, SIDE), np.uint8)
    weight = rng.integers(-127, 128, (SIDE, SIDE), np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [SIDE, SIDE])],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return {"int8": lambda: session.run(None, {"x": left})}


def _openvino() -> dict[str, Run]:
    openvino = load_openvino("OpenVINO")
    with openvino_core() as core:
        return _products(openvino, core)


def _products(openvino: Any, core: Any) -> dict[str, Run]:
    offered = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    runs: dict[str, Run] = {}
    for precision, name in (("fp32", "FP32"), ("bf16", "BF16"), ("int8", "INT8")):
        if name in offered:
            config = {
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
                "INFERENCE_NUM_THREADS": available_cpus(),
            }
            model = _product(openvino, quantised=precision == "int8")
            request = core.compile_model(model, "CPU", config).create_infer_request()
            runs[precision] = partial(request.infer, {0: _matrix()})
    return runs


def _product(openvino: Any, quantised: bool) -> Any:
    """y = x W as a model; quantised: both in eight bits, as a quantiser would write it."""
    ops = openvino.opset13
    x = ops.parameter([SIDE, SIDE], np.float32)
    weight = ops.constant(_matrix() - 0.5)
    left, right = x, weight
    if quantised:
        left = ops.fake_quantize(x, *(np.float32(v) for v in (0, 1, 0, 1)), 256)
        right = ops.fake_quantize(weight, *(np.float32(v) for v in (-0.5, 0.5, -0.5, 0.5)), 255)
    return openvino.Model([ops.matmul(left, right, False, True)], [x])
