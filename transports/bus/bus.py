"""The Bus: one object per process that joins names, topics, calls and a carrier."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Self, TypeVar

import msgspec

from transports.bus.asking.calls import Asked, Call, Calls, StreamReader
from transports.bus.asking.requests import Request
from transports.bus.asking.sending import SENT, Sending, Sent
from transports.bus.asking.serving import Handler, Serving
from transports.bus.carrier import DATA, Carrier, Peer, Put, ShortWay
from transports.bus.choice import choose
from transports.bus.errors import (
    BadAddress,
    BusError,
    Closed,
    DeadlineExceeded,
    Forked,
    JoinFailed,
    NameTaken,
    NoSuchName,
    Overloaded,
    PeerLost,
    TooLarge,
)
from transports.bus.events import DirectoryChange, Evicted, Gap, InBand, MemberInfo, MemberLost, WriterGone
from transports.bus.forking import joined
from transports.bus.frames import (
    ASK,
    CANCEL,
    CREDIT,
    END,
    PUBLISH,
    REPLY,
    SEND,
    STREAM,
    UNENCODABLE,
    UNREADABLE,
    Encoded,
    Envelope,
    decode_envelope,
    encode,
    encode_into,
    not_encodable,
    pack_envelope,
    unreadable,
)
from transports.bus.messages import Message
from transports.bus.options import BusOptions, SubscribeOptions
from transports.bus.pubsub.delivery import CAUGHT, Delivery, Onward
from transports.bus.pubsub.listener import Listener
from transports.bus.pubsub.publications import Publications
from transports.bus.pubsub.subscriptions import Callback, Subscription, Subscriptions
from transports.bus.receipt import Receipt, Settled, already_placed
from transports.bus.record import BINARY
from transports.bus.registry.wire import LABEL_LIMIT
from transports.bus.status import BusStatus
from transports.bus.subscribing import Subscribing
from transports.bus.topics import check_name, check_topic
from transports.bus.waiting import until
from transports.bus.watching import Watch, Watches

R = TypeVar("R", bound=Request)
WITHIN = 30.0  # the deadline of a call that names none
LONGEST = 1e9  # seconds
_TOPICS = 4096  # envelopes remembered, of what is published and of what is sent


def _no_time(within: float) -> ValueError:
    return ValueError(f"every call has a deadline: `within` is less than {LONGEST:g} seconds, not {within}")


def _not_at_once(*_: object) -> None:
    """There is no short way: not yet, or not with this carrier."""


class Bus:
    """A member of a bus. Made by `await Bus.join(name)`; belongs to the event loop it was made on."""

    def __init__(self, name: str, options: BusOptions) -> None:
        self._loop = asyncio.get_running_loop()
        self.name = name
        self.options = options
        self.label = options.label or f"process-{os.getpid()}"
        if len(self.label) > LABEL_LIMIT:
            raise JoinFailed(f"a label has at most {LABEL_LIMIT} characters; {self.label[:40]!r}... has more")
        self._inline = self.options.inline_bytes
        self._small = min(self._inline, self.options.payload_limit)
        self._subscriptions = Subscriptions()
        self.delivery = Delivery(self._subscriptions, self._direct, self.failed)
        self._watches = Watches(self.failed)
        self._sending = Sending(options, self._direct)
        self._publications = Publications(options.outbox_bytes)
        self._waiting = self._publications.waiting
        self._topics: dict[str | tuple[str, str], tuple[bytes, bytes]] = {}  # by topic, or topic and sender
        # Envelopes of what is sent, by (to, sender, topic).
        self._letters: dict[tuple[str, str, str], bytes] = {}
        # The last envelope, and what was read in it: parts of a stream, and messages to one name, come in the same again and again.
        self._read: tuple[bytes, Envelope] = (b"", Envelope(1, SEND, "", "", 0, 0.0, "", "", 0))
        self._ended: BusError | None = None
        self._closing: asyncio.Task[None] | None = None
        self.gaps_told = 0
        self.why = ""
        self._carrier: Carrier
        self._owners: Mapping[str, str] = {}  # the directory's names, for as long as this is a member
        # The short way of small messages.
        self._at_once: Callable[..., Any] = _not_at_once
        self._calls = Calls(options.pending_calls, self._tell, self.failed)
        self._serving: Serving
        self._subscribing: Subscribing

    # --- life ------------------------------------------------------------------------------------------------------
    @classmethod
    async def join(cls, name: str, options: BusOptions | None = None) -> Self:
        """Join the bus of that name, or start it."""
        self = cls(name, options or BusOptions())
        self._carrier, self.why = choose(name, self.options, self.label, self)
        self._subscribing = Subscribing(self._carrier, self._subscriptions, self.delivery, lambda: self._ended)
        self._serving = Serving(self._answer, self._sending.at_once, self.failed)
        await self._carrier.start()
        self._sending.joined(self._carrier)
        self._owners = self._carrier.directory.names
        joined.add(self)
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.leave()

    async def leave(self, within: float = 2.0) -> None:
        """Send what is queued, then go. What still waits for an answer ends with Closed."""
        deadline = monotonic() + within
        if self._ended is None:
            await until(lambda: not (self._sending.busy or self._publications.waiting), within)
        if self._ended is None:  # nobody else left meanwhile
            self._end(Closed(f"this member has left the bus {self.name!r}"))
            self._closing = self._loop.create_task(self._carrier.close(max(0.0, deadline - monotonic())))
        if self._closing is not None:
            await asyncio.shield(self._closing)  # who is cancelled here has left all the same

    def _end(self, error: BusError) -> None:
        self._ended, self._owners = error, {}
        self._topics.clear()
        self._at_once = _not_at_once
        joined.discard(self)
        self._subscribing.close()
        self._serving.close()
        self._calls.close()
        self._sending.close(error)
        self._publications.close(error)

    def forked(self, error: Forked) -> None:
        """In the child of a fork: nothing of this is the child's."""
        self._topics.clear()
        self._ended, self._owners = error, {}
        forked = getattr(self._carrier, "forked", None)
        if forked is not None:
            forked()

    def _check(self) -> None:
        if self._ended is not None:
            raise self._ended

    @property
    def id(self) -> str:
        return self._carrier.id

    @property
    def carrier(self) -> str:
        return self._carrier.name

    # --- names -----------------------------------------------------------------------------------------------------
    async def register(
        self,
        names: str | Iterable[str],
        handler: Callable[[R], Any],
        request: type[R] = Request,  # type: ignore[assignment]  # the default of a type variable
    ) -> None:
        """Take requests to these names; all of them or none. `request` is what the handler is handed: a subclass knows more."""
        self._check()
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            check_name(name)
            if name in self._serving.handlers:
                raise BadAddress(f"the name {name!r} is registered here already")
        for name in wanted:
            self._serving.handlers[name] = handler, request
        try:
            await self._carrier.register(wanted)
        except BaseException as error:
            for name in wanted:
                self._serving.handlers.pop(name, None)
            if self._ended is None and not isinstance(error, NameTaken):  # the registry may be about to say yes
                self._carrier.withdraw(wanted)
            raise

    async def unregister(self, names: str | Iterable[str]) -> None:
        self._check()
        wanted = [names] if isinstance(names, str) else list(names)
        await self._carrier.unregister(wanted)
        for name in wanted:
            self._serving.handlers.pop(name, None)

    def serve(self, handler: Handler | None) -> None:
        """Take requests to this member itself (its id is the address)."""
        self._serving.own = handler

    def locate(self, name: str) -> str | None:
        return self._carrier.directory.owner(name)

    def names(self) -> Mapping[str, str]:
        return self._carrier.directory.names

    def members(self) -> Mapping[str, MemberInfo]:
        return self._carrier.directory.members

    def watch(self, callback: Callable[[DirectoryChange], Any]) -> Watch:
        return self._watches.add(callback)

    async def wait_for(self, names: str | Iterable[str], within: float = 5.0) -> None:
        """Until all these names are registered."""
        missing = {names} if isinstance(names, str) else set(names)
        missing = {name for name in missing if self.locate(name) is None}
        changed = asyncio.Event()
        watch = self.watch(lambda _: changed.set())
        try:
            async with asyncio.timeout(within):
                while missing:
                    await changed.wait()
                    changed.clear()
                    missing = {name for name in missing if self.locate(name) is None}
        except TimeoutError:
            some = ", ".join(sorted(missing)[:5])
            raise DeadlineExceeded(f"{len(missing)} names did not appear within {within:g} s: {some}") from None
        finally:
            watch.close()

    # --- topics ----------------------------------------------------------------------------------------------------
    def publish(self, topic: str, payload: Any, trace: str = "", sender: str = "") -> Receipt:
        """Publish now. The receipt may be awaited (until it is in the ring) or asked how far the message got."""
        envelope = None
        if trace:
            envelope = pack_envelope(PUBLISH, "", sender or self._carrier.id, 0, 0.0, trace, topic)
        done = self._at_once(self, topic, payload, sender, envelope)
        if type(done) is Receipt:
            return done
        return self._publish(topic, payload if done is None else Encoded(done), sender, envelope)

    def _publish(self, topic: str, payload: Any, sender: str, envelope: bytes | None) -> Receipt:
        """What is new, large or has to wait."""
        topic_bytes, usual = self._topics.get((topic, sender) if sender else topic) or self._new_topic(topic, sender)
        body, flags = self._body(payload)
        if not self._waiting and (seq := self._carrier.publish(topic_bytes, envelope or usual, body, flags)):
            return Receipt(self, topic, seq, monotonic())
        return self._wait_for_room(topic, topic_bytes, envelope or usual, body, flags)

    def _wait_for_room(self, topic: str, topic_bytes: bytes, envelope: bytes, body: bytes, flags: int) -> Receipt:
        placed = self._publications.add(topic_bytes, envelope, body, flags)
        receipt = Receipt(self, topic, 0, monotonic(), placed)
        placed.add_done_callback(lambda future: already_placed(future, receipt))
        return receipt

    def _new_topic(self, topic: str, sender: str) -> tuple[bytes, bytes]:
        """What goes with each message to a topic; after the end nothing does."""
        self._check()
        check_topic(topic)
        if len(self._topics) >= _TOPICS:
            self._topics.clear()
        known = topic.encode(), pack_envelope(PUBLISH, "", sender or self._carrier.id, topic=topic)
        self._topics[(topic, sender) if sender else topic] = known
        return known

    def publish_by(self, way: ShortWay) -> None:
        way.publishes(encode_into, Receipt, Encoded, self._small, self._topics, self._waiting)
        self._at_once = way.publish

    def publishable(self) -> None:
        """The carrier may have room again."""
        self._publications.flush(self._carrier.publish)

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        self._check()
        return await self._carrier.settled(seq, topic, published, within)

    async def subscribe(
        self, pattern: str, callback: Callback, options: SubscribeOptions | None = None
    ) -> Subscription:
        """`callback(message)` for each message of a matching topic published after this returns."""
        return (await self.subscribe_many([(pattern, callback, options or SubscribeOptions())]))[0]

    async def subscribe_many(self, wanted: Iterable[tuple[str, Callback, SubscribeOptions]]) -> list[Subscription]:
        """Many at once: one message to the registry. All of them, or none."""
        return await self._subscribing.begin(wanted)

    def listen(self, pattern: str, options: SubscribeOptions | None = None, *, depth: int = 1024) -> Listener:
        """Messages and events in band, as an async iterator."""
        return self._subscribing.listener(pattern, options or SubscribeOptions(), depth)

    # --- messages --------------------------------------------------------------------------------------------------
    def send(self, to: str, payload: Any, topic: str = "", trace: str = "", sender: str = "") -> Sent:
        """One message, no answer. Acts at once."""
        member = self._owners.get(to) or self._member(to)
        body, flags = self._body(payload)
        envelope = None if trace else self._letters.get((to, sender, topic))
        if envelope is None:
            envelope = self._new_letter(to, sender, topic, trace)
        waits = self._sending.send(member, envelope, body, flags, True)
        return SENT if waits is None else Sent(waits)

    def _new_letter(self, to: str, sender: str, topic: str, trace: str) -> bytes:
        """The envelope of a message without an answer. It is the same for the next, unless that has a trace."""
        envelope = pack_envelope(SEND, to, sender, 0, 0.0, trace, topic)
        if not trace:
            if len(self._letters) >= _TOPICS:
                self._letters.clear()
            self._letters[to, sender, topic] = envelope
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
        """Ask without a task or a future: `on_done` gets the reply or the error, once."""
        member = self._member(to)
        call = Call(self._calls, self._calls.next_id(), to, member, on_done)
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
        """Ask and wait for the reply. Cancelling it cancels the far side."""
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
        """The same for whoever awaits its future in a coroutine of their own: each level of coroutines costs every call."""
        member, calls = self._owners.get(to) or self._member(to), self._calls
        if not within < LONGEST:
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
        """Ask for a stream of replies: `async with bus.stream(...) as parts: async for part in parts`."""
        if credit < 1:
            raise ValueError("a stream needs a credit of at least 1")

        def start(reader: StreamReader) -> None:
            reader.member = self._member(to)
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
        if not within < LONGEST:
            raise _no_time(within)
        body, flags = self._body(payload)
        deadline = monotonic() + within
        on_wire = deadline if self._carrier.shares_clock else -within
        envelope = pack_envelope(kind, outcome.to, sender, outcome.id, on_wire, trace, topic, credit)
        self._sending.send(outcome.member, envelope, body, flags)
        self._calls.add(
            outcome, deadline
        )  # while the other side is at work; what it answers is read in a later turn of the loop

    def _member(self, to: str) -> str:
        if self._ended is not None:
            raise self._ended
        directory = self._carrier.directory
        member = directory.names.get(to)
        if member is not None:
            return member
        if to[:1] == "@":
            if to in directory.members:
                return to
            raise PeerLost(f"member {to} is not on the bus (any more)", to)
        raise NoSuchName(f"nobody on the bus {self.name!r} is called {to!r}")

    def _body(self, payload: Any) -> tuple[bytes, int]:
        """What travels, and how it is to be read."""
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

    def writable(self, member: str) -> None:
        """The carrier has room for this member again."""
        error = self._sending.flush(member)
        if error is not None:
            self.unsendable(member, error)

    def way_to(self, member: str, put: Put | None) -> None:
        self._sending.way_to(member, put)

    def unsendable(self, member: str, error: Exception) -> None:
        self._sending.drop(member, error)
        lost = error if isinstance(error, PeerLost) else PeerLost(f"member {member} cannot be reached: {error}", member)
        self._calls.member_lost(member, lost)

    def _tell(self, member: str, kind: int, id_: int, count: int) -> None:
        """CANCEL or CREDIT, to a member that may be gone."""
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

    # --- what the carrier tells (Sink) ------------------------------------------------------------------------------
    def _direct(self, message: Message) -> None:
        peer, raw = message.peer, message.envelope
        if raw is self._read[0]:
            envelope = self._read[1]
        else:
            try:
                envelope = decode_envelope(raw)
            except UNREADABLE as error:
                self.failed(f"frame of member {peer.id}", unreadable(raw, error))
                return
            self._read = raw, envelope
        kind = envelope.kind
        if REPLY <= kind <= END:
            self._calls.answered(peer, envelope, message)
        elif SEND <= kind <= STREAM:
            self._serving.serve(peer.id, envelope, message)
        elif kind == CANCEL:
            self._serving.cancel(peer.id, envelope.id)
        elif kind == CREDIT:
            self._serving.credit(peer.id, envelope.id, envelope.count)

    def gap(self, peer: Peer, first: int, last: int) -> None:
        self.gaps_told += 1
        self._tell_event(Gap(peer.id, first, last, last - first + 1))

    def evicted(self, writer: str, held_seconds: float) -> None:
        self._tell_event(Evicted(writer, held_seconds), reliable_only=True)

    def writer_gone(self, peer: Peer) -> None:
        self._tell_event(WriterGone(peer.id, peer.info.label))

    def _tell_event(self, event: InBand, reliable_only: bool = False) -> None:
        onward = Onward()
        for on_event, told in self._subscriptions.tell(event, reliable_only):
            with onward:
                try:
                    on_event(told)
                except CAUGHT as error:  # reported, never passed to the pump
                    self.failed("on_event of a subscriber", error)
        onward.end()

    def directory_changed(self, changes: Sequence[DirectoryChange]) -> None:
        for change in changes:
            if isinstance(change, MemberLost):
                self._member_lost(change)
            self._watches.tell(change)

    def _member_lost(self, change: MemberLost) -> None:
        info = change.member
        error = PeerLost(f"member {info.id} ({info.label}, pid {info.pid}) is gone: {change.reason}", info.id)
        self._sending.drop(info.id, error)
        self._calls.member_lost(info.id, error)
        self._serving.member_lost(info.id)

    def failed(self, where: str, error: BaseException) -> None:
        """What a callback raised, or what came in broken: told, never swallowed."""
        context = {"message": f"bus {self.name}: {where}: {error}", "exception": error}
        if self.options.on_error is not None:
            try:
                self.options.on_error(where, error)
                return
            except CAUGHT as another:  # whoever tells us of an error has others to call
                context["message"] = f"on_error raised {another!r} when it was told: {context['message']}"
        self._loop.call_exception_handler(context)

    # --- status ----------------------------------------------------------------------------------------------------
    def status(self) -> BusStatus:
        """A snapshot, from what this process knows."""
        return BusStatus(
            bus=self.name,
            member=self.id,
            label=self.label,
            carrier=self._carrier.name,
            why=self.why,
            members=len(self._carrier.directory.members),
            names=len(self._carrier.directory.names),
            subscriptions=self._subscriptions.count,
            pending_calls=self._calls.pending,
            open_requests=self._serving.open,
            outbox_messages=self._sending.messages + len(self._publications.waiting),
            outbox_bytes=self._sending.bytes + self._publications.bytes,
            counters={
                **self._carrier.counters(),
                "calls": self._calls.made,
                "stray_answers": self._calls.strays,
                "served": self._serving.served,
                "late_answers": self._serving.late,
                "gaps_told": self.gaps_told,
            },
        )

    async def status_of_readers(self) -> BusStatus:
        """The same, with how far each subscriber of this member's messages is behind."""
        return msgspec.structs.replace(self.status(), readers=tuple(await self._carrier.readers()))
