"""Turns of some requests, kept while somebody looks at where their time goes.

A request begins with a message for whose answer a program waits; all turns that wait for one another have its first
turn at the begin of their chain, in whatever process. So hosts agree which ones are kept without a word: those whose
first turn has a hash that the rate divides. Of rates that are powers of two the rarer ones are among the others.
"""

import math
import time
import zlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from three_mode.agents.calling.session import Session
from three_mode.agents.runtime.requests import Incoming
from three_mode.agents.runtime.run import Run
from three_mode.agents.wire.watching import ModelSight, TurnSight
from three_mode.events.kinds import RESPONSE_COMPLETE, RESPONSE_START
from three_mode.handling import current, split

if TYPE_CHECKING:
    from three_mode.events.values import LLMEvent
    from three_mode.messages import Step

KEPT = 2048  # turns; of more, the oldest are lost, and their numbers say so
_OPEN = 4096  # turns that are at work; further ones are not kept
_CALLS = 64  # calls to models of one turn


class _OpenTurn:
    __slots__ = ("began", "calls", "queued", "sender")

    def __init__(self, sender: str, queued: float, began: float) -> None:
        self.sender, self.queued, self.began = sender, queued, began
        self.calls: list[ModelSight] = []


class _ModelCall:
    """A call to a model that has not ended."""

    __slots__ = ("began", "last", "waits")

    def __init__(self, began: float) -> None:
        self.began = self.last = began
        self.waits: list[tuple[float, float]] = []


class RequestSampling:
    """Turns of sampled requests of one population."""

    def __init__(self, session: Session) -> None:
        self.rate, self.until = 1, 0.0
        self.number = 0
        self._open: dict[tuple[str, int], _OpenTurn] = {}
        self._kept: deque[TurnSight] = deque(maxlen=KEPT)
        self._started: dict[str, _ModelCall] = {}  # by the id of the request
        self._leave: tuple[Callable[[], None], ...] = ()
        self._closed = False
        session.when_llm(self._listen)

    def close(self) -> None:
        """Keep nothing more."""
        self._closed = True
        for leave in self._leave:
            leave()
        self._leave = ()

    def since(self, when: float) -> tuple[TurnSight, ...]:
        """Return the turns that ended since a moment."""
        return tuple(turn for turn in self._kept if turn.end >= when)

    def began(self, agent: str, turn: int, request: Incoming, queued_at: float) -> None:
        """A turn is about to begin."""
        _, chain = split(request.trace) if request.trace else ("", "")
        first = chain.partition(">")[0] or f"{agent}:{turn}"
        if zlib.crc32(first.encode()) % self.rate == 0 and len(self._open) < _OPEN:
            now = time.perf_counter()
            self._open[agent, turn] = _OpenTurn(request.sender, queued_at or now, now)

    def refused(self, agent: str, turn: int) -> None:
        """It did not begin."""
        self._open.pop((agent, turn), None)

    def ended(self, run: Run, failure: BaseException | None) -> None:
        """A turn has ended."""
        found = self._open.pop((run.agent, run.turn), None)
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
            )
        )

    # calls to models --------------------------------------------------------------------------------------------------
    def _listen(self, llm: Any) -> None:
        """Hear of the calls of the connection, which was made just now or before."""
        if not self._closed and not self._leave and not llm.event_hub.closed:
            hub = llm.event_hub
            self._leave = hub.listen(self._heard, (RESPONSE_START, RESPONSE_COMPLETE)), llm.watch_steps(self._stepped)

    def _heard(self, event: "LLMEvent") -> None:
        call = current.get()  # events are told in the midst of the call, in the turn that makes it
        found, now, key = self._open.get((call.agent, call.turn)), time.perf_counter(), event.request_id or ""
        if found is None:
            return
        if event.kind == RESPONSE_START:
            if len(self._started) < _OPEN:
                self._started[key] = _ModelCall(now)
            return
        told: Any = event
        made = self._started.pop(key, None) or _ModelCall(max(found.began, now - told.latency))
        if len(found.calls) < _CALLS:
            tokens, cost, waits = told.usage.total_tokens, float(told.usage.cost or 0.0), tuple(made.waits)
            found.calls.append(
                ModelSight(told.model, told.provider, made.began, now, tokens, cost, told.error or "", waits)
            )

    def _stepped(self, request_id: str, step: "Step") -> None:
        """Note what a call waited for: the step that says so comes behind the wait."""
        made = self._started.get(request_id)
        if made is not None:
            now = time.perf_counter()
            if step.kind == "wait" and len(made.waits) < _CALLS:
                made.waits.append((made.last, now))
            made.last = now
