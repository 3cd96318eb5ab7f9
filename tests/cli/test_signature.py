"""Options that are declared in a dataclass: what is refused, and what the command makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from yolov4sdk.cli import app
from yolov4sdk.cli.signature import accepts
from yolov4sdk.errors import SettingError
from yolov4sdk.system.option import about, check, options_of


@dataclass(frozen=True)
class Inner:
    gain: float = field(default=0.5, metadata=about("Weight.", low=0, high=1))
    kind: Literal["giou", "ciou"] = field(default="ciou", metadata=about("Of the loss."))

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Outer:
    count: int = field(default=3, metadata=about("How many.", low=1, high=9, panel="Numbers"))
    cache: Literal["ram", "disk"] | None = field(default="ram", metadata=about("Where."))
    plots: bool = field(default=True, metadata=about("Draw."))
    half: bool = field(default=False, metadata=about("Half."))
    names: tuple[str, ...] | None = field(default=None, metadata=about("Names.", shown="all"))
    pair: tuple[int, ...] = field(
        default=(1, 2), metadata=about("A pair.", parse=lambda t: tuple(map(int, t.split(","))))
    )
    file: Path | None = field(default=None, metadata=about("A file."))
    inner: Inner = field(default_factory=Inner, metadata={"panel": "Inner"})
    hidden: int = 0  # no option

    def __post_init__(self) -> None:
        check(self)


def run(*words: str) -> dict[str, Any]:
    alone, seen = typer.Typer(), {}

    @alone.command()
    @accepts(Outer)
    def command(place: str = "here", *, given: dict[str, Any]) -> None:
        """A command."""
        seen.update(given, place=place)

    done = CliRunner().invoke(alone, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return seen if seen else {"help": done.output}


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("", {}),
        ("--count 4 --gain 0.25", {"count": 4, "gain": 0.25}),
        ("--cache none", {"cache": None}),
        ("--no-plots --half", {"plots": False, "half": True}),
        ("--names a --names b", {"names": ("a", "b")}),
        ("--pair 3,4 --kind giou", {"pair": (3, 4), "kind": "giou"}),
        ("--file x.txt", {"file": Path("x.txt")}),
    ],
)
def test_the_command_passes_on_what_was_given(words: str, given: dict[str, Any]) -> None:
    assert run(*words.split()) == {**given, "place": "here"}


def test_help_and_headings_come_from_the_declaration() -> None:
    text = run("--help")["help"]
    assert "giou or ciou. Of the loss." in text and "ram, disk or none. Where." in text
    assert "(0.5)" in text and "(all)" in text and "--hidden" not in text
    assert (
        text.index("Numbers") < text.index("--count") < text.index("Inner") < text.index("--gain")
    )


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Outer, {"count": 0}, "count must be a positive integer, at most 9, got 0"),
        (Outer, {"count": 2.5}, "count must be a positive integer"),
        (Outer, {"count": True}, "count must be a positive integer"),
        (Outer, {"count": None}, "count must be a positive integer"),
        (Outer, {"cache": "disc"}, "cache must be one of ram, disk, got 'disc'"),
        (Outer, {"plots": "no"}, "plots must be true or false, got 'no'"),
        (Inner, {"gain": 1.01}, "gain must be between 0 and 1, got 1.01"),
        (Inner, {"gain": float("nan")}, "gain must be between 0 and 1, got nan"),
        (Inner, {"gain": "0.5"}, "gain must be between 0 and 1, got '0.5'"),
        (Inner, {"kind": None}, "kind must be one of giou, ciou, got None"),
    ],
)
def test_what_is_not_allowed_is_named(kind: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        kind(**values)


def test_numbers_of_numpy_become_numbers_of_python() -> None:
    made = Outer(count=np.int64(4), cache=None, inner=Inner(gain=np.float32(0.5)))  # type: ignore[arg-type]
    assert type(made.count) is int and type(made.inner.gain) is float


@pytest.mark.parametrize(
    "kind", ["export:ExportOptions", "export:Int8Options", "export:TritonOptions"]
)
def test_every_field_is_declared(kind: str) -> None:
    import dataclasses
    from importlib import import_module

    package, name = kind.split(":")
    declared = getattr(import_module(f"{package}.options"), name)
    assert {o.name for o in options_of(declared)} == {f.name for f in dataclasses.fields(declared)}
    assert all(o.declared.help.endswith(".") for o in options_of(declared))


def offered(words: str) -> list[str]:
    """What bash is offered behind these words; the last one is not finished."""
    count = len(words.split(" ")) - 1
    environment = {
        "_YOLOV4SDK_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count),
    }  # fmt: skip
    done = CliRunner().invoke(app, [], env=environment, prog_name="yolov4sdk")
    return done.output.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("yolov4sdk train-", ["train-backbone"]),
        ("yolov4sdk export --engine trt", ["trt", "trt-rtx"]),
        ("yolov4sdk export --precision ", ["fp32", "fp16", "bf16", "int8"]),
        ("yolov4sdk train --cache ", ["ram", "disk", "none"]),
        ("yolov4sdk train --model yolov4-p", ["yolov4-p5", "yolov4-p6", "yolov4-p7"]),
        ("yolov4sdk train-backbone --model res", ["resnet50"]),
        ("yolov4sdk benchmark --backend op", ["openvino"]),
        ("yolov4sdk serve --backend onnx", ["onnxruntime"]),
        ("yolov4sdk export mod", []),  # the shell then offers files
    ],
)
def test_values_are_completed(words: str, expected: list[str]) -> None:
    assert offered(words) == expected
