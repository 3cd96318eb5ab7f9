"""Every convention decodes a tiny graph with known boxes, in NumPy and as nodes of the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from export.adopt.rewrite import rewrite
from yolov4sdk.contract.contract import FORMS, GraphContract
from yolov4sdk.contract.onnx_graph import read_onnx_graph
from yolov4sdk.conventions import Outputs, conventions, decode
from yolov4sdk.conventions.fit import fit

from .cases import BOXES, CASES, SCORES, SIDE, Case, write

DECLARED = sorted(set(conventions()) - set(FORMS))


def contract_of(name: str, case: Case, path: Path) -> GraphContract:
    return fit(conventions()[name], read_onnx_graph(path), case.names, (SIDE, SIDE))


def check(outputs: Outputs, case: Case) -> None:
    boxes, scores, ids = outputs.boxes[0], outputs.scores[0], outputs.class_ids
    classes = scores.argmax(1) if ids is None else ids[0]
    best = scores.max(1) if ids is None else scores
    found = np.argsort(-best, kind="stable")[:3]
    np.testing.assert_allclose(boxes[found], BOXES, atol=1e-4)
    np.testing.assert_allclose(best[found], SCORES, atol=1e-6)
    np.testing.assert_array_equal(classes[found], case.classes)
    rest = np.delete(best, found)
    assert not (rest > 0.02).any()  # unused rows say nothing


def test_there_is_a_case_for_each() -> None:
    assert sorted(CASES) == DECLARED


@pytest.mark.parametrize("name", DECLARED)
def test_known_boxes(name: str, tmp_path: Path) -> None:
    case = CASES[name]()
    path = write(case, tmp_path / "m.onnx")
    contract = contract_of(name, case, path)
    check(decode(case.outputs, contract, (SIDE, SIDE)), case)

    adopted, own = rewrite(onnx.load(path), contract)
    onnx.checker.check_model(adopted)
    session = onnxruntime.InferenceSession(adopted.SerializeToString())
    image = np.full((1, SIDE, SIDE, 3), 7, np.uint8)
    names = [output.name for output in session.get_outputs()]
    raw = dict(zip(names, session.run(None, {"images": image}), strict=True))
    check(decode(raw, own, (SIDE, SIDE)), case)


def test_fewer_pairs_than_the_best_are_asked_for(tmp_path: Path) -> None:
    """6 queries of 3 classes, where the file does not say how many rows it gives."""
    case = CASES["rtdetr-hf"]()
    model = onnx.load(write(case, tmp_path / "m.onnx"))
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = "queries"
    onnx.save(model, tmp_path / "m.onnx")
    contract = contract_of("rtdetr-hf", case, tmp_path / "m.onnx")
    assert contract.output.topk == 300 and contract.output.rows is None
    adopted, own = rewrite(model, contract)
    session = onnxruntime.InferenceSession(adopted.SerializeToString())
    image = np.full((1, SIDE, SIDE, 3), 7, np.uint8)
    names = [output.name for output in session.get_outputs()]
    raw = dict(zip(names, session.run(None, {"images": image}), strict=True))
    assert raw["scores"].shape == (1, 6 * 3)
    check(decode(raw, own, (SIDE, SIDE)), case)
