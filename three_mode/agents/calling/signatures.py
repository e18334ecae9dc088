"""Types of the verbs: a type checker sees a wrong argument of a handler, and the type of its answer. Nothing here runs.

A handler is named by its function (`Scout.score`), so its parameters are those of the function without `self`: `P`. A
`ParamSpec` cannot be joined with keywords of the verb itself (`within`, `quorum`), hence several signatures for one
verb, tried in this order:

    ask("score", "hello", within=2)             a name: nothing is checked, and the answer is Any
    ask(Scout.score, text="hello")              no keyword of the verb: all arguments are checked (`P`)
    ask(Scout.score, "hello", within=2)         arguments by order are checked (`Ts`)
    ask(Scout.score, 7, within=2)               what does not fit is `ArgumentsDoNotFit`, which cannot be awaited
    ask(Scout.score, text="hello", within=2)    arguments by name are not checked; the answer has its type

A literal beside `within` is read before the hint is known: a dict for a TypedDict, or `[1, 2]` for `list[float]`, is
refused there. Give such a value by name, or from a variable with a type.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, TypeVarTuple, overload

from three_mode.agents.calling.caller import Sent, SentToAll
from three_mode.agents.calling.gather import Gathered
from three_mode.agents.calling.streams import Stream

P = ParamSpec("P")
Ts = TypeVarTuple("Ts")
R = TypeVar("R")


class ArgumentsDoNotFit:
    """Type of a call whose arguments do not fit the handler: only type checkers meet it."""


class AskVerb(Protocol):
    """`ask(handler, *args, within=..., **kwargs)`: the answer of one agent."""

    @overload
    def __call__(
        self, handler: str, /, *args: Any, within: float | None = None, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]: ...
    @overload
    def __call__(
        self,
        handler: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(
        self, handler: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(
        self,
        handler: Callable[[Any, *Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        within: float | None,
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(
        self, handler: Callable[[Any, *Ts], R], /, *args: *Ts, within: float | None
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, handler: Callable[..., Any], /, *args: Any, within: float | None) -> ArgumentsDoNotFit: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]  # it is met where names are given beside `within`
        self,
        handler: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: Any,
        within: float | None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self, handler: Callable[..., R], /, *args: Any, within: float | None, **kwargs: Any
    ) -> Coroutine[Any, Any, R]: ...


class TellVerb(Protocol):
    """`tell(handler, *args, **kwargs)`: a message to one agent, without an answer."""

    @overload
    def __call__(self, handler: str, /, *args: Any, **kwargs: Any) -> Sent: ...
    @overload
    def __call__(self, handler: Callable[Concatenate[Any, P], Any], /, *args: P.args, **kwargs: P.kwargs) -> Sent: ...


class StreamVerb(Protocol):
    """`stream(handler, *args, within=..., **kwargs)`: the streamed reply of one agent."""

    @overload
    def __call__(self, handler: str, /, *args: Any, within: float | None = None, **kwargs: Any) -> Stream[Any]: ...
    @overload
    def __call__(
        self,
        handler: Callable[Concatenate[Any, P], AsyncIterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Stream[R]: ...
    @overload
    def __call__(
        self, handler: Callable[[Any, *Ts], AsyncIterator[R]], /, *args: *Ts, within: float | None
    ) -> Stream[R]: ...
    @overload
    def __call__(self, handler: Callable[..., Any], /, *args: Any, within: float | None) -> ArgumentsDoNotFit: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self,
        handler: Callable[..., AsyncIterator[R]],
        /,
        *args: Any,
        within: float | None,
        **kwargs: Any,
    ) -> Stream[R]: ...


class GatherVerb(Protocol):
    """`gather(handler, *args, within=..., quorum=..., **kwargs)`: the answers of a group."""

    @overload
    def __call__(
        self,
        handler: str,
        /,
        *args: Any,
        within: float | None = None,
        quorum: int | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Gathered[Any]]: ...
    @overload
    def __call__(
        self,
        handler: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, Gathered[R]]: ...
    @overload
    def __call__(
        self, handler: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Gathered[R]]: ...
    @overload
    def __call__(
        self,
        handler: Callable[[Any, *Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        within: float | None = None,
        quorum: int | None = None,
    ) -> Coroutine[Any, Any, Gathered[R]]: ...
    @overload
    def __call__(
        self,
        handler: Callable[[Any, *Ts], R],
        /,
        *args: *Ts,
        within: float | None = None,
        quorum: int | None = None,
    ) -> Coroutine[Any, Any, Gathered[R]]: ...
    @overload
    def __call__(
        self,
        handler: Callable[..., Any],
        /,
        *args: Any,
        within: float | None = None,
        quorum: int | None = None,
    ) -> ArgumentsDoNotFit: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self,
        handler: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: Any,
        within: float | None,
        quorum: int | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Gathered[R]]: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self,
        handler: Callable[..., R],
        /,
        *args: Any,
        within: float | None,
        quorum: int | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Gathered[R]]: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self,
        handler: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: Any,
        quorum: int | None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Gathered[R]]: ...
    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self, handler: Callable[..., R], /, *args: Any, quorum: int | None, **kwargs: Any
    ) -> Coroutine[Any, Any, Gathered[R]]: ...


class TellGroupVerb(Protocol):
    """`tell(handler, *args, **kwargs)`: a message to each agent of a group."""

    @overload
    def __call__(self, handler: str, /, *args: Any, **kwargs: Any) -> SentToAll: ...
    @overload
    def __call__(
        self, handler: Callable[Concatenate[Any, P], Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> SentToAll: ...
