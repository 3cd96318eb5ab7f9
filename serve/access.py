"""Who may call which route: with keys configured, a route is closed unless it says otherwise.

The layer asks the router's own routes what a request matches. So a path prefix (`--root-path`, an
application around this one) changes nothing, a WebSocket is treated as a request is, and a route
that is added later is closed until it is declared open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeVar

from starlette.datastructures import Headers, QueryParams
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .keys import Keys
from .problems import Problem

Who = Literal["everybody", "key", "admin"]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_ATTRIBUTE: Final = "__access__"


@dataclass(frozen=True)
class Rule:
    """What a route declares.

    Attributes:
        who: "key" is every known key, and everybody where none are configured; "admin" always
            needs a key with `admin`.
        model: the name of the model that a request of this route asks, from its path parameters
            and its query. Under overload such a request is refused before its body is read.
        large: whether bodies may be as large as the setting `max_body`; else 64 KiB.
    """

    who: Who = "key"
    model: Callable[[Mapping[str, Any], QueryParams], str | None] | None = None
    large: bool = False


DEFAULT: Final = Rule()
"""Of routes that declare nothing."""


def rule(
    who: Who = "key", model: Any = None, large: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """Declare the rule of an endpoint; see `Rule`. Stands below the decorator of the router."""

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, Rule(who, model, large))
        return endpoint

    return declare


@dataclass(frozen=True)
class Matched:
    """The route that the router will take, and what it declares.

    Attributes:
        allow: the methods of the path, where the request's own is not among them.
        head: it is a HEAD request, for a route that answers GET.
    """

    route: BaseRoute
    rule: Rule
    parameters: Mapping[str, Any]
    allow: frozenset[str] = frozenset()
    head: bool = False


def find(routes: Sequence[BaseRoute], scope: Scope) -> Matched | None:
    """What the router matches: the first route for path and method, else the first for the path."""
    partly: Matched | None = None
    methods: set[str] = set()
    for route in routes:
        match, found = route.matches(scope)
        if match is Match.NONE:
            continue
        declared = getattr(found.get("endpoint"), _ATTRIBUTE, DEFAULT)
        matched = Matched(route, declared, found.get("path_params", {}))
        if match is Match.FULL:
            return matched
        if scope.get("method") == "HEAD" and "GET" in (getattr(route, "methods", None) or ()):
            return replace(matched, head=True)
        methods |= getattr(route, "methods", None) or set()
        partly = partly or matched
    if partly is None:
        return None
    return Matched(partly.route, partly.rule, partly.parameters, frozenset(methods))


def _without_body(send: Send) -> Send:
    """The answer to HEAD: that to GET, its body left out."""

    async def head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return head


class Access:
    """The layer around the router.

    Args:
        routes: the router's own list, read at every request.
        refuse: raises Problem 503 where an image for a model would be refused now.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[BaseRoute],
        keys: Keys,
        refuse: Callable[[str | None], None],
    ) -> None:
        self._app, self._routes, self._keys, self._refuse = app, routes, keys, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] in ("http", "websocket"):
            matched = find(self._routes, scope)
            if matched is not None:
                # for the metrics of what is refused here, and for the limits on bodies
                scope["route"], scope["rule"] = matched.route, matched.rule
                try:
                    self._admit(matched, scope)
                except Problem:
                    if scope["type"] == "http":
                        raise
                    await send({"type": "websocket.close", "code": 1008})  # HTTP 403
                    return
                if matched.head:
                    scope, send = {**scope, "method": "GET"}, _without_body(send)
        await self._app(scope, receive, send)

    def _admit(self, matched: Matched, scope: Scope) -> None:
        """Raise the Problem of a request that goes no further: 401, 403, 405, 429 or 503."""
        declared = matched.rule
        if declared.who != "everybody":
            key = self._keys.identify(Headers(scope=scope))
            scope["api_key"] = key
            if scope["type"] == "http":  # a stream counts its frames
                self._keys.hit(key)
            if declared.who == "admin" and not (key and key.admin):
                raise Problem(403, detail="this needs an API key with `admin`")
        if matched.allow:
            raise Problem(405, headers={"Allow": ", ".join(sorted(matched.allow))})
        if declared.model is not None:
            query = QueryParams(scope["query_string"])
            self._refuse(declared.model(matched.parameters, query))
