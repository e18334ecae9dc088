"""Turns of some requests, kept while somebody looks at where their time goes.

A request begins with a message for whose answer a program waits; all turns that wait for one another have its first
turn at the begin of their chain, in whatever process. So hosts agree which ones are kept without a word: those whose
first turn has a hash that the rate divides, a cheap one, as each turn is looked at. Of rates that are powers of two the
rarer ones are among the others.
"""

import math
import time
import zlib
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from three_mode import waits
from three_mode.agents.calling.session import Session
from three_mode.agents.runtime.requests import Incoming
from three_mode.agents.runtime.run import Run
from three_mode.agents.wire.watching import AskSight, ModelSight, TurnSight, WaitSight
from three_mode.events.kinds import RESPONSE_COMPLETE, RESPONSE_START
from three_mode.handling import HandledCall, current, split

if TYPE_CHECKING:
    from three_mode.events.values import LLMEvent

_BETWEEN = 200  # turns that are kept from one order to the next
KEPT = 2048  # turns; of more, the oldest are lost, and their numbers say so
_OPEN = 4096  # turns that are at work; further ones are not kept
_PLACES = 20_000  # agents whose hash is remembered
_SPREAD = 0x9E3779B1  # turns in succession, and every second one, are spread over all remainders
_OF_ONE = 64  # calls to models of one turn, its messages, and its waits


class _OpenTurn:
    __slots__ = ("asks", "began", "calls", "queued", "sender", "waits")

    def __init__(self, sender: str, queued: float, began: float) -> None:
        self.sender, self.queued, self.began = sender, queued, began
        self.calls: list[ModelSight] = []
        self.waits: list[WaitSight] = []
        self.asks: list[AskSight] = []


class _ModelCall:
    """A call to a model that has not ended."""

    __slots__ = ("began", "waits")

    def __init__(self, began: float) -> None:
        self.began = began
        self.waits: list[WaitSight] = []


_calling: ContextVar[_ModelCall | None] = ContextVar("three_mode_sampled_call", default=None)


class RequestSampling:
    """Turns of sampled requests of one population."""

    def __init__(self, session: Session, number: int = 0) -> None:
        """`number`: of the last turn that was told of this population."""
        self.rate, self.until = 1, 0.0
        self.number = number
        self._room = _BETWEEN
        self._session = session
        self.open: dict[tuple[str, int], _OpenTurn] = {}
        self._kept: deque[TurnSight] = deque(maxlen=KEPT)
        self._places: dict[str, int] = {}
        self._started: dict[str, _ModelCall] = {}  # by the id of the request
        self._leave: Callable[[], None] | None = None
        session.when_llm(self._listen)
        waits.listeners.append(self._waited)

    def close(self) -> None:
        """Keep nothing more."""
        self._session.no_more_llm(self._listen)
        waits.listeners.remove(self._waited)
        if self._leave is not None:
            self._leave()

    def asked(self, rate: int, until: float) -> None:
        """Sample one of so many requests, until then or until the next order."""
        self.rate, self.until, self._room = rate, until, _BETWEEN

    def since(self, when: float) -> tuple[TurnSight, ...]:
        """Return the turns that ended since a moment."""
        return tuple(turn for turn in self._kept if turn.end >= when)

    def takes(self, agent: str, turn: int, request: Incoming) -> bool:
        """Whether a turn that is about to begin is of a sampled request."""
        if self._room <= 0:
            return False
        if request.trace:
            first = split(request.trace)[1].partition(">")[0]
            if first:
                agent, _, number = first.rpartition(":")
                turn = int(number) if number.isdecimal() else 0
        place = self._places.get(agent)
        if place is None:
            if len(self._places) >= _PLACES:
                self._places.clear()
            place = self._places[agent] = zlib.crc32(agent.encode())
        return (place + turn * _SPREAD >> 8) % self.rate == 0 and len(self.open) < _OPEN

    def began(self, agent: str, turn: int, sender: str, queued_at: float) -> None:
        """A turn is about to begin."""
        now = time.perf_counter()
        self.open[agent, turn] = _OpenTurn(sender, queued_at or now, now)
        self._room -= 1

    def refused(self, agent: str, turn: int) -> None:
        """It did not begin."""
        self.open.pop((agent, turn), None)

    def ended(self, run: Run, failure: BaseException | None) -> None:
        """A turn has ended."""
        found = self.open.pop((run.agent, run.turn), None)
        if found is None:
            return
        self.number += 1
        self._kept.append(
            TurnSight(
                self.number,
                run.agent,
                run.turn,
                run.chain,
                run.spec.name,
                found.sender,
                found.queued,
                found.began,
                time.perf_counter(),
                None if run.deadline == math.inf else run.deadline,
                "" if failure is None else "cancelled" if run.cancelled else type(failure).__name__,
                tuple(found.calls),
                tuple(found.waits),
                tuple(found.asks),
            )
        )

    def asks_of(self, call: HandledCall) -> list[AskSight] | None:
        """Return where the messages of a turn are noted; None where it is not sampled, or there are many."""
        found = self.open.get((call.agent, call.turn))
        return found.asks if found is not None and len(found.asks) < _OF_ONE else None

    # calls to models --------------------------------------------------------------------------------------------------
    def _listen(self, llm: Any) -> None:
        """Hear of the calls of the connection, which was made just now or before."""
        if not llm.event_hub.closed:
            self._leave = llm.event_hub.listen(self._heard, (RESPONSE_START, RESPONSE_COMPLETE))

    def _heard(self, event: "LLMEvent") -> None:
        call = current.get()  # events are told in the midst of the call, in the turn that makes it
        found, now, key = self.open.get((call.agent, call.turn)), time.perf_counter(), event.request_id or ""
        if event.kind == RESPONSE_START:
            if found is not None and len(self._started) < _OPEN:
                self._started[key] = made = _ModelCall(now)
                _calling.set(made)
            return
        told: Any = event
        ended = self._started.pop(key, None)
        if ended is not None and _calling.get() is ended:
            _calling.set(None)
        if found is None or len(found.calls) >= _OF_ONE:
            return
        made = ended or _ModelCall(max(found.began, now - told.latency))
        tokens, cost = told.usage.total_tokens, float(told.usage.cost or 0.0)
        found.calls.append(
            ModelSight(told.model, told.provider, made.began, now, tokens, cost, told.error or "", tuple(made.waits))
        )

    def _waited(self, what: waits.Wait, begin: float, end: float) -> None:
        """Note what a call to a model waited for; of an agent that is a model, what its turn did."""
        made: _ModelCall | _OpenTurn | None = _calling.get()
        if made is None:
            call = current.get()
            made = self.open.get((call.agent, call.turn))
        if made is not None and end > begin and len(made.waits) < _OF_ONE:
            made.waits.append(WaitSight(what, begin, end))
