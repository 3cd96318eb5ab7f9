"""What hostile clients send, and what the service answers: units, then a service."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import socket
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from serve import messages as m
from serve.arena import Arena
from serve.bodies import STEP, Upload, Uploads
from serve.connections import Connections
from serve.decoders import Pool, Slow, Stopped
from serve.flow import tensors_of
from serve.headers import FORMATS, read_header
from serve.metrics import Metrics
from serve.origins import host_name, local
from serve.problems import Problem
from serve.routes.kserve import OPENED, _check_text
from serve.settings import Settings
from serve.suspicion import Suspicion, empty
from serve.uploads import _parts
from tests.support.images import seeds
from tests.support.service import PHOTOGRAPH, Service
from yolov4sdk.errors import TensorError

pytestmark = pytest.mark.anyio  # for the coroutines among the tests

IMAGE = seeds()["JPEG"]
DETECT = "/v1/detect"


def picture(form: str, side: int = 3000, **options: Any) -> bytes:
    """One color."""
    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, form, **options)
    return out.getvalue()


def packed_bmp(side: int) -> bytes:
    """Run-length encoded, which Pillow unpacks in Python."""
    runs = b"\xff\x00" * (side // 255 + 1) + b"\0\0"
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + head + bytes(1024) + runs


def text_png() -> bytes:
    """A small picture with text that unpacks to megabytes."""
    info, out = PngImagePlugin.PngInfo(), io.BytesIO()
    for _ in range(90):
        info.add_text("a", "b" * 1_000_000, zip=True)
    Image.new("RGB", (64, 64)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


# Images.


@pytest.mark.parametrize(
    "data",
    [
        picture("PNG"), picture("GIF"), picture("JPEG", progressive=True),
        picture("WEBP", 1500, lossless=True), packed_bmp(300), text_png(),
        picture("TIFF", compression="tiff_adobe_deflate"),
    ],
    ids=["png", "gif", "progressive", "webp", "bmp", "text", "tiff"],
)  # fmt: skip
def test_files_that_cost_more_than_their_bytes_wait_apart(data: bytes) -> None:
    header = read_header(data, 10**8)
    assert Suspicion().suspicious(header, data) and not empty(header, data)


def test_photographs_are_not_suspicious() -> None:
    photo = Image.open(PHOTOGRAPH).resize((2000, 1500))
    for form, options in (
        ("JPEG", {"quality": 30}), ("JPEG", {"progressive": True}), ("PNG", {}),
        ("WEBP", {"quality": 60}), ("BMP", {}), ("TIFF", {}), ("GIF", {}), ("AVIF", {"speed": 10}),
    ):  # fmt: skip
        out = io.BytesIO()
        photo.save(out, form, **options)
        header = read_header(out.getvalue(), 10**8)
        assert not Suspicion().suspicious(header, out.getvalue()), form


def test_what_took_long_is_remembered_with_its_like() -> None:
    suspicion, header = Suspicion(), read_header(IMAGE, 10**8)
    suspicion.took(header, IMAGE, 0.1)
    assert not suspicion.suspicious(header, IMAGE)
    suspicion.took(header, IMAGE, float("inf"))
    assert suspicion.suspicious(header, IMAGE)
    other = PHOTOGRAPH.read_bytes()
    assert not suspicion.suspicious(read_header(other, 10**8), other)


def test_bytes_that_hold_nothing() -> None:
    data = picture("WEBP", 7071, lossless=True, method=0)
    assert len(data) < 100 and empty(read_header(data, 10**8), data)


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "HEIF"])
def test_size_of_every_format(form: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (70, 50)).save(out, form)
    assert read_header(out.getvalue(), 10**6) == (form, 50, 70)


def test_size_of_heic() -> None:
    heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (128, 64))).save(out)
    assert read_header(out.getvalue(), 10**6) == ("HEIF", 64, 128)


def test_directory_at_the_end_of_a_tiff_file() -> None:
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (700, 900, 3), np.uint8)
    Image.fromarray(noise).save(out, "TIFF")
    data = bytearray(out.getvalue())
    (start,) = struct.unpack_from("<I", data, 4)
    moved = data + data[start : start + 2 + 12 * data[start] + 4]
    struct.pack_into("<I", moved, 4, len(data))
    moved[start : start + 2] = b"\0\0"
    assert len(data) > 1 << 20
    assert read_header(bytes(moved), 10**6) == ("TIFF", 700, 900)


def test_padding_of_a_jpeg_file_ends() -> None:
    """A size behind a megabyte of padding is not looked for: each byte would be a step."""
    assert read_header(b"\xff\xd8" + b"\xff" * 1000 + IMAGE[2:], 10**6)[1:] == (120, 160)
    with pytest.raises(Problem, match="no size"):
        read_header(b"\xff\xd8" + b"\xff" * 20_000 + IMAGE[2:], 10**6)


async def pool_of(kind: Any, *arguments: int, **settings: Any) -> tuple[Pool, Arena]:
    arena = Arena(1 << 24)
    pool = kind(*arguments, arena, Settings(**settings), Metrics())
    await pool.start()
    return pool, arena


def decode(data: bytes, seconds: float = 5) -> m.Decode:
    from yolov4sdk.contract.contract import Resize

    form = read_header(data, 10**8).format
    return m.Decode(form, seconds, 0, (64, 64), True, 32, False, vars(Resize()))


async def test_killed_decoders_cost_no_image() -> None:
    """Idle, or at work: another process does it; one that is killed twice is 503, never 422."""
    pool, arena = await pool_of(Pool, 1, 0, 0, decode_limit=60)
    try:
        for child in list(pool._children):
            os.kill(child.pid, signal.SIGKILL)
        for _ in range(2):
            answer, _ = await pool.run(decode(IMAGE), IMAGE)
            assert answer.placed.source == (120, 160)
        slow = picture("WEBP", 6000, lossless=True)
        work = asyncio.create_task(pool.run(decode(slow, 50), slow))
        await asyncio.sleep(0.1)
        os.kill(next(iter(pool._children)).pid, signal.SIGKILL)
        assert (await work)[0].placed.source == (6000, 6000)
        with pytest.raises(Stopped, match=r"0\.05 s of processor time"):
            await pool.run(decode(slow, 0.05), slow)
        assert (await pool.run(decode(IMAGE), IMAGE))[0].seconds < 1
    finally:
        await pool.stop()
        arena.close()


async def test_few_suspicious_images_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(Arena(1 << 20), Settings(), Metrics())
    entered = asyncio.Event()

    async def one() -> None:
        async with slow.turn():
            entered.set()
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(one()) for _ in range(5)]
    await entered.wait()
    with pytest.raises(Problem, match="503"):
        async with slow.turn():
            pass
    for task in tasks:
        task.cancel()


# Messages.


def test_messages_are_read_as_they_were_sent() -> None:
    placed = m.Placed((3, 4), (3, 4), (0, 0), (32, 32))
    choice = m.Choice(0.25, 1, 300, (1, 2), False)
    message = m.Detect("m#0", (0, 4096), (placed, placed), (choice, choice))
    assert m.unpack(m.pack(7, message)) == (7, message)
    arrays = m.Inferred(0.5, ((m.Array("<f4", (1, 2)), None),))
    assert m.unpack(m.pack(8, arrays)) == (8, arrays)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", '[1, "Nothing", {}]', '["1", "Started", {}]', '[1, "Started", {"a": 1}]',
        '[1, "Placed", {"source": [1, 2], "resized": [1, 2], "pad": [0, 0], "canvas": [1]}]',
        '[1, "Placed", {"source": [1, 2], "resized": [1, 2], "pad": [0, 0], "canvas": ["a", 1]}]',
        '[1, "Decoded", {"placed": null, "seconds": 1.0}]', '[1, "Refused", {"status": 1}]',
    ],
)  # fmt: skip
def test_messages_that_lie_are_refused(text: str) -> None:
    with pytest.raises(m.MessageError):
        m.unpack(text.encode())


def test_tensors_come_back_from_another_process() -> None:
    from serve.decoder import parse

    values = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}
    files = {"name": "f", "datatype": "BYTES", "shape": [2], "data": ["YQ==", "YmM="]}
    body = json.dumps({"id": "a", "inputs": [values, files]}).encode()
    parsed, payload = parse(body, None)
    found = tensors_of(parsed, payload)
    assert json.loads(parsed.header) == {"id": "a"}
    assert (found["x"] == [[1, 2], [3, 4]]).all() and list(found["f"]) == [b"a", b"bc"]
    with pytest.raises(Problem, match="400"):
        parse(b"[[[[", None)


def test_json_is_judged_before_it_is_parsed() -> None:
    for body, length in (
        (b"[" * (OPENED + 1), None),
        (b"{" * 70_000, "70000"),
        (b"{}", "9" * 5000),
    ):
        with pytest.raises(TensorError):
            _check_text(body, length)
    _check_text(b"[" * OPENED, None)


# Bodies and connections.


def upload(client: str, size: int, progress: float, done: bool = False) -> Upload:
    made = Upload(client, 0)
    made.came(size, 1, progress)
    made.done = done
    return made


def test_the_slowest_upload_makes_room() -> None:
    uploads = Uploads(10 * STEP)
    slow, slower = upload("a", 3 * STEP, 8), upload("b", 3 * STEP, 5)
    held, new = upload("c", 3 * STEP, 1, done=True), upload("d", 2 * STEP, 10)
    for one in (slow, slower, held, new):
        uploads.add(one)
    assert uploads.make_room(new, 10)
    assert slower.evicted and not slow.evicted and not held.evicted


def test_one_client_has_a_share() -> None:
    uploads = Uploads(10 * STEP)
    first, second = upload("a", 5 * STEP, 1), upload("a", 4 * STEP, 10)
    uploads.add(first), uploads.add(second)
    assert uploads.make_room(second, 10) and first.evicted
    alone = upload("b", 20 * STEP, 10)
    full = Uploads(10 * STEP)
    full.add(alone)
    assert full.make_room(alone, 10)  # one alone always fits
    other = upload("c", STEP, 10)
    full.add(other)
    assert not full.make_room(other, 10)  # nobody is slow


def test_unread_answers_are_dropped_slowest_first() -> None:
    table = Connections(Settings(answer_memory=1_000_000))
    dropped, readers = [], []
    for unread, unread_for in ((600_000, 0), (600_000, 3), (600_000, 7)):
        one = SimpleNamespace(unread=unread, unread_for=unread_for)
        one.drop = lambda one=one: dropped.append(one.unread_for)
        readers.append(one)
    table._open = readers  # type: ignore[assignment]
    table.check_unread()
    assert dropped == [7, 3]


def form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(
        b'--B\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\n%b\r\n'
        % (name.encode(), content)
        for name, content in parts
    ) + b"--B--\r\n"  # fmt: skip


def test_parts_of_a_form() -> None:
    content = b"\r\n--C\r\n\r\n" + bytes(range(256))
    found = list(_parts(b"preamble\r\n" + form(("file", content), ("b", b"")), b"B"))
    assert [(part.name, part.content) for part in found] == [("file", content), ("b", b"")]
    for broken in (
        b"",
        b"--B",
        b"--B\r\n",
        b"--B\r\n\r\nx",
        form(("a", b"x"))[:-12],
        b"--Bx\r\n\r\n",
    ):
        with pytest.raises(Problem, match="400"):
            list(_parts(broken, b"B"))


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ("127.0.0.1:8000", True), ("[::1]:8000", True), ("localhost", True), ("box", True),
        ("printer.local", True), ("a.b.svc.cluster.local:80", True), ("evil.example", False),
        ("EVIL.example.:80", False), ("localhost.evil.example", False),
    ],
)  # fmt: skip
def test_hosts_that_nobody_can_own(header: str, good: bool) -> None:
    assert local(host_name(header)) == good


# A service.


def test_options_are_in_the_query_alone(client: httpx.Client) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    for parts in ((("file", IMAGE), ("conf", b"0.9")), (("image", IMAGE),)):
        answer = client.post(DETECT, content=form(*parts), headers=kind)
        assert answer.status_code == 422 and parts[-1][0] in answer.json()["detail"]
    text = form(("file", IMAGE)).replace(b'; filename="a"', b"")
    assert client.post(DETECT, content=text, headers=kind).status_code == 422
    undefined = {"Content-Type": "multipart/form-data; charset=undefined; boundary=B"}
    assert client.post(DETECT, content=form(("file", IMAGE)), headers=undefined).status_code == 200
    for query, status in (("classes=ant&classes=0", 200), ("conf=0.1&conf=0.2", 422)):
        assert client.post(f"{DETECT}?{query}", content=IMAGE).status_code == status


def test_compressed_bodies_are_refused_in_words(client: httpx.Client) -> None:
    headers = {"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}
    answer = client.post(DETECT, content=gzip.compress(IMAGE), headers=headers)
    assert answer.status_code == 415 and "gzip" in answer.json()["detail"]


def test_probes_answer_head(client: httpx.Client) -> None:
    for path in ("/", "/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"):
        answer = client.head(path)
        assert answer.status_code == 200 and not answer.content
    assert client.head(DETECT).status_code == 405


def test_other_sites_and_foreign_names(client: httpx.Client, service: Service) -> None:
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": f"http://127.0.0.1:{service.port}"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.example"}, 200),
        ({"Host": "evil.example"}, 421),
    ):
        answer = client.post(DETECT, content=IMAGE, headers=headers)
        assert answer.status_code == status, headers
    assert client.get("/livez", headers={"Host": "evil.example"}).status_code == 421


def test_json_bombs_are_refused(client: httpx.Client) -> None:
    kind = {"Content-Type": "application/json"}
    bombs = (
        b'{"image":[' + b"[]," * 300_000 + b"0]}",
        b"[" * 900_000,
        b'{"inputs":' + b"{}," * 300_000,
    )
    for path in (DETECT, "/v2/models/micro/infer"):
        for bomb in bombs:
            assert client.post(path, content=bomb, headers=kind).status_code == 400
    nothing = {"name": "images", "datatype": "FP32", "shape": [0] + [2**31 - 1] * 3, "data": []}
    answer = client.post("/v2/models/micro/infer", json={"inputs": [nothing]})
    assert answer.status_code == 400 and "too large" in answer.json()["error"]
    length = {"Inference-Header-Content-Length": "9" * 5000}
    answer = client.post("/v2/models/micro/infer", content=b"{}", headers=length)
    assert answer.status_code == 400


def test_large_json_tensors_are_read_elsewhere(client: httpx.Client) -> None:
    data = np.full((1, 3, 128, 128), 0.5).tolist()
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 3, 128, 128], "data": data}
    answer = client.post("/v2/models/micro/infer", json={"inputs": [tensor]})
    outputs = {entry["name"]: entry for entry in answer.json()["outputs"]}
    assert outputs["scores"]["data"] == [0.5] * (256 + 64 + 16)


def test_heads_end(service: Service) -> None:
    for head in (b"X: " + b"a" * 100_000, b"X: y\r\n" * 20_000):
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as one:
            one.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n" + head[:66_000])
            assert one.recv(100).startswith(b"HTTP/1.1 431")


def test_dripped_bodies_of_refused_requests_are_closed(service: Service) -> None:
    """The answer comes; the rest of the body is read for two seconds, and no longer."""
    head = b"POST /v1/detect?model=none HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as one:
        one.sendall(head)
        assert one.recv(4096).startswith(b"HTTP/1.1 404")
        with pytest.raises(OSError):
            for _ in range(100):
                one.sendall(b"x")
                time.sleep(0.1)


def test_full_streams_say_so(service: Service) -> None:
    url = f"ws://127.0.0.1:{service.port}/v1/stream"
    with connect(url), connect(url), pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["retry-after"]


@pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
    reason="started by nohup: hang-ups are ignored",
)
def test_hang_up_ends_as_a_termination_does(micro: Path) -> None:
    with Service(f"m={micro}") as own:
        assert httpx.post(f"http://127.0.0.1:{own.port}{DETECT}", content=IMAGE).status_code == 200
        own.process.send_signal(signal.SIGHUP)
        assert own.wait() == 0


def test_backends_are_those_of_the_sdk(guest: httpx.Client) -> None:
    from yolov4sdk.backends import TABLE

    headers = {"X-API-Key": "admin-key"}
    for backend in (*TABLE, "tensorrt"):
        wanted = {"file": "missing.onnx", "backend": backend}
        answer = guest.put("/v1/models/x", json=wanted, headers=headers)
        known = answer.json()["title"] == "No such file"
        assert answer.status_code == 422 and known == (backend in TABLE), backend


def test_a_model_that_does_not_fit_its_spec_is_refused(
    guest: httpx.Client, models_dir: Path, micro: Path
) -> None:
    import onnx

    from yolov4sdk.contract.spec import METADATA_KEY

    model = onnx.load(micro)
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = entry.value.replace('["ant"]', '["ant","bee"]').replace(
                '["ant",]', '["ant","bee"]'
            )
            assert "bee" in entry.value
    (models_dir / "two.onnx").write_bytes(model.SerializeToString())
    (models_dir / "loop.onnx").symlink_to("loop.onnx")
    for name in ("two.onnx", "loop.onnx"):
        answer = guest.put(
            "/v1/models/two", json={"file": name}, headers={"X-API-Key": "admin-key"}
        )
        assert answer.status_code == 422, answer.text
    assert {entry["name"] for entry in guest.get(
        "/v1/models", headers={"X-API-Key": "admin-key"}
    ).json()["models"]} == {"m"}  # fmt: skip


def endless(path: Path, micro: Path) -> None:
    """The micro model with a loop of 2^40 turns before its scores."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(micro)
    graph, value = model.graph, helper.make_tensor_value_info
    for node in graph.node:
        node.output[:] = ["before" if name == "scores" else name for name in node.output]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [value("turn", TensorProto.INT64, []), value("go", TensorProto.BOOL, []),
         value("x", TensorProto.FLOAT, None)],
        [value("on", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    graph.initializer.extend([
        helper.make_tensor("turns", TensorProto.INT64, [], [2**40]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
    ])  # fmt: skip
    graph.node.append(helper.make_node("Loop", ["turns", "yes", "before"], ["scores"], body=body))
    path.write_bytes(model.SerializeToString())


def test_a_model_that_never_warms_up_stops_no_other(micro: Path, tmp_path: Path) -> None:
    from .conftest import ADMIN, USER, api_keys

    endless(tmp_path / "endless.onnx", micro)
    own = Service(f"m={micro}", models_dir=tmp_path, api_keys=api_keys(), load_limit=8)
    with own, httpx.Client(base_url=f"http://127.0.0.1:{own.port}", timeout=60) as client:

        async def both() -> tuple[httpx.Response, list[int]]:
            put = {"json": {"file": "endless.onnx"}, "headers": {"X-API-Key": ADMIN}}
            loading = asyncio.create_task(asyncio.to_thread(client.put, "/v1/models/e", **put))
            answers = []
            while not loading.done():
                ask = {"content": IMAGE, "headers": {"X-API-Key": USER}}
                answers.append((await asyncio.to_thread(client.post, DETECT, **ask)).status_code)
                await asyncio.sleep(0.2)
            return await loading, answers

        loaded, answers = asyncio.run(both())
        assert loaded.status_code == 422 and "longer than 8 s" in loaded.json()["detail"]
        assert len(answers) > 5 and set(answers) == {200}
