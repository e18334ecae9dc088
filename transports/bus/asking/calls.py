"""The asking side: calls in flight, and streams of replies."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol, Self

from msgspec import Struct

from transports.bus.asking.resuming import resume
from transports.bus.carrier import Peer
from transports.bus.deadlines import Deadlines
from transports.bus.errors import (
    BadFrame,
    BusError,
    Closed,
    DeadlineExceeded,
    Overloaded,
    PeerLost,
    error_from_wire,
)
from transports.bus.frames import CANCEL, CREDIT, ERROR, PART, Envelope
from transports.bus.messages import Message, decode_body
from transports.bus.pubsub.delivery import CAUGHT


class Outcome(Protocol):
    """What waits for answers: a Call or a StreamReader."""

    id: int
    to: str
    member: str
    tick: int

    def part(self, message: Message) -> None: ...
    def done(self, result: "Message | BusError") -> None: ...


class _Question(Struct, eq=False):
    _calls: "Calls"
    id: int
    to: str
    member: str

    def part(self, message: Message) -> None:
        """Refuses a part: a plain question has one answer. The bus calls this."""
        self.done(BadFrame(f"{self.to} answered a plain question with a stream"))

    def done(self, result: "Message | BusError") -> None:
        """What each kind does with its answer."""

    def cancel(self) -> bool:
        """Ends it here and tells the other side. False if it had ended already. Nobody is told of an end any more."""
        return self._calls.cancel(self)  # type: ignore[arg-type]  # those that are asked have a tick


class Call(_Question, eq=False):
    """A question in flight. `on_done` gets the reply or the error, once."""

    on_done: "Callable[[Message | BusError], Any]"
    tick: int = 0

    def done(self, result: "Message | BusError") -> None:
        self.on_done(result)


class Asked(_Question, eq=False):
    """A question that somebody waits for: `future` gets the reply, or the error that came in its place, as a value, and whoever
    waits goes on at once.

    Whoever waits and is cancelled cancels the call, so that the far side ends.
    """

    future: "asyncio.Future[Message | BusError]"
    tick: int = 0

    def done(self, result: "Message | BusError") -> None:
        if not self.future.done():
            resume(self.future, result)


class Calls:
    def __init__(
        self,
        limit: int,
        tell: Callable[[str, int, int, int], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._limit = limit
        self._tell = tell  # (member, CANCEL or CREDIT, id, count)
        self._failed = failed
        self._pending: dict[int, Outcome] = {}
        self._deadlines = Deadlines(self._expired)
        self._id = 0
        self.made = self.strays = 0

    @property
    def pending(self) -> int:
        return len(self._pending)

    def next_id(self) -> int:
        if len(self._pending) >= self._limit:
            raise Overloaded(f"{len(self._pending)} calls are in flight already (BusOptions.pending_calls)")
        self._id += 1
        return self._id

    def add(self, outcome: Outcome, deadline: float) -> None:
        self._pending[outcome.id] = outcome
        outcome.tick = self._deadlines.add(outcome.id, deadline)
        self.made += 1

    def forget(self, outcome: Outcome) -> bool:
        if self._pending.pop(outcome.id, None) is None:
            return False
        self._deadlines.discard(outcome.id, outcome.tick)
        return True

    def answered(self, peer: Peer, envelope: Envelope, message: Message) -> None:
        """A REPLY, ERROR, PART or END."""
        outcome = self._pending.get(envelope.id)
        if outcome is None or outcome.member != peer.id:
            self.strays += 1  # cancelled or expired here, or not for us to hear
            return
        kind = envelope.kind
        if kind == PART:
            outcome.part(message)
            return
        del self._pending[envelope.id]
        self._deadlines.discard(outcome.id, outcome.tick)
        self._finish(outcome, _error(message.body, outcome.to) if kind == ERROR else message)

    def _finish(self, outcome: Outcome, result: "Message | BusError") -> None:
        try:
            outcome.done(result)
        except CAUGHT as error:
            self._failed(f"on_done of a call to {outcome.to!r}", error)

    def cancel(self, outcome: Outcome) -> bool:
        if not self.forget(outcome):
            return False
        self._tell(outcome.member, CANCEL, outcome.id, 0)
        return True

    def more(self, outcome: Outcome, count: int) -> None:
        self._tell(outcome.member, CREDIT, outcome.id, count)

    def _expired(self, id_: int) -> None:
        outcome = self._pending.pop(id_, None)
        if outcome is not None:
            self._finish(outcome, DeadlineExceeded(f"{outcome.to} did not answer in time"))

    def member_lost(self, member: str, error: PeerLost) -> None:
        self._fail([outcome for outcome in self._pending.values() if outcome.member == member], error)

    def fail_all(self, error: BusError) -> None:
        self._fail(list(self._pending.values()), error)

    def _fail(self, outcomes: Iterable[Outcome], error: BusError) -> None:
        for outcome in outcomes:
            if self.forget(outcome):  # else whoever heard of one before it cancelled it
                self._finish(outcome, error)

    def close(self) -> None:
        self.fail_all(Closed("this member has left the bus"))
        self._deadlines.close()


def _error(body: bytes, by: str) -> BusError:
    try:
        code, text, detail = decode_body(body)
        return error_from_wire(str(code), str(text), detail, by)
    except (BusError, TypeError, ValueError):
        return BadFrame(f"{by} answered with an error that is none")


class StreamReader:
    """Parts of an answer, in order. Leaving it (`async with`, `aclose`) cancels the far side."""

    def __init__(self, calls: Calls, to: str, credit: int, start: "Callable[[StreamReader], None]") -> None:
        self._calls = calls
        self._start = start
        self._credit = credit
        self._owed = 0  # parts consumed and not yet credited
        self._parts: deque[Message] = deque()
        self._end: BusError | None = None
        self._ended = self._started = False
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.id = 0
        self.to = to
        self.member = ""
        self.tick = 0

    def part(self, message: Message) -> None:
        """Takes in a part. The bus calls this."""
        if len(self._parts) > self._credit:
            self._calls.cancel(self)
            self._close(BadFrame(f"{self.to} sent more parts than it had credit for"))
            return
        self._parts.append(message)
        self._wake()

    def done(self, result: "Message | BusError") -> None:
        """Takes in the end, or the error that ended it. The bus calls this."""
        self._close(result if isinstance(result, BusError) else None)

    def _close(self, error: BusError | None) -> None:
        self._ended, self._end = True, error
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def begin(self) -> None:
        """Asks for the stream, if that was not done yet."""
        if not self._started and not self._ended:
            self._start(self)
            self._started = True  # what could not be asked may be asked again

    async def __aenter__(self) -> Self:
        self.begin()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __aiter__(self) -> "StreamReader":
        self.begin()
        return self

    async def __anext__(self) -> Message:
        self.begin()
        while not self._parts:
            if self._ended:
                error, self._end = self._end, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                await self.aclose()
                raise
        message = self._parts.popleft()
        self._owed += 1
        if not self._ended and 2 * self._owed >= self._credit:
            owed, self._owed = self._owed, 0
            self._calls.more(self, owed)
        return message

    async def aclose(self) -> None:
        """Cancels the far side, unless the stream has ended."""
        if self._started and not self._ended:
            self._calls.cancel(self)
        self._ended = True
        self._parts.clear()
        self._wake()
