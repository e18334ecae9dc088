"""Declare handlers: `@handler`, `@on`, and the `Spec` that they make of a method.

def                     runs inline, without a task
async def               starts at once; becomes a task only if it has to wait
async def with yield    streams its reply
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Literal, TypeVar, overload

from three_mode.agents.handlers.schema import Schema
from three_mode.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])
Delivery = Literal["lossy", "latest", "reliable"]
MARK = "__three_mode_handler__"
_BEGINS = "__three_mode_begins__"


class HandlerKind(Enum):
    """How a handler runs, by the kind of its function."""

    PLAIN = "plain"
    COROUTINE = "coroutine"
    STREAM = "stream"


@dataclass(frozen=True)
class Topic:
    """Subscription of a handler: a pattern of topics, what happens when this process is too slow, and how many old
    messages it gets."""

    pattern: str
    delivery: Delivery = "lossy"
    replay: int = 0


@dataclass(frozen=True)
class Options:
    """Arguments of the decorators of one handler."""

    concurrent: int = 1
    idempotent: bool = False
    topics: tuple[Topic, ...] = ()
    tool: bool = False
    a2a: bool = False


@dataclass(frozen=True, eq=False)
class Spec:
    """Handler of one class. Compared by identity: there is one for each class and name."""

    name: str
    function: Callable[..., Any]
    kind: HandlerKind
    options: Options
    # Read for every message, so worked out once.
    takes_turn: bool = field(init=False)
    """Whether it holds the agent's one turn; a concurrent handler runs beside the others."""
    plain: bool = field(init=False)
    streams: bool = field(init=False)
    idempotent: bool = field(init=False)
    begins: Callable[..., Any] | None = field(init=False)
    """Function that may begin a streamed reply in place of the handler; see `begins`."""

    def __post_init__(self) -> None:
        vars(self).update(
            takes_turn=self.options.concurrent == 1,
            plain=self.kind is HandlerKind.PLAIN,
            streams=self.kind is HandlerKind.STREAM,
            idempotent=self.options.idempotent,
            begins=getattr(self.function, _BEGINS, None),
        )

    @cached_property
    def schema(self) -> Schema:
        """Schema of the function's type hints, compiled when first used."""
        return Schema.of(self.function)


@overload
def handler(function: F) -> F: ...
@overload
def handler(
    *, concurrent: int = 1, idempotent: bool = False, tool: bool = False, a2a: bool = False
) -> Callable[[F], F]: ...
def handler(
    function: F | None = None,
    *,
    concurrent: int = 1,
    idempotent: bool = False,
    tool: bool = False,
    a2a: bool = False,
) -> Any:
    """Make a method answer to `ask`, `tell` and `stream`.

    `concurrent=n` lets up to n calls of the method run at once, beside the agent's other handlers (default 1: one at a
    time). `idempotent=True` says that two calls have the effect of one: a call whose agent died is then repeated when
    the agent is back (default False: the caller gets PeerLost). `tool=True` offers the method to programs that speak
    MCP, by `three-mode serve` and `three-mode mcp` on this bus (default False): its hints and docstring are what a
    model reads. `a2a=True` offers it to agents elsewhere, which speak A2A with `three-mode serve` on this bus (default
    False): it takes the message, as text or an `A2ATurn`.
    """
    if concurrent < 1:
        raise ConfigurationError(f"concurrent is at least 1, not {concurrent}")
    options = Options(concurrent=concurrent, idempotent=idempotent, tool=tool, a2a=a2a)
    if function is not None:
        return _mark(function, options)
    return lambda undecorated: _mark(undecorated, options)


def on(pattern: str, *, delivery: Delivery = "lossy", replay: int = 0) -> Callable[[F], F]:
    """Make a method answer to broadcasts on `pattern` (`news.eu`, `news.*`, `news.>`); may be applied more than once.

    `delivery` says what happens when this process is slower than a writer: `lossy`, the default (missed messages are
    reported as a gap), `latest` (only the newest message of a topic arrives), or `reliable` (the writer waits, up to a
    deadline). `replay`: how many earlier messages a new agent gets first (default 0).
    """
    if delivery not in ("lossy", "latest", "reliable"):
        raise ConfigurationError(f"delivery is lossy, latest or reliable, not {delivery!r}")
    topic = Topic(pattern, delivery, replay)

    def decorate(function: F) -> F:
        earlier: Options = getattr(function, MARK, Options())
        return _mark(function, replace(earlier, topics=(*earlier.topics, topic)))

    return decorate


def _mark(function: F, options: Options) -> F:
    if isinstance(function, staticmethod | classmethod | property) or not callable(function):
        raise ConfigurationError(
            f"a handler is a method, not {type(function).__name__}",
            hint="put @handler on a plain def or async def",
        )
    if inspect.isgeneratorfunction(function):
        raise ConfigurationError(
            f"{function.__qualname__} is a generator; a streamed reply is an async generator",
            hint=f"write `async def {function.__name__}`",
        )
    if options.a2a:
        _check_takes_one(function)
    earlier: Options | None = getattr(function, MARK, None)
    if earlier is not None and earlier.topics and not options.topics:  # @handler(...) above @on(...)
        options = replace(options, topics=earlier.topics)
    setattr(function, MARK, options)
    return function


def _check_takes_one(function: Callable[..., Any]) -> None:
    """Raise ConfigurationError for a handler of A2A that does not take just the message."""
    parameters = list(inspect.signature(function).parameters.values())[1:]  # without self
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    if len(required) != 1 or required[0].kind is required[0].KEYWORD_ONLY or parameters[0] is not required[0]:
        raise ConfigurationError(
            f"{function.__qualname__} does not take one message, as a handler of A2A does",
            hint=f"def {function.__name__}(self, turn: A2ATurn), or (self, text: str)",
        )


def begins(stream: Callable[..., Any]) -> Callable[[F], F]:
    """Make a plain method begin a streamed reply whose parts come from elsewhere, so that no coroutine stands between.

    The method gets the outgoing parts and the arguments of the handler. It returns a future that is done when all parts
    have gone, and whose cancellation ends the work; or None if the handler itself has to make this reply.
    """

    def decorate(function: F) -> F:
        setattr(stream, _BEGINS, function)
        return function

    return decorate


def topic_name(chosen: "Callable[..., Any] | str") -> str:
    """Return the name of a handler that was given as a function or as a name."""
    if isinstance(chosen, str):
        return chosen
    if not hasattr(chosen, MARK):
        named = getattr(chosen, "__qualname__", repr(chosen))
        raise ConfigurationError(f"{named} is no handler", hint="decorate it with @handler or @on")
    return str(getattr(chosen, "__name__", ""))


def spec_of(function: Callable[..., Any]) -> Spec:
    """Return the spec of a decorated function without its class, as a caller has it that writes `Scout.score`."""
    spec: Spec | None = getattr(function, "__three_mode_spec__", None)
    if spec is None:
        topic_name(function)
        spec = Spec(function.__name__, function, _kind(function), getattr(function, MARK))
        function.__three_mode_spec__ = spec  # type: ignore[attr-defined]  # once for each function
    return spec


def specs_of(kind: type) -> Mapping[str, Spec]:
    """Return name -> spec of every handler of a class.

    An override without a decorator keeps the options of the base class.
    """
    return _specs_of(kind)


@cache
def _specs_of(kind: Any) -> Mapping[str, Spec]:
    found: dict[str, Spec] = {}
    for name in dir(kind):
        if name.startswith("__"):
            continue
        function = inspect.getattr_static(kind, name)
        if not inspect.isfunction(function):
            continue
        marked = next((vars(base)[name] for base in kind.__mro__ if hasattr(vars(base).get(name), MARK)), None)
        if marked is not None:
            found[name] = Spec(name, function, _kind(function), getattr(marked, MARK))
    return MappingProxyType(found)


def _kind(function: Callable[..., Any]) -> HandlerKind:
    if inspect.isasyncgenfunction(function):
        return HandlerKind.STREAM
    return HandlerKind.COROUTINE if inspect.iscoroutinefunction(function) else HandlerKind.PLAIN
