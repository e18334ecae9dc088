"""Bus: one member of a bus, with its names, topics, messages and calls, over one carrier."""

import asyncio
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Self

import msgspec

from transports.bus.asking.calls import Asked, Call, StreamReader
from transports.bus.asking.requests import Request
from transports.bus.asking.sending import SENT, Sent
from transports.bus.asking.serving import Handler
from transports.bus.carrier import DATA, Carrier, ShortWay
from transports.bus.choice import choose
from transports.bus.deadlines import LONGEST, check_seconds
from transports.bus.errors import BusError, Closed, Forked, JoinFailed, Overloaded, PeerLost, TooLarge
from transports.bus.events import DirectoryChange, MemberInfo
from transports.bus.frames import (
    ASK,
    PUBLISH,
    SEND,
    STREAM,
    UNENCODABLE,
    Encoded,
    encode,
    encode_into,
    not_encodable,
    pack_envelope,
)
from transports.bus.messages import Message
from transports.bus.names import Names, R
from transports.bus.options import BusOptions, SubscribeOptions
from transports.bus.pubsub.listener import Listener
from transports.bus.pubsub.subscriptions import Callback, Subscription
from transports.bus.receipt import Receipt, Settled, already_placed
from transports.bus.record import BINARY
from transports.bus.registry.wire import LABEL_LIMIT
from transports.bus.sink import BusSink
from transports.bus.status import BusStatus, take_status
from transports.bus.subscriber import Subscriber
from transports.bus.topics import check_topic
from transports.bus.waiting import until
from transports.bus.watching import Watch

WITHIN = 30.0  # seconds: the deadline of a call that names none
_ENVELOPES = 4096  # envelopes kept, of publications and of messages each


def _no_time(within: float) -> ValueError:
    return ValueError(f"every call has a deadline: `within` is less than {LONGEST:g} seconds, not {within}")


def _no_short_way(*_: object) -> None:
    """Publish nothing: the carrier has offered no way for small messages."""


class Bus:
    """Member of a bus: `async with await Bus.join(name) as bus`. Belongs to the event loop that it was made on."""

    def __init__(self, name: str, options: BusOptions) -> None:
        self._loop = asyncio.get_running_loop()
        self.name = name
        self.options = options
        self.label = options.label or f"process-{os.getpid()}"
        if len(self.label) > LABEL_LIMIT:
            raise JoinFailed(f"a label has at most {LABEL_LIMIT} characters; {self.label[:40]!r}... has more")
        self._inline = self.options.inline_bytes
        self._small = min(self._inline, self.options.payload_limit)
        sink = self._sink = BusSink(name, options, self._signal, self._answer, self._publish_by)
        self._sending, self._calls, self._serving = sink.sending, sink.calls, sink.serving
        self._waiting = sink.publications.waiting
        self._topics: dict[str | tuple[str, str], tuple[bytes, bytes]] = {}  # by topic, or topic and sender
        self._envelopes: dict[tuple[str, str, str], bytes] = {}  # of messages, by (to, sender, topic)
        self._ended: BusError | None = None
        self._closing: asyncio.Task[None] | None = None
        self.why = ""
        self._carrier: Carrier
        self._owners: dict[str, str] = {}  # of names that were looked up lately, until this member leaves
        self._publish_small: Callable[..., Any] = _no_short_way
        self._names: Names
        self._subscriber: Subscriber

    # --- life ------------------------------------------------------------------------------------------------------
    @classmethod
    async def join(cls, name: str, options: BusOptions | None = None) -> Self:
        """Join the bus of that name, or start it."""
        self = cls(name, options or BusOptions())
        sink = self._sink
        self._carrier, self.why = choose(name, self.options, self.label, sink)
        sink.connect(self._carrier)
        self._subscriber = Subscriber(self._carrier, sink.subscriptions, sink.delivery, lambda: self._ended)
        self._names = Names(name, self._carrier, sink.serving, sink.watches, lambda: self._ended)
        await self._carrier.start()
        self._sending.joined(self._carrier)
        self._owners = self._carrier.directory.recent
        _joined.add(self)
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.leave()

    async def leave(self, within: float = 2.0) -> None:
        """Send what is queued, for at most `within` seconds, then leave. Calls without a reply fail with Closed."""
        check_seconds(within)
        deadline = monotonic() + within
        if self._ended is None:
            await until(lambda: not (self._sending.busy or self._waiting or self._carrier.handing_over), within)
        if self._ended is None:  # no other task left meanwhile
            self._end(Closed(f"this member has left the bus {self.name!r}"))
            self._closing = self._loop.create_task(self._carrier.close(max(0.0, deadline - monotonic())))
        if self._closing is not None:
            await asyncio.shield(self._closing)  # a caller that is cancelled here has left all the same

    def _end(self, error: BusError) -> None:
        self._ended, self._owners = error, {}
        self._topics.clear()
        self._publish_small = _no_short_way
        _joined.discard(self)
        self._subscriber.close()
        self._serving.close()
        self._calls.close()
        self._sending.close(error)
        self._sink.publications.close(error)

    def _forked(self, error: Forked) -> None:
        """Refuse all work in the child of a fork; rings and sockets are the parent's."""
        self._topics.clear()
        self._ended, self._owners = error, {}
        self._carrier.forked()

    def _check(self) -> None:
        if self._ended is not None:
            raise self._ended

    @property
    def id(self) -> str:
        """Id of this member, such as "@1f2e3d4c": an address that it need not register."""
        return self._carrier.id

    @property
    def carrier(self) -> str:
        """Name of the carrier: "rings" or "zmq"."""
        return self._carrier.name

    # --- names -----------------------------------------------------------------------------------------------------
    async def register(
        self,
        names: str | Iterable[str],
        handler: Callable[[R], Any],
        request: type[R] = Request,  # type: ignore[assignment]  # the default of a type variable
    ) -> None:
        """Take requests to these names: all of them or none. `handler` gets a `request`, Request or a subclass."""
        await self._names.register(names, handler, request)

    async def unregister(self, names: str | Iterable[str]) -> None:
        """Give names back that this member registered."""
        await self._names.unregister(names)

    def serve(self, handler: Handler | None) -> None:
        """Take requests to this member itself: its id is the address. None: no longer."""
        self._serving.serve_member(handler)

    def locate(self, name: str) -> str | None:
        """Return the id of the member that registered `name`, or None."""
        return self._carrier.directory.owner(name)

    def names(self) -> Mapping[str, str]:
        """Return a live view of all registered names and the ids of their members."""
        return self._carrier.directory.names

    def members(self) -> Mapping[str, MemberInfo]:
        """Return a live view of all members, by id."""
        return self._carrier.directory.members

    def watch(self, callback: Callable[[DirectoryChange], Any]) -> Watch:
        """Call `callback(change)` for each change of members and names, until the watch is closed."""
        return self._sink.watches.add(callback)

    async def wait_for(self, names: str | Iterable[str], within: float = 5.0) -> None:
        """Wait until all these names are registered; DeadlineExceeded after `within` seconds."""
        await self._names.wait_for(names, within)

    # --- topics ----------------------------------------------------------------------------------------------------
    def publish(self, topic: str, payload: Any, trace: str = "", sender: str = "") -> Receipt:
        """Publish now. Await the receipt until the message is in a ring that all know, or ask it how far it got."""
        envelope = None
        if trace:
            envelope = pack_envelope(PUBLISH, "", sender or self._carrier.id, 0, 0.0, trace, topic)
        done = self._publish_small(self, topic, payload, sender, envelope)
        if type(done) is Receipt:
            return done
        return self._publish(topic, payload if done is None else Encoded(done), sender, envelope)

    def _publish(self, topic: str, payload: Any, sender: str, envelope: bytes | None) -> Receipt:
        """Publish what the short way has left: a new topic, a large payload, a message that has to wait."""
        topic_bytes, usual = self._topics.get((topic, sender) if sender else topic) or self._new_topic(topic, sender)
        body, flags = self._body(payload)
        if not self._waiting and (seq := self._carrier.publish(topic_bytes, envelope or usual, body, flags)):
            return Receipt(self, topic, seq, monotonic(), self._carrier.handing_over)
        placed = self._sink.publications.add(topic_bytes, envelope or usual, body, flags)
        receipt = Receipt(self, topic, 0, monotonic(), placed)
        placed.add_done_callback(lambda future: already_placed(future, receipt))
        return receipt

    def _new_topic(self, topic: str, sender: str) -> tuple[bytes, bytes]:
        """Make the topic's bytes and the envelope of all messages to it. After the end there are none."""
        self._check()
        check_topic(topic)
        if len(self._topics) >= _ENVELOPES:
            self._topics.clear()
        made = topic.encode(), pack_envelope(PUBLISH, "", sender or self._carrier.id, topic=topic)
        self._topics[(topic, sender) if sender else topic] = made
        return made

    def _publish_by(self, way: ShortWay) -> None:
        if self._ended is None:
            way.publishes(encode_into, Receipt, Encoded, self._small, self._topics, self._waiting)
            self._publish_small = way.publish

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        """Ask how far message `seq` got; a Receipt calls this."""
        self._check()
        check_seconds(within)
        return await self._carrier.settled(seq, topic, published, within)

    async def subscribe(
        self, pattern: str, callback: Callback, options: SubscribeOptions | None = None
    ) -> Subscription:
        """Call `callback(message)` for each message to a matching topic that is published after this returns."""
        return (await self.subscribe_many([(pattern, callback, options or SubscribeOptions())]))[0]

    async def subscribe_many(self, wanted: Iterable[tuple[str, Callback, SubscribeOptions]]) -> list[Subscription]:
        """Subscribe to several patterns with one message to the registry: to all of them, or to none."""
        return await self._subscriber.subscribe(wanted)

    def listen(self, pattern: str, options: SubscribeOptions | None = None, *, depth: int = 1024) -> Listener:
        """Iterate over messages and events, of which at most `depth` wait: `async with bus.listen(...) as items`."""
        return self._subscriber.listener(pattern, options or SubscribeOptions(), depth)

    # --- messages --------------------------------------------------------------------------------------------------
    def send(self, to: str, payload: Any, topic: str = "", trace: str = "", sender: str = "") -> Sent:
        """Send one message without a reply, now. Await the result until it is in the receiver's ring.

        A receiver that cannot read a large payload later reports that to `BusOptions.on_error`, here and at its own
        end.
        """
        member = self._owners.get(to) or self._names.member(to)
        body, flags = self._body(payload)
        envelope = None if trace else self._envelopes.get((to, sender, topic))
        if envelope is None:
            envelope = self._new_envelope(to, sender, topic, trace)
        waits = self._sending.send(member, envelope, body, flags, True)
        return SENT if waits is None else Sent(waits)

    def _new_envelope(self, to: str, sender: str, topic: str, trace: str) -> bytes:
        """Make the envelope of a message, and keep it for the next one unless it has a trace."""
        envelope = pack_envelope(SEND, to, sender, 0, 0.0, trace, topic)
        if not trace:
            if len(self._envelopes) >= _ENVELOPES:
                self._envelopes.clear()
            self._envelopes[to, sender, topic] = envelope
        return envelope

    def call(
        self,
        to: str,
        payload: Any,
        on_done: Callable[[Message | BusError], Any],
        topic: str = "",
        within: float = WITHIN,
        trace: str = "",
        sender: str = "",
    ) -> Call:
        """Ask without a task or a future: `on_done` gets the reply or the error, once, within `within` seconds."""
        call = Call(self._calls, self._calls.next_id(), to, self._names.member(to), on_done)
        self._ask(call, ASK, payload, within, topic, trace, sender, 0)
        return call

    async def ask(
        self,
        to: str,
        payload: Any,
        topic: str = "",
        within: float = WITHIN,
        trace: str = "",
        sender: str = "",
    ) -> Message:
        """Ask and wait for the reply, at most `within` seconds. Cancelling it cancels the receiver's work."""
        asked = self.asked(to, payload, topic, within, trace, sender)
        try:
            answer = await asked.future
        except asyncio.CancelledError:
            asked.cancel()
            raise
        if isinstance(answer, BusError):
            raise answer
        return answer

    def asked(
        self,
        to: str,
        payload: Any,
        topic: str = "",
        within: float = WITHIN,
        trace: str = "",
        sender: str = "",
    ) -> Asked:
        """Ask, for a caller that awaits `future` itself: each level of coroutines would cost every call."""
        member, calls = self._owners.get(to) or self._names.member(to), self._calls
        if not -LONGEST < within < LONGEST:
            raise _no_time(within)
        asked = Asked(calls, calls.next_id(), to, member, self._loop.create_future())
        if type(payload) is Encoded and len(payload.raw) <= self._small:
            body, flags = payload.raw, DATA
        else:
            body, flags = self._body(payload)
        deadline = monotonic() + within
        on_wire = deadline if self._carrier.shares_clock else -within
        self._sending.send(member, pack_envelope(ASK, to, sender, asked.id, on_wire, trace, topic, 0), body, flags)
        calls.add(asked, deadline)
        return asked

    def stream(
        self,
        to: str,
        payload: Any,
        topic: str = "",
        within: float = WITHIN,
        credit: int = 16,
        trace: str = "",
        sender: str = "",
    ) -> StreamReader:
        """Ask for a stream of replies: `async with bus.stream(...) as parts: async for part in parts`.

        The receiver sends at most `credit` parts ahead of the reader; `within` seconds are for the whole stream.
        """
        if credit < 1:
            raise ValueError("a stream needs a credit of at least 1")

        def start(reader: StreamReader) -> None:
            reader.member = self._names.member(to)
            reader.id = self._calls.next_id()
            self._ask(reader, STREAM, payload, within, topic, trace, sender, credit)

        return StreamReader(self._calls, to, credit, start)

    def _ask(
        self,
        outcome: Call | StreamReader,
        kind: int,
        payload: Any,
        within: float,
        topic: str,
        trace: str,
        sender: str,
        credit: int,
    ) -> None:
        if not -LONGEST < within < LONGEST:
            raise _no_time(within)
        body, flags = self._body(payload)
        deadline = monotonic() + within
        on_wire = deadline if self._carrier.shares_clock else -within
        envelope = pack_envelope(kind, outcome.to, sender, outcome.id, on_wire, trace, topic, credit)
        self._sending.send(outcome.member, envelope, body, flags)
        # Added while the receiver is at work: its reply is read in a later turn of the loop.
        self._calls.add(outcome, deadline)

    def _body(self, payload: Any) -> tuple[bytes, int]:
        """Encode a payload: the bytes, and the flags that say how to read them."""
        flags = DATA
        if type(payload) is Encoded:
            body = payload.raw
        elif type(payload) is bytes and len(payload) > self._inline:
            body, flags = payload, DATA | BINARY  # copied once, into shared memory
        else:
            try:
                body = encode(payload)
            except UNENCODABLE as error:
                raise not_encodable(error) from None
        if len(body) > self.options.payload_limit:
            raise TooLarge(
                f"a payload of {len(body)} bytes: the limit is {self.options.payload_limit} (BusOptions.payload_limit)"
            )
        return body, flags

    def _signal(self, member: str, kind: int, id_: int, count: int) -> None:
        """Send a CANCEL or a CREDIT, to a member that may be gone."""
        if self._ended is None:
            try:
                self._sending.send(member, pack_envelope(kind, "", "", id_, count=count), b"\xc0", DATA)
            except (PeerLost, Overloaded):
                pass  # the call has ended anyway, or ends at its deadline

    def _answer(self, member: str, envelope: bytes, payload: Any) -> None:
        if type(payload) is Encoded and len(payload.raw) <= self._small:
            body, flags = payload.raw, DATA
        else:
            body, flags = self._body(payload)
        if self._ended is not None:
            raise self._ended
        self._sending.send(member, envelope, body, flags)

    # --- status ----------------------------------------------------------------------------------------------------
    def status(self) -> BusStatus:
        """Take a snapshot of this member, from what its process knows."""
        return take_status(self.name, self.label, self.why, self._carrier, self._sink)

    async def status_of_readers(self) -> BusStatus:
        """Take a snapshot that also says how far each subscriber of this member's messages is behind."""
        return msgspec.structs.replace(self.status(), readers=tuple(await self._carrier.readers()))

    async def spins(self) -> Mapping[str, float]:
        """Return the members that keep a core while they wait, and `BusOptions.spin` of each."""
        return await self._carrier.spins()


# --- forks: rings and doorbells stay the parent's, and the child's buses refuse all work ---------------------------
_joined: "weakref.WeakSet[Bus]" = weakref.WeakSet()


def _after_fork() -> None:
    for bus in list(_joined):
        bus._forked(
            Forked(
                f"this process was forked after it joined the bus {bus.name!r}: rings and doorbells are its parent's."
                " Start processes with the spawn method, or join in the child"
            )
        )
    _joined.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
