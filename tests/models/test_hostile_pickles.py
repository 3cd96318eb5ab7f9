"""Hostile checkpoints: an error of ours, little time and memory, and no change of the reader."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from yolov4sdk import errors
from yolov4sdk.models import build_model
from yolov4sdk.models.official import import_official
from yolov4sdk.models.pickle_machine import Machine
from yolov4sdk.models.pickles import Stub, load_pickled
from yolov4sdk.system import bounds

from ..support.pickle_writing import (
    NAN,
    checkpoint,
    doubling,
    group,
    legacy,
    listed,
    mapping,
    module,
    name,
    number,
    storage,
    tensor,
    text,
)

FOUR = {"0": struct.pack("<4f", 1, 2, 3, 4)}
STORED = storage(text("0"), 4)
VECTOR = tensor(STORED, 0, (4,), (1,))
ENCODE = name("_codecs", "encode")
ORDERED = name("collections", "OrderedDict")

REFUSED = {
    "a call of a text": text("os.system") + group(text("touch x")) + b"R",
    "a call of a list": b"]" + b")R",
    "arguments that are no tuple": ORDERED + b"]R",
    "a state for a function": ENCODE + mapping(__defaults__=group(text("rot13"))) + b"b",
    "slots of a function": ENCODE + b"N" + mapping(__defaults__=group(text("x"))) + b"\x86b",
    "a state for a class": name("models.yolo", "Model") + mapping(name=text("x")) + b"b",
    "a state for a storage type": name("torch", "FloatStorage") + mapping(dtype=b"N") + b"b",
    "a state for a tensor": VECTOR + group(STORED, number(0), group(number(2**50)), b")") + b"b",
    "a state for a list": b"]" + mapping(x=b"N") + b"b",
    "a storage key that is NaN": storage(NAN, 4),
    "a storage key that is a tuple": storage(doubling(40), 4),
    "a storage of negative length": storage(text("0"), -1),
    "a storage of two types": STORED + storage(text("0"), 2, "DoubleStorage"),
    "a storage without an entry": storage(text("1"), 4),
    "a storage of six fields": storage(text("0"), 4, "FloatStorage", b"N"),
    "a persistent id of tuples": doubling(60) + b"Q",
    "a key of tuples": b"}" + doubling(60) + b"Ns",
    "a key that is NaN": b"}" + NAN + b"Ns",
    "a member that is a list": b"\x8f(]\x90",
    "a set of tuples": name("builtins", "set") + group(listed(doubling(60))) + b"R",
    "an OrderedDict of numbers": ORDERED + group(listed(number(1))) + b"R",
    "a tensor of a tensor": tensor(VECTOR, 0, (4,), (1,)),
    "a tensor of 2^50 zeros": tensor(STORED, 0, (2**50,), (0,)),
    "a tensor past its storage": tensor(STORED, 2, (3,), (1,)),
    "a tensor of negative stride": tensor(STORED, 3, (4,), (-1,)),
    "a tensor of 9 dimensions": tensor(STORED, 0, (1,) * 9, (1,) * 9),
    "a parameter of a text": name("torch._utils", "_rebuild_parameter") + group(text("x")) + b"R",
    "a text in rot13": ENCODE + group(text("abc"), text("rot13")) + b"R",
    "items for a number": number(1) + b"(Ne",
    "entries for a list": b"](NNu",
    "an opcode of protocol 5": b"\x96" + struct.pack("<Q", 8) + bytes(8),
    "a text longer than the file": b"X" + struct.pack("<I", 2**31 - 1),
    "bytes longer than the file": b"B" + struct.pack("<I", 2**32 - 1),
    "an empty stack": b"0",
    "a mark that is missing": b"t",
    "an unknown memo": b"h\x05",
    "dotted name": name("models.common", "os.system"),
    "numbers with one hash": b"}" + number(2**61 - 1) + b"Ns",
    "too many steps": b"N0" * bounds.OPCODES,
    "too many sets": b"](" + b"\x8f" * (bounds.OBJECTS + 1) + b"e",
    "too many tensors": STORED + b"q\x00" + name("torch._utils", "_rebuild_tensor_v2") + b"q\x010]("
    + b"h\x01(h\x00K\x00))tR" * (bounds.TENSORS + 1) + b"e",
    "texts encoded again and again": b"](" + ENCODE + b"q\x00" + text("a" * 1_000_000) + b"q\x01"
    + b"h\x00h\x01\x85R" * 40 + b"e",
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_checkpoint_holds_is_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ArtefactError) as raised:
        load_pickled(checkpoint(tmp_path / "x.pt", REFUSED[what], FOUR))
    assert len(str(raised.value)) < 1000


IN_THE_NETWORK = {
    "parts that are a number": module(_modules=number(5)),
    "a module that is a number": module(_modules=mapping(a=number(5))),
    "buffers of a number": module(
        _modules=b"}", _buffers=b"}" + number(1) + number(2) + b"s",
        _non_persistent_buffers_set=number(1),
    ),
    "parameters that are a list": module(_modules=b"}", _parameters=b"]"),
    # The memo is module 0: it holds itself, or two of itself a level.
    "a module in itself": name("models.yolo", "Model") + b")\x81q\x00"
    + mapping(_modules=mapping(a=b"h\x00")) + b"b",
    "modules by the power of two": module(_modules=b"}") + (
        b"q\x00" + module(_modules=mapping(a=b"h\x00", b=b"h\x00"))
    ) * 40,
    "an epsilon that is a text": module("BatchNorm2d", _modules=b"}", eps=text("1e400")),
    "an epsilon that is NaN": module("BatchNorm2d", _modules=b"}", eps=NAN),
}  # fmt: skip


@pytest.mark.parametrize("what", IN_THE_NETWORK)
def test_networks_that_are_none_are_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ArtefactError) as raised:
        import_official(checkpoint(tmp_path / "x.pt", IN_THE_NETWORK[what]))
    assert len(str(raised.value)) < 1000


def head(state: bytes = b"", classes: int = 2) -> tuple[bytes, dict[str, bytes]]:
    """A network that is a head of this family and no more."""
    grid = tensor(storage(text("0"), 18), 0, (3, 1, 3, 1, 1, 2), (6, 6, 2, 2, 2, 1))
    filters = 3 * (5 + classes)
    conv = tensor(storage(text("1"), filters), 0, (filters, 1, 1, 1), (1, 1, 1, 1))
    detect = module("Detect", _buffers=mapping(anchor_grid=grid),
                    _modules=mapping(m=module(_modules=mapping(**{"0": module(
                        _modules=b"}", _parameters=mapping(weight=conv))}))))  # fmt: skip
    body = module(_modules=mapping(model=module(_modules=mapping(**{"0": detect}))))
    return body + state, {"0": np.ones(18, "<f4").tobytes(), "1": bytes(4 * filters)}


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        (mapping(names=listed(doubling(60), number(1))), "a class has the name"),
        (mapping(names=b"}(K\x00Nu"), "a class has the name None"),
        (mapping(yaml=mapping(anchors=doubling(60))), "its architecture holds more than"),
        (mapping(yaml=mapping(head=listed(module()))), "its architecture holds a value of type"),
        (mapping(yaml=mapping(nc=number(2))), "missing keys"),
    ],
)
def test_names_and_architectures_of_files(state: bytes, wanted: str, tmp_path: Path) -> None:
    body, storages = head(state + b"b")
    with pytest.raises(errors.YOLOv4Error, match=wanted) as raised:
        import_official(checkpoint(tmp_path / "x.pt", body, storages))
    assert len(str(raised.value)) < 1000


def test_tensors_that_share_their_values_are_no_more_than_the_file(tmp_path: Path) -> None:
    values = torch.zeros(20_000, dtype=torch.uint8)
    torch.save({f"w{k}": values[:] for k in range(1000)}, tmp_path / "x.pt")
    with pytest.raises(errors.ForeignFileError, match="more values than it holds"):
        import_official(tmp_path / "x.pt")


def test_a_hostile_file_changes_nothing_for_the_next(tmp_path: Path) -> None:
    plain = checkpoint(tmp_path / "plain.pt", ENCODE + group(text("abc")) + b"R")
    assert load_pickled(plain) == b"abc"
    for what in REFUSED:
        if what.startswith(("a state", "slots")):
            evil = checkpoint(tmp_path / "evil.pt", REFUSED[what], FOUR)
            with pytest.raises(errors.ForeignFileError):
                load_pickled(evil)
    assert load_pickled(plain) == b"abc"


def test_attributes_of_a_stub_are_never_its_own(tmp_path: Path) -> None:
    state = mapping(kind=number(5), args=number(6), __class__=number(7), append=number(8))
    found = load_pickled(
        checkpoint(tmp_path / "x.pt", name("models.yolo", "A") + b")\x81" + state + b"b")
    )
    assert type(found) is Stub and found.kind == "models.yolo.A" and found.args == ()


def test_a_promise_of_a_gigabyte_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"\x80\x05\x96" + struct.pack("<Q", 1 << 30))
    with pytest.raises(errors.ForeignFileError):
        load_pickled(tmp_path / "x.pt")


def test_zips_that_no_torch_writes(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "x.pt", b"N", {"0": bytes(100_000)})
    data = bytearray(path.read_bytes())
    # The list of entries says that a small entry is as large as the file: they overlap.
    at = data.rfind(b"archive/version") - 46
    struct.pack_into("<II", data, at + 20, 100_000, 100_000)
    (tmp_path / "y.pt").write_bytes(data)
    with pytest.raises(errors.ForeignFileError, match="overlap"):
        load_pickled(tmp_path / "y.pt")
    with zipfile.ZipFile(tmp_path / "z.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02N.")
        for k in range(2100):
            archive.writestr(f"{k:02000}", b"")
    with pytest.raises(errors.ArtefactError, match="list of entries is too long"):
        load_pickled(tmp_path / "z.pt")


def test_older_streams(tmp_path: Path) -> None:
    tail = struct.pack("<q4f", 4, 1, 2, 3, 4)
    keys = listed(text("0"))
    stored = storage(text("0"), 4, "FloatStorage", b"N")
    good = legacy(tmp_path / "x.pt", tensor(stored, 0, (4,), (1,)), keys, tail)
    assert load_pickled(good).tolist() == [1, 2, 3, 4]
    for body, names, data in (
        (VECTOR, keys, tail),  # five fields
        (tensor(stored, 0, (4,), (1,)), doubling(60), tail),
        (tensor(stored, 0, (4,), (1,)), listed(text("1")), tail),
        (tensor(stored, 0, (4,), (1,)), keys, tail[:-1]),
        (tensor(stored, 0, (4,), (1,)), keys, struct.pack("<q", -1) + tail[8:]),
        (storage(text("0"), 2**40, "FloatStorage", b"N"), keys, tail),
    ):
        with pytest.raises(errors.ArtefactError):
            load_pickled(legacy(tmp_path / "y.pt", body, names, data))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_beside_other_things(zipped: bool, tmp_path: Path) -> None:
    """What training programs put beside the weights is read, and left."""
    import argparse
    from collections import Counter, defaultdict
    from datetime import datetime

    stored = build_model("yolov4-csp-n", names=["a", "b"]).state_dict()
    path = tmp_path / "x.pt"
    content = {
        "state_dict": stored,
        "best_fitness": np.float64(0.3),
        "maps": np.zeros(80),
        "labels": np.array(["a", "b"]),
        "ids": np.arange(5),
        "small": np.float32(1),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "size": torch.Size([3, 4]),
        "opt": argparse.Namespace(weights=Path("x"), epochs=3),
        "date": datetime(2021, 5, 1),
        "counts": Counter("aab"),
        "lists": defaultdict(list, {1: [2]}),
        "nothing": {None: True, 1.5: -(2**70), b"x": "\N{GRINNING FACE}"},
        "flags": {frozenset({1}): 0} and {1, "x"},
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    loaded = import_official(path)
    assert loaded.spec.architecture == "yolov4-csp-n"
    assert all(torch.equal(v, stored[k]) for k, v in loaded.state_dict().items())
    assert load_pickled(path)["nothing"] == content["nothing"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol(protocol: int, tmp_path: Path) -> None:
    content = {"w": torch.arange(6.0).view(2, 3).t(), "n": [1, -1, 300, 2**40, None, (1, 2, 3, 4)]}
    torch.save(content, tmp_path / "x.pt", pickle_protocol=protocol)
    found = load_pickled(tmp_path / "x.pt")
    assert torch.equal(found["w"], content["w"]) and found["n"] == content["n"]


def test_every_opcode_that_is_written_is_read() -> None:
    values = [{1: "a" * 300, "b": 1.5}, (1,), (1, 2), {3}, b"x", b"y" * 300, True, None, 1 << 70]
    for protocol in (2, 3, 4):
        written = io.BytesIO(pickle.dumps([*values, object, object, *range(70_000)], protocol))
        assert Machine("x", lambda pid: None).load(written)[: len(values)] == values
