"""`replay`: a recording into fresh agents. Time, chance, answers of others and of models are those recorded; the first
thing that an agent does otherwise than it did is the divergence.

Each agent goes by itself through what happened to it, in the order in which it happened: messages begin, answers arrive.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from three_mode.agents.handlers.codec import decode_any
from three_mode.agents.recording.clock import ReplayLoop
from three_mode.agents.recording.events import Did, Ended, Event, Got, Made, unpack
from three_mode.agents.recording.stage import Stage
from three_mode.agents.recording.taped import Taping
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import ConfigurationError
from three_mode.messages import decode_error

_SLACK = 1.0  # seconds of the replay's own time after the last event


class Divergence(msgspec.Struct, frozen=True):
    """Where a replay left the recording: at which agent, in which message, what was recorded and what came instead."""

    agent: str
    turn: int
    handler: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"{self.agent}, message {self.turn} ({self.handler}): recorded {self.recorded}; replayed {self.replayed}"


class Replayed(msgspec.Struct, frozen=True):
    agents: int
    messages: int
    effects: int
    divergence: Divergence | None = None


class _Left(Exception):
    """The replay has left the recording."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(str(divergence))
        self.divergence = divergence


def load(path: str | Path) -> list[Event]:
    try:
        return list(unpack(Path(path).read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be replayed: {error}") from None


def replay(path: str | Path) -> Replayed:
    """Replays a file in this process, without a bus. Call it from where no loop runs."""
    return replay_events(load(path))


def replay_events(events: Iterable[Event]) -> Replayed:
    by_agent: dict[str, list[Event]] = {}
    for event in events:
        by_agent.setdefault(event.agent, []).append(event)
    messages = effects = 0
    for agent, own in by_agent.items():
        loop = ReplayLoop()
        try:
            run = AgentReplay(agent, own, loop)
            loop.run_until_complete(run.run())
        except _Left as left:
            return Replayed(len(by_agent), messages, effects, left.divergence)
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


class AgentReplay(Taping):
    """One agent's way through its events. It is the tape that the fresh agent has."""

    def __init__(self, agent: str, events: list[Event], loop: ReplayLoop) -> None:
        self.agent, self._loop = agent, loop
        self._events = deque(events)
        self._expected: dict[int, deque[Did]] = {}
        self._ends: dict[int, deque[Ended]] = {}
        self._handlers: dict[int, str] = {}
        self._open: dict[int, asyncio.Future[bytes]] = {}  # by the event that ends the waiting
        self._cancelled: set[int] = set()
        self._left: _Left | None = None
        for event in events:
            if isinstance(event, Did):
                self._expected.setdefault(event.turn, deque()).append(event)
            elif isinstance(event, Ended):
                self._ends.setdefault(event.turn, deque()).append(event)
        self._moved = asyncio.Event()

    async def run(self) -> None:
        self._loop.when_stuck(self._moved.set)
        stage = self._stage = Stage(self, self._loop)
        first = self._events[0].when
        for event in self._events:
            self._loop.let_pass(event.when - first)
            await self._settle()
            if isinstance(event, Made):
                stage.make(event)
            elif isinstance(event, Got):
                self._handlers[event.turn] = event.handler
                stage.give(event)
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
                    self._leave(turn, _end(end), "nothing: it still waits")
        if self._left is not None:
            raise self._left

    async def _settle(self) -> None:
        """Lets everything run that can, in recorded order: until all wait for what is still to come."""
        self._moved.clear()
        await self._moved.wait()
        if self._left is not None:
            raise self._left

    def _release(self, event: Did) -> None:
        future = self._open.pop(id(event), None)
        if future is not None:
            if not future.done() and (event.good or event.result):
                future.set_result(b"")  # else it never came: what cancelled it in the run does so here
        elif any(one is event for one in self._expected.get(event.turn, ())):
            self._leave(event.turn, _shown(event), "something else, or nothing")

    def _cancel(self, event: Ended) -> None:
        """The caller left, or the agent was being stopped."""
        sent = self._ends[event.turn]
        if sent[0].outcome != "cancel":
            self._leave(event.turn, _end(sent[0]), "nothing: it still waits")
        self._cancelled.add(event.turn)
        self._stage.cancel(event.turn, event.content.decode())

    def _take(self, turn: int, kind: str, what: bytes, ahead: bool = False) -> Did:
        """The next thing that it did. What is waited for was written down when it came: others may have come before (`ahead`)."""
        expected = self._expected.get(turn)
        if not expected:
            self._leave(turn, "nothing more", f"{kind} {_readable(what)}")
        among = expected if ahead else (expected[0],)
        event = next((one for one in among if (one.kind, one.what) == (kind, what)), None)
        if event is None:
            self._leave(turn, _shown(expected[0]), f"{kind} {_readable(what)}")
        expected.remove(event)
        return event

    def _leave(self, turn: int, recorded: str, replayed: str) -> NoReturn:
        left = _Left(Divergence(self.agent, turn, self._handlers.get(turn, "__init__"), recorded, replayed))
        self._left = self._left or left
        raise left

    # the tape ---------------------------------------------------------------------------------------------------------
    async def waited(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        event = self._take(turn, kind, what, ahead=True)
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._open[id(event)] = future
        await future
        return _given(event)

    def at_once(self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], bytes]) -> bytes:
        return _given(self._take(turn, kind, what))

    async def parts(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], Any]
    ) -> AsyncIterator[bytes]:
        self._take(turn, kind, what)
        while True:
            coming = (one.kind for one in self._expected.get(turn, ()) if one.what == what)
            kind = next((kind for kind in coming if kind in ("part", "end")), "")
            if not kind:
                await self._loop.create_future()  # nobody took more of it: it was left, or cancelled
            part = await self.waited(agent, turn, kind, what, _never)
            if kind == "end":
                return
            yield part

    def made(self, agent: str, order: SpawnOrder, seed: int) -> None:
        """The recording says it itself."""

    def got(self, agent: str, turn: int, handler: str, call: bytes, heard: bool, streams: bool, sender: str) -> None:
        """The recording says it itself."""

    def ended(self, agent: str, turn: int, outcome: str, content: bytes) -> None:
        if self._left is not None or outcome in ("cancel", "cancelled") or turn in self._cancelled:
            return
        expected = self._ends.get(turn)
        if outcome == "part" and expected and expected[0].outcome == "cancel":
            self._stage.beyond.add(turn)  # nothing holds it up here, as a consumer did
            return
        end = expected.popleft() if expected else None
        if end is None or (end.outcome, end.content) != (outcome, content):
            recorded = _end(end) if end is not None else "nothing more"
            left = Divergence(
                self.agent, turn, self._handlers.get(turn, ""), recorded, f"{outcome} {_readable(content)}"
            )
            self._left = _Left(left)


def _given(event: Did) -> bytes:
    if not event.good:
        raise decode_error(decode_any(event.result))
    return event.result


async def _never() -> bytes:
    raise AssertionError("a replay performs nothing")


def _shown(event: Did) -> str:
    return f"{event.kind} {_readable(event.what)}"


def _end(event: Ended) -> str:
    return f"{event.outcome} {_readable(event.content)}"


def _readable(data: bytes) -> str:
    try:
        value = decode_any(data)
        if isinstance(value, list) and len(value) == 3 and isinstance(value[2], bytes):
            value = [value[0], value[1], decode_any(value[2])]
        return repr(value)[:200]
    except (msgspec.MsgspecError, ValueError):
        return repr(data[:80])
