"""The options of a dataclass as options of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, get_args, get_origin

import typer

from ..system.option import Option, options_of

Command = Callable[..., None]


def accepts(
    *kinds: type, without: Sequence[str] = (), **defaults: Any
) -> Callable[[Command], Command]:
    """Give a command the options of dataclasses, besides the parameters that it has itself.

    The command gets those that were given on the command line, by field name, as its argument
    `given`; what was not given is left to the dataclass. Of two fields with one name the first
    one is shown.

    Args:
        kinds: the dataclasses.
        without: names of fields that this command does not offer.
        **defaults: of fields whose default is another here; they are always in `given`.
    """

    def decorate(function: Command) -> Command:
        own = inspect.signature(function, eval_str=True).parameters
        options: dict[str, Option] = {}
        for option in (entry for kind in kinds for entry in options_of(kind)):
            if option.name in defaults:
                option = option._replace(default=defaults[option.name])
            if option.name not in own and option.name not in without:
                options.setdefault(option.name, option)
        parameters = [
            *(p.replace(kind=p.KEYWORD_ONLY) for name, p in own.items() if name != "given"),
            *(_keyword(name, _annotation(option), None) for name, option in options.items()),
            _keyword("context", typer.Context, inspect.Parameter.empty),
        ]

        def command(context: typer.Context, **values: Any) -> None:
            given = dict(defaults)
            for name, option in options.items():
                value = values.pop(name)
                if not str(context.get_parameter_source(name)).endswith("DEFAULT"):
                    given[name] = _parsed(option, value)
            function(**values, given=given)

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        return command

    return decorate


def taken(given: dict[str, Any], kind: type) -> dict[str, Any]:
    """Those options of a dataclass that were given; `given` keeps the others."""
    return {o.name: given.pop(o.name) for o in options_of(kind) if o.name in given}


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _annotation(option: Option) -> Any:
    """The type of an option with its help; its default there is None, which is "not given"."""
    declared, kind, words = option.declared, option.kinds[0], [*option.words]
    names, text = declared.names, declared.help
    extra: dict[str, Any] = {}
    if words:
        kind = str
        if option.optional and option.default is not None:
            words.append("none")
        text = f"{', '.join(words[:-1])} or {words[-1]}. {text}"
    elif declared.parse is not None:
        kind = str
    elif get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        kind = list[get_args(kind)[0]]  # type: ignore[misc]
    elif kind is bool and option.default is False and not names:
        names = (f"--{option.name.replace('_', '-')}",)
    if words or declared.offered:
        extra["autocompletion"] = completion(words or declared.offered)
    info = typer.Option(
        *names, help=text, show_default=_shown(option), metavar=declared.metavar,
        rich_help_panel=option.panel, **extra,
    )  # fmt: skip
    return Annotated[kind | None, info]


def completion(words: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell offers for the beginning of a word."""

    def offered(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return offered


def _shown(option: Option) -> str | bool:
    """The default as the help shows it."""
    if option.declared.shown is not None:
        return option.declared.shown
    plain = isinstance(option.default, str | int | float) and not isinstance(option.default, bool)
    return str(option.default) if plain and option.default != "" else False


def _parsed(option: Option, value: Any) -> Any:
    """The value of an option from what typer made of its text."""
    if option.declared.parse is not None:
        return option.declared.parse(value)
    if option.words and option.optional and value == "none":
        return None
    return tuple(value) if isinstance(value, list) else value
