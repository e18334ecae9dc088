"""Replay a recording with fresh agents, and report the first thing that an agent does otherwise: the divergence.

Time, random numbers, answers of other agents and of models are the recorded ones. Each agent is replayed alone, through
its own events in recorded order: messages begin, answers arrive.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from three_mode.agents.handlers.codec import decode_any
from three_mode.agents.recording.clock import ReplayLoop
from three_mode.agents.recording.events import Did, Ended, Event, Got, Made, RecordingEnd, unpack, unpack_end
from three_mode.agents.recording.journaled import BaseJournal
from three_mode.agents.recording.replay_population import ReplayPopulation
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import ConfigurationError
from three_mode.messages import decode_error

_SLACK = 1.0  # seconds of the replay's own time after the last event


class Divergence(msgspec.Struct, frozen=True):
    """First difference between a replay and its recording."""

    agent: str
    turn: int
    """Number of the message at this agent."""
    handler: str
    recorded: str
    """What the recording has there."""
    replayed: str
    """What the agent did instead."""

    def __str__(self) -> str:
        return f"{self.agent}, message {self.turn} ({self.handler}): recorded {self.recorded}; replayed {self.replayed}"


class Replayed(msgspec.Struct, frozen=True):
    """Outcome of a replay."""

    agents: int
    """Agents in the recording."""
    messages: int
    """Messages that were replayed."""
    effects: int
    """Calls, messages, reads of the clock and so on that were replayed."""
    divergence: Divergence | None = None
    """Where the replay ended early; None: all agents did as recorded."""
    cut_off: str | None = None
    """When and why the recording ended before its run did (a full disk); None: it did not."""


class _Diverged(Exception):
    """An agent does otherwise than recorded."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(str(divergence))
        self.divergence = divergence


class _Beyond(_Diverged):
    """An agent has come to the end of a recording that was cut off."""


def load(path: str | Path) -> list[Event]:
    """Read the events of a recording; ConfigurationError if the file is none."""
    return _read(path)[0]


def _read(path: str | Path) -> tuple[list[Event], RecordingEnd | None]:
    try:
        data = Path(path).read_bytes()
        return list(unpack(data)), unpack_end(data)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be replayed: {error}") from None


def replay(path: str | Path) -> Replayed:
    """Replay a recording in this process, without a bus. Call it where no event loop runs."""
    events, end = _read(path)
    replayed = replay_events(events, cut_off=end is not None)
    if end is None:
        return replayed
    when = datetime.fromtimestamp(end.when, UTC).isoformat(timespec="seconds")
    return msgspec.structs.replace(replayed, cut_off=f"{when}: {end.why}")


def replay_events(events: Iterable[Event], *, cut_off: bool = False) -> Replayed:
    """Replay events, agent by agent. `cut_off`: the run went on behind them, and so may agents."""
    by_agent: dict[str, list[Event]] = {}
    for event in events:
        by_agent.setdefault(event.agent, []).append(event)
    messages = effects = 0
    for agent, own in by_agent.items():
        loop = ReplayLoop()
        try:
            run = AgentReplay(agent, own, loop, cut_off)
            loop.run_until_complete(run.run())
        except _Beyond:
            pass
        except _Diverged as diverged:
            return Replayed(len(by_agent), messages, effects, diverged.divergence)
        finally:
            _close(loop)
        messages += sum(isinstance(event, Got) for event in own)
        effects += sum(isinstance(event, Did) for event in own)
    return Replayed(len(by_agent), messages, effects)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


class AgentReplay(BaseJournal):
    """Replay of one agent: the journal that the fresh agent gets."""

    def __init__(self, agent: str, events: list[Event], loop: ReplayLoop, cut_off: bool = False) -> None:
        self.agent, self._loop, self._cut_off = agent, loop, cut_off
        self._events = deque(events)
        self._expected: dict[int, deque[Did]] = {}
        self._ends: dict[int, deque[Ended]] = {}
        self._handlers: dict[int, str] = {}
        self._open: dict[int, asyncio.Future[bytes]] = {}  # by the id of the event that ends the wait
        self._cancelled: set[int] = set()
        self._diverged: _Diverged | None = None
        for event in events:
            if isinstance(event, Did):
                self._expected.setdefault(event.turn, deque()).append(event)
            elif isinstance(event, Ended):
                self._ends.setdefault(event.turn, deque()).append(event)
        self._stuck = asyncio.Event()

    async def run(self) -> None:
        """Go through all events; raise where the agent does otherwise."""
        self._loop.when_stuck(self._stuck.set)
        population = self._population = ReplayPopulation(self, self._loop)
        first = self._events[0].when
        for event in self._events:
            self._loop.let_pass(event.when - first)
            await self._settle()
            if isinstance(event, Made):
                population.make(event)
            elif isinstance(event, Got):
                self._handlers[event.turn] = event.handler
                population.give(event)
            elif isinstance(event, Did):
                self._release(event)
            elif event.outcome == "cancel":
                self._cancel(event)
            await self._settle()
        self._loop.let_pass(self._events[-1].when - first + _SLACK)
        await self._settle()
        for turn, ends in self._ends.items():
            for end in ends:
                if end.outcome != "cancelled" and turn not in self._cancelled:
                    self._diverge(turn, _shown_end(end), "nothing: it still waits")
        if self._diverged is not None:
            raise self._diverged

    async def _settle(self) -> None:
        """Let everything run that can, in recorded order, until all wait for a later event."""
        self._stuck.clear()
        await self._stuck.wait()
        if self._diverged is not None:
            raise self._diverged

    def _release(self, event: Did) -> None:
        """Let the agent go on that waits for the result of this effect."""
        future = self._open.pop(id(event), None)
        if future is not None:
            if not future.done() and (event.good or event.result):
                future.set_result(b"")  # else the wait was cancelled, and is so here by the recorded cancel
        elif any(one is event for one in self._expected.get(event.turn, ())):
            self._diverge(event.turn, _shown(event), "something else, or nothing")

    def _cancel(self, event: Ended) -> None:
        """Cancel the message, as its caller or the stop of its agent did."""
        sent = self._ends[event.turn]
        if sent[0].outcome != "cancel":
            self._diverge(event.turn, _shown_end(sent[0]), "nothing: it still waits")
        self._cancelled.add(event.turn)
        self._population.cancel(event.turn, event.content.decode())

    def _expect(self, turn: int, kind: str, what: bytes, ahead: bool = False) -> Did:
        """Return the next recorded effect, which must be this one.

        An effect with a wait was recorded at its end, when later ones may have ended: with `ahead`, it may be behind
        them.
        """
        expected = self._expected.get(turn)
        if not expected:
            self._check_end(turn, f"{kind} {_readable(what)}")
            self._diverge(turn, "nothing more", f"{kind} {_readable(what)}")
        among = expected if ahead else (expected[0],)
        event = next((one for one in among if (one.kind, one.what) == (kind, what)), None)
        if event is None:
            self._diverge(turn, _shown(expected[0]), f"{kind} {_readable(what)}")
        expected.remove(event)
        return event

    def _check_end(self, turn: int, replayed: str) -> None:
        """End the replay of this agent where it goes on behind a recording that was cut off."""
        if self._cut_off:
            handler = self._handlers.get(turn, "__init__")
            beyond = _Beyond(Divergence(self.agent, turn, handler, "nothing more", replayed))
            self._diverged = self._diverged or beyond
            raise beyond

    def _diverge(self, turn: int, recorded: str, replayed: str) -> NoReturn:
        diverged = _Diverged(Divergence(self.agent, turn, self._handlers.get(turn, "__init__"), recorded, replayed))
        self._diverged = self._diverged or diverged
        raise diverged

    # the journal ------------------------------------------------------------------------------------------------------
    async def waited(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        if self._cut_off and not self._expected.get(turn):
            await self._loop.create_future()  # it was not over when the recording was
        event = self._expect(turn, kind, what, ahead=True)
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._open[id(event)] = future
        await future
        return _result_of(event)

    def at_once(self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], bytes]) -> bytes:
        return _result_of(self._expect(turn, kind, what))

    async def parts(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], Any]
    ) -> AsyncIterator[bytes]:
        self._expect(turn, kind, what)
        while True:
            coming = (one.kind for one in self._expected.get(turn, ()) if one.what == what)
            kind = next((kind for kind in coming if kind in ("part", "end")), "")
            if not kind:
                await self._loop.create_future()  # the consumer took no more parts: it left, or was cancelled
            part = await self.waited(agent, turn, kind, what, _never)
            if kind == "end":
                return
            yield part

    def made(self, agent: str, order: SpawnOrder, seed: int) -> None:
        """Do nothing: the recording has it already."""

    def got(self, agent: str, turn: int, handler: str, call: bytes, heard: bool, streams: bool, sender: str) -> None:
        """Do nothing: the recording has it already."""

    def ended(self, agent: str, turn: int, outcome: str, content: bytes) -> None:
        if self._diverged is not None or outcome in ("cancel", "cancelled") or turn in self._cancelled:
            return
        expected = self._ends.get(turn)
        if outcome == "part" and expected and expected[0].outcome == "cancel":
            self._population.beyond.add(turn)  # no consumer delays the next part here, as it did in the run
            return
        if not expected and self._cut_off:
            return
        end = expected.popleft() if expected else None
        if end is None or (end.outcome, end.content) != (outcome, content):
            recorded = _shown_end(end) if end is not None else "nothing more"
            divergence = Divergence(
                self.agent, turn, self._handlers.get(turn, ""), recorded, f"{outcome} {_readable(content)}"
            )
            self._diverged = _Diverged(divergence)


def _result_of(event: Did) -> bytes:
    if not event.good:
        raise decode_error(decode_any(event.result))
    return event.result


async def _never() -> bytes:
    raise AssertionError("a replay performs nothing")


def _shown(event: Did) -> str:
    return f"{event.kind} {_readable(event.what)}"


def _shown_end(event: Ended) -> str:
    return f"{event.outcome} {_readable(event.content)}"


def _readable(data: bytes) -> str:
    try:
        value = decode_any(data)
        if isinstance(value, list) and len(value) == 3 and isinstance(value[2], bytes):
            value = [value[0], value[1], decode_any(value[2])]
        return repr(value)[:200]
    except (msgspec.MsgspecError, ValueError):
        return repr(data[:80])
