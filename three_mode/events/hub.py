"""Hub of one connection: whoever publishes asks `wanted` first, so that an event that nobody wants is never made."""

import inspect
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from three_mode.errors import ConfigurationError
from three_mode.events.kinds import GAP, chosen

if TYPE_CHECKING:
    from three_mode.events.values import EventListener, LLMEvent

NOBODY: frozenset[str] = frozenset()
_logger = logging.getLogger("three_mode.llm")


class OfAKind(Protocol):
    """Interface of an event."""

    @property
    def kind(self) -> str:
        """The kind of the event."""
        ...


E = TypeVar("E", bound=OfAKind)


class _Taker(Generic[E]):
    """Somebody who gets events of some kinds."""

    __slots__ = ("end", "kinds", "take")

    def __init__(self, kinds: frozenset[str], take: Callable[[E], object], end: Callable[[], None] | None) -> None:
        self.kinds, self.take, self.end = kinds, take, end


class KindHub(Generic[E]):
    """Hub of events of one source: who takes them, and what they want to hear. The kind `gap` goes to all."""

    __slots__ = ("_changed", "_takers", "_takes", "closed", "wanted")

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        """`changed` is called when `wanted` has changed."""
        self.wanted = NOBODY  #: kinds that somebody wants; publish no other
        self.closed = False  #: whether the source is closed
        self._changed = changed
        self._takers: list[_Taker[E]] = []
        self._takes: dict[str, tuple[Callable[[E], object], ...]] = {}

    def attach(
        self, kinds: frozenset[str], take: Callable[[E], object], end: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """Give events of these kinds to a `take` that never raises, until the returned function is called; `end` is
        called when the source closes."""
        taker = _Taker(kinds, take, end)
        self._takers.append(taker)
        self._renew()
        return partial(self._detach, taker)

    def publish(self, event: E) -> None:
        """Give an event to all who want its kind. It waits for nobody, and raises nothing."""
        for take in self._takes.get(event.kind, ()):
            take(event)

    def close(self) -> None:
        """End all readers, and take no more."""
        takers, self._takers, self.closed = self._takers, [], True
        self._renew()
        for taker in takers:
            if taker.end is not None:
                taker.end()

    def _detach(self, taker: _Taker[E]) -> None:
        if taker in self._takers:
            self._takers.remove(taker)
            self._renew()

    def _renew(self) -> None:
        """Sum up who wants what. Another thread may publish meanwhile, and sees what was or what is."""
        takers = list(self._takers)
        wanted = NOBODY.union(*(taker.kinds for taker in takers)) - {GAP}
        self._takes = {kind: tuple(taker.take for taker in takers if kind in taker.kinds) for kind in wanted}
        self._takes[GAP] = tuple(taker.take for taker in takers)  # what others lost on the way here concerns all
        self.wanted = wanted
        if self._changed is not None:
            self._changed()


class ConnectionHub(KindHub["LLMEvent"]):
    """Hub of the events of one connection, `llm.event_hub`: listeners and readers, and what they want to hear."""

    __slots__ = ()

    def listen(self, listener: "EventListener", kinds: Iterable[str] | None = None) -> Callable[[], None]:
        """Have `listener` called with each event of these kinds (None: of all), until the returned function is called.

        It is called in the midst of the call, and is to be quick. What it raises is logged, and ends no call.
        """
        check_listener(listener)
        return self.attach(chosen(kinds), partial(_guarded, listener))

    def attach(
        self, kinds: frozenset[str], take: "EventListener", end: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """`listen` for a `take` that never raises; `end` is called when the connection closes."""
        if self.closed:
            raise ConfigurationError("this connection is closed", hint="make a new LLMConnection")
        return super().attach(kinds, take, end)


def check_listener(listener: Any) -> None:
    """Raise ConfigurationError for what cannot hear events."""
    if not callable(listener):
        raise ConfigurationError(
            f"events are told to a function, not to {type(listener).__name__}",
            hint="def hear(event): print(event.kind)",
        )
    if inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(type(listener).__call__):
        raise ConfigurationError(
            "events are told to a plain function, and this one is async", hint="async for event in llm.events(): ..."
        )


def _guarded(listener: "EventListener", event: "LLMEvent") -> None:
    try:
        listener(event)
    except Exception:
        _logger.exception("event_listener_failed", extra={"event": "event_listener_failed"})
