"""The bench of data sets: what is drawn and cut, and one whole run of a tiny budget."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipe import lookalikes, sets
from benchmarks.suite.parts import PARTS
from benchmarks.suite.result import Options
from tests.train.synthetic import write_dataset as write_shapes
from yolov4sdk.datasets import load_dataset
from yolov4sdk.imaging.images import read_image

# Stands in for ultralytics: it finds exactly what is labelled.
PEER = """#!{python}
import json, sys
sys.path.insert(0, {root!r})
import numpy as np
from yolov4sdk.datasets import load_dataset
script, data, size, epochs, batch, out = sys.argv[1:]
assert script.endswith("peers/recipe.py") and (size, epochs, batch) == ("64", "1", "8")
test = load_dataset(data, "test")
files = open(data.replace("data.yaml", "test.txt")).read().splitlines()
assert files == [str(p.absolute()) for p in test.images]
rows = [[i, *box, 0.9, c] for i in range(len(test)) for box, c in zip(*test.boxes_xyxy(i))]
np.savez(out, rows=np.array(rows))
print(json.dumps({{"seconds": 6.0, "points": [[6.0, 0.5]], "model": "perfect", "own_ap": 0.1}}))
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    return lookalikes.write(folder, {"train": 12, "val": 12, "test": 6}, (96, 128))


def test_the_drawn_set_has_its_classes_and_boxes_on_signs(drawn: Path) -> None:
    train, val, test = (load_dataset(drawn, split) for split in ("train", "val", "test"))
    assert train.names == lookalikes.NAMES
    assert [len(d) for d in (train, val, test)] == [12, 12, 6]
    assert all(1 <= len(boxes) <= 4 for boxes in train.boxes)
    assert train.report.boxes == sum(map(len, train.boxes)) > 12  # none was dropped
    assert not set(lookalikes.FONTS["train"]) & set(lookalikes.FONTS["test"])
    assert not np.array_equal(*(read_image(d.images[0]) for d in (train, val)))


def test_it_is_drawn_alike_every_time(drawn: Path, tmp_path: Path) -> None:
    again = lookalikes.write(tmp_path, {"train": 2}, (96, 128))
    for one, other in zip(load_dataset(drawn, "train").images, load_dataset(again, "train").images,
                          strict=False):  # fmt: skip
        assert np.array_equal(read_image(one), read_image(other))


def test_a_subset_has_the_images_of_its_classes(tmp_path: Path, monkeypatch) -> None:
    everyday = tmp_path / "data" / "everyday20"
    write_shapes(everyday, train=20, val=9, classes=3)
    monkeypatch.setattr(sets, "ANIMALS_FIRST", ("disc", "bar"))
    monkeypatch.setattr(sets, "CLASSES", (1, 2))
    monkeypatch.setattr(sets, "IMAGES", (5, 3000))
    found = {b.name: b for b in sets.benches(tmp_path / "data", quick=False)}
    assert list(found) == ["lookalikes", "everyday20"] + [
        f"everyday20-{c}-classes-{n}-images" for c in (1, 2) for n in (5, 3000)
    ]
    data = found["everyday20-1-classes-5-images"].ready(tmp_path / "cache")
    train, val, test = (load_dataset(data, split) for split in ("train", "val", "test"))
    assert train.names == val.names == ("disc",) and len(train) == 5
    assert all(len(boxes) for boxes in (*train.boxes, *val.boxes, *test.boxes))
    source = load_dataset(everyday / "data.yaml", "val")
    discs = sum((boxes[:, 0] == 1).any() for boxes in source.boxes)
    assert len(val) + len(test) == discs
    assert not {p.name for p in val.images} & {p.name for p in test.images}
    whole = load_dataset(found["everyday20"].ready(tmp_path / "cache"), "train")
    assert len(whole) == 20 and whole.names == ("box", "disc", "bar")


@pytest.mark.slow
def test_the_part_trains_both_and_compares_them(tmp_path: Path) -> None:
    peers = tmp_path / "peers" / "bin"
    peers.mkdir(parents=True)
    root = str(Path(__file__).parents[1])
    (peers / "python").write_text(PEER.format(python=sys.executable, root=root))
    (peers / "python").chmod(0o755)
    options = Options(tmp_path, peers.parent, quick=True)
    result = PARTS["recipe"].run(options)
    (table,) = result.tables
    ours, theirs = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert ours["trainer"] == "ours" and 0 <= ours["AP50-95"] < 0.5
    assert ours["AP50-95"] == pytest.approx(ours["its own AP50-95"], abs=1e-3)
    assert theirs["AP50-95"] == pytest.approx(1.0) and theirs["minutes"] == pytest.approx(0.1)
    least, mean = result.targets
    assert least.value == mean.value == pytest.approx(ours["AP50-95"] - 1.0)
    assert not least.met
    assert result.curves[0].lines["ultralytics"] == [(6.0, 0.5)]
