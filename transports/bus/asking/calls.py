"""Calls in flight, of the asking side: each waits for a reply, an error, or a stream of replies."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol, Self

from msgspec import Struct

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
    """Receiver of what comes back for one call: a Call, an Asked or a StreamReader."""

    id: int
    to: str
    member: str
    tick: int

    def part(self, message: Message) -> None:
        """Take one part of a stream."""
        ...

    def done(self, result: "Message | BusError") -> None:
        """Take the reply, the error or the end of the stream: it comes once, and last."""
        ...


class _Question(Struct, eq=False):
    """A call that expects one reply."""

    _calls: "Calls"
    id: int
    to: str
    member: str

    def part(self, message: Message) -> None:
        """End the call: a stream is no answer to a plain question."""
        self.done(BadFrame(f"{self.to} answered a plain question with a stream"))

    def done(self, result: "Message | BusError") -> None:
        """Take the reply or the error; each kind of call does so in its own way."""

    def cancel(self) -> bool:
        """End the call and tell the receiver; `done` is not called. False if the call had ended already."""
        return self._calls.cancel(self)  # type: ignore[arg-type]  # its subclasses have a tick


class Call(_Question, eq=False):
    """A call in flight. `on_done` gets the reply or the error, once."""

    on_done: "Callable[[Message | BusError], Any]"
    tick: int = 0

    def done(self, result: "Message | BusError") -> None:
        self.on_done(result)


class Asked(_Question, eq=False):
    """A call in flight whose caller awaits `future`, and is resumed in the turn of the loop that brings the result.

    The future's value is the reply, or the error that came in its place. A caller that is cancelled while it waits has
    to call `cancel()`, so that the receiver's work ends too.
    """

    future: "asyncio.Future[Message | BusError]"
    tick: int = 0

    def done(self, result: "Message | BusError") -> None:
        if not self.future.done():
            resume(self.future, result)


def resume(future: "asyncio.Future[Any]", result: Any) -> None:
    """Set the result of a future, and resume its one waiter in this turn of the loop, not in the next.

    A loop calls the waiters of a future in its next turn: one more handle, and one more system call that looks for
    other work. Between a request and its reply that is a tenth of the time. A resumed task runs where the handlers of
    messages run. Several waiters are resumed in the next turn, as is a single one while a task is running.
    """
    waiting = getattr(future, "_callbacks", None)
    if not waiting or len(waiting) != 1 or asyncio.current_task(future.get_loop()) is not None:
        future.set_result(result)
        return
    ((callback, context),) = waiting
    future.remove_done_callback(callback)
    future.set_result(result)
    context.run(callback, future)


class Calls:
    """Table of the calls in flight.

    `signal(member, kind, id, count)` sends a CANCEL or a CREDIT; `failed(where, error)` reports what a callback raised.
    """

    def __init__(
        self,
        limit: int,
        signal: Callable[[str, int, int, int], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._limit = limit
        self._signal = signal
        self._failed = failed
        self._pending: dict[int, Outcome] = {}
        self._deadlines = Deadlines(self._expired)
        self._id = 0
        self.made = self.strays = 0

    @property
    def pending(self) -> int:
        """Number of calls in flight."""
        return len(self._pending)

    def next_id(self) -> int:
        """Return the id of a new call; Overloaded if there are too many."""
        if len(self._pending) >= self._limit:
            raise Overloaded(f"{len(self._pending)} calls are in flight already (BusOptions.pending_calls)")
        self._id += 1
        return self._id

    def add(self, outcome: Outcome, deadline: float) -> None:
        """Add a call, which fails at `deadline` on time.monotonic()."""
        outcome.tick = self._deadlines.add(outcome.id, deadline)  # first: a call without a deadline is none
        self._pending[outcome.id] = outcome
        self.made += 1

    def forget(self, outcome: Outcome) -> bool:
        """Remove a call; False if it had ended."""
        if self._pending.pop(outcome.id, None) is None:
            return False
        self._deadlines.discard(outcome.id, outcome.tick)
        return True

    def answered(self, peer: Peer, envelope: Envelope, message: Message) -> None:
        """Hand a REPLY, ERROR, PART or END to the call that it is for."""
        outcome = self._pending.get(envelope.id)
        if outcome is None or outcome.member != peer.id:
            if envelope.kind == ERROR and not envelope.id:  # of a message without a reply, which has no call
                self._failed(f"message to {envelope.sender!r}", _error(message.body, envelope.sender))
                return
            self.strays += 1  # cancelled, expired, or from a member that was not asked
            return
        kind = envelope.kind
        if kind == PART:
            outcome.part(message)
            return
        del self._pending[envelope.id]
        self._deadlines.discard(outcome.id, outcome.tick)
        self._finish_call(outcome, _error(message.body, outcome.to) if kind == ERROR else message)

    def unreadable(self, peer: Peer, id_: int, error: BusError) -> None:
        """End a call whose answer could not be read."""
        outcome = self._pending.get(id_)
        if outcome is not None and outcome.member == peer.id and self.forget(outcome):
            self._finish_call(outcome, error)

    def _finish_call(self, outcome: Outcome, result: "Message | BusError") -> None:
        try:
            outcome.done(result)
        except CAUGHT as error:
            self._failed(f"on_done of a call to {outcome.to!r}", error)

    def cancel(self, outcome: Outcome) -> bool:
        """End a call and tell the receiver; False if it had ended."""
        if not self.forget(outcome):
            return False
        self._signal(outcome.member, CANCEL, outcome.id, 0)
        return True

    def give_credit(self, outcome: Outcome, count: int) -> None:
        """Let the receiver send `count` more parts."""
        self._signal(outcome.member, CREDIT, outcome.id, count)

    def _expired(self, id_: int) -> None:
        outcome = self._pending.pop(id_, None)
        if outcome is not None:
            self._finish_call(outcome, DeadlineExceeded(f"{outcome.to} did not answer in time"))

    def member_lost(self, member: str, error: PeerLost) -> None:
        """Fail all calls to a member."""
        self._fail([outcome for outcome in self._pending.values() if outcome.member == member], error)

    def fail_all(self, error: BusError) -> None:
        """Fail all calls."""
        self._fail(list(self._pending.values()), error)

    def _fail(self, outcomes: Iterable[Outcome], error: BusError) -> None:
        for outcome in outcomes:
            if self.forget(outcome):  # else the callback of another call cancelled it
                self._finish_call(outcome, error)

    def close(self) -> None:
        """Fail all calls with Closed."""
        self.fail_all(Closed("this member has left the bus"))
        self._deadlines.close()


def _error(body: bytes, by: str) -> BusError:
    try:
        code, text, detail = decode_body(body)
        return error_from_wire(str(code), str(text), detail, by)
    except (BusError, TypeError, ValueError):
        return BadFrame(f"{by} answered with an error that is none")


class StreamReader:
    """Stream of replies, in order: `async with bus.stream(...) as parts: async for part in parts`.

    The request is sent when the stream is entered or first read. Leaving it before its end cancels the receiver's work.
    """

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
        """Take one part; more of them than there was credit for end the stream."""
        if len(self._parts) > self._credit:
            self._calls.cancel(self)
            self._finish(BadFrame(f"{self.to} sent more parts than it had credit for"))
            return
        self._parts.append(message)
        self._wake()

    def done(self, result: "Message | BusError") -> None:
        """Take the end of the stream, or the error that ended it."""
        self._finish(result if isinstance(result, BusError) else None)

    def _finish(self, error: BusError | None) -> None:
        self._ended, self._end = True, error
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def begin(self) -> None:
        """Send the request, unless it was sent."""
        if not self._started and not self._ended:
            self._start(self)
            self._started = True  # after the start: a request that could not be sent may be sent again

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
            self._calls.give_credit(self, owed)
        return message

    async def aclose(self) -> None:
        """End the stream; cancel the receiver's work if it has not ended."""
        if self._started and not self._ended:
            self._calls.cancel(self)
        self._ended = True
        self._parts.clear()
        self._wake()
