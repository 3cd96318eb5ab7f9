"""The table of commands: where each one is, and what it needs besides the core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperGroup

from ..errors import MissingExtraError


class Row(NamedTuple):
    """A command.

    Attributes:
        place: "module:name" in this package, a function or a group of commands.
        extra: what it needs, "" for nothing besides the core. What only some of its options need
            is not in here; whatever needs that says so.
        modules: those of the extra that it cannot begin without.
    """

    place: str
    extra: str = ""
    modules: tuple[str, ...] = ()


_TORCH: Final = ("torch", "safetensors", "yaml")
TABLE: Final = {
    "init": Row("init:init"),
    "detect": Row("detect:detect"),
    "label": Row("label:label"),
    "import": Row("import_model:import_model", "torch", _TORCH),
    "adopt": Row("adopt:adopt", "export"),
    "probe": Row("probe:probe", "cpu", ("onnxruntime",)),
    "export": Row("export:export", "export"),
    "train": Row("train:train", "train", (*_TORCH, "faster_coco_eval")),
    "train-backbone": Row("train_backbone:train_backbone", "train", _TORCH),
    "val": Row("val:val", "eval", ("faster_coco_eval",)),
    "verify": Row("verify:verify"),
    "benchmark": Row("benchmark:benchmark"),
    "serve": Row("serve:serve", "serve"),
    "models": Row("models:models"),
    "info": Row("info:info"),
    "doctor": Row("doctor:doctor"),
    "data": Row("data:data_app"),
}


class Commands(TyperGroup):
    """The group of all commands; a command is imported when it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: _Loaded = _Loaded()  # type: ignore[assignment]


class _Loaded(Mapping[str, Any]):
    """Commands by name, each made when it is first looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _command(name, TABLE[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(TABLE)

    def __len__(self) -> int:
        return len(TABLE)


def _command(name: str, row: Row) -> Any:
    module, attribute = row.place.split(":")
    found = getattr(import_module(f".{module}", __package__), attribute)
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
        command.name = name
        return command
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(_with_needs(name, row, found))
    return typer.main.get_command(app)


def _with_needs(name: str, row: Row, function: Callable[..., None]) -> Callable[..., None]:
    """The function, which says which extra it lacks before it begins."""

    @wraps(function)
    def command(*arguments: Any, **options: Any) -> None:
        for module in row.modules:
            if find_spec(module) is None:
                raise MissingExtraError(f"`yolov4sdk {name}`", row.extra, module)
        try:
            function(*arguments, **options)
        except ModuleNotFoundError as error:  # of something that only its options need
            if not row.extra:
                raise
            package = (error.name or "").partition(".")[0] or None
            raise MissingExtraError(f"`yolov4sdk {name}`", row.extra, package) from error

    return command
