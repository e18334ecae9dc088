"""The bus's side of a carrier: frames that arrive, members that come and go, gaps, evictions, errors.

`BusSink` owns the parts that both the carrier's reports and the user's verbs work on: calls in flight, handlers,
outgoing frames, subscriptions, and publications that wait. `Bus` reads them from here.
"""

import asyncio
from collections.abc import Callable, Sequence

from transports.bus.asking.calls import Calls
from transports.bus.asking.sending import Sending
from transports.bus.asking.serving import Send, Serving
from transports.bus.carrier import DATA, Carrier, Peer, Put, ShortWay
from transports.bus.errors import BusError, Overloaded, PeerLost, RemoteError
from transports.bus.events import DirectoryChange, Evicted, Gap, InBand, MemberLost, WriterGone
from transports.bus.frames import (
    CANCEL,
    CREDIT,
    END,
    ERROR,
    REPLY,
    SEND,
    STREAM,
    UNREADABLE,
    Envelope,
    decode_envelope,
    encode,
    pack_envelope,
    unreadable,
)
from transports.bus.messages import Message
from transports.bus.options import BusOptions
from transports.bus.pubsub.delivery import CAUGHT, Delivery, Onward
from transports.bus.pubsub.publications import Publications
from transports.bus.pubsub.subscriptions import Subscriptions
from transports.bus.watching import Watches


class BusSink:
    """Handles the reports of one carrier; implements `carrier.Sink`.

    `signal(member, kind, id, count)` sends a CANCEL or a CREDIT, `answer(member, envelope, payload)` a reply, and
    `publish_by(way)` makes `way` the bus's way for small messages.
    """

    def __init__(
        self,
        bus: str,
        options: BusOptions,
        signal: Callable[[str, int, int, int], None],
        answer: Send,
        publish_by: Callable[[ShortWay], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._bus, self._on_error = bus, options.on_error
        self.publish_by = publish_by
        self.subscriptions = Subscriptions()
        self.delivery = Delivery(self.subscriptions, self._direct, self.failed)
        self.watches = Watches(self.failed)
        self.sending = Sending(options, self._direct)
        self.publications = Publications(options.outbox_bytes)
        self.calls = Calls(options.pending_calls, signal, self.failed)
        self.serving = Serving(answer, self.sending.at_once, self.failed)
        # The last envelope and its fields: parts of a stream, and messages to one name, come in the same one.
        self._last: tuple[bytes, Envelope] = (b"", Envelope(1, SEND, "", "", 0, 0.0, "", "", 0))
        self._carrier: Carrier
        self.gaps = 0

    def connect(self, carrier: Carrier) -> None:
        """Set the carrier that reports to this sink, before it starts."""
        self._carrier = carrier

    # --- frames ----------------------------------------------------------------------------------------------------
    def _direct(self, message: Message) -> None:
        """Hand a frame that was sent to this member to the part that it is for."""
        peer, raw = message.peer, message.envelope
        if raw is self._last[0]:
            envelope = self._last[1]
        else:
            try:
                envelope = decode_envelope(raw)
            except UNREADABLE as error:
                self.failed(f"frame of member {peer.id}", unreadable(raw, error))
                return
            self._last = raw, envelope
        kind = envelope.kind
        if REPLY <= kind <= END:
            self.calls.answered(peer, envelope, message)
        elif SEND <= kind <= STREAM:
            self.serving.serve(peer.id, envelope, message)
        elif kind == CANCEL:
            self.serving.cancel(peer.id, envelope.id)
        elif kind == CREDIT:
            self.serving.credit(peer.id, envelope.id, envelope.count)

    def undelivered(self, message: Message, error: BusError) -> None:
        """Report a message whose payload could not be read: here, and to the member that sent it.

        A call ends with the error, at either side. The sender of a message without a reply had its `await` long ago, so
        its `BusOptions.on_error` gets the error.
        """
        peer = message.peer
        self.failed(f"large payload of member {peer.id}", error)
        try:
            envelope = decode_envelope(message.envelope)
        except UNREADABLE:
            return
        text = f"member {self._carrier.id} could not read the payload: {error}"
        if REPLY <= envelope.kind <= END:
            self.calls.unreadable(peer, envelope.id, RemoteError("payload_lost", text, by=envelope.sender))
        elif SEND <= envelope.kind <= STREAM:
            id_ = envelope.id if envelope.kind != SEND else 0
            try:
                head = pack_envelope(ERROR, "", envelope.to, id_)
                self.sending.send(peer.id, head, encode(["payload_lost", text, None]), DATA)
            except (PeerLost, Overloaded):
                pass  # the sender is gone, or reads nothing

    def writable(self, member: str) -> None:
        """Send what waits for this member: the carrier has room for it again."""
        error = self.sending.flush(member)
        if error is not None:
            self.unsendable(member, error)

    def way_to(self, member: str, put: Put | None) -> None:
        """Send small frames to this member straight through `put` from now on; None: through the carrier again."""
        self.sending.way_to(member, put)

    def unsendable(self, member: str, error: Exception) -> None:
        """Fail what waits for this member, and the calls to it."""
        self.sending.drop(member, error)
        lost = error if isinstance(error, PeerLost) else PeerLost(f"member {member} cannot be reached: {error}", member)
        self.calls.member_lost(member, lost)

    def publishable(self) -> None:
        """Publish what waits: the carrier may have room again."""
        self.publications.flush(self._carrier.publish, lambda: self._carrier.handing_over)

    # --- events ----------------------------------------------------------------------------------------------------
    def gap(self, peer: Peer, first: int, last: int) -> None:
        """Report to subscribers that messages `first` to `last` of `peer` are lost."""
        self.gaps += 1
        self._report(Gap(peer.id, first, last, last - first + 1))

    def evicted(self, writer: str, held_seconds: float) -> None:
        """Report to RELIABLE subscribers that `writer` no longer waits for them."""
        self._report(Evicted(writer, held_seconds), reliable_only=True)

    def writer_gone(self, peer: Peer) -> None:
        """Report to subscribers that `peer`, which had published, has left or died."""
        self._report(WriterGone(peer.id, peer.info.label))

    def _report(self, event: InBand, reliable_only: bool = False) -> None:
        onward = Onward()
        for on_event in self.subscriptions.event_callbacks(reliable_only):
            with onward:
                try:
                    on_event(event)
                except CAUGHT as error:  # reported, never passed to the pump
                    self.failed("on_event of a subscriber", error)
        onward.end()

    def directory_changed(self, changes: Sequence[DirectoryChange]) -> None:
        """Report changes of members and names to watches; end what waits for members that are lost."""
        for change in changes:
            if isinstance(change, MemberLost):
                self._member_lost(change)
            self.watches.notify(change)

    def _member_lost(self, change: MemberLost) -> None:
        info = change.member
        error = PeerLost(f"member {info.id} ({info.label}, pid {info.pid}) is gone: {change.reason}", info.id)
        self.sending.drop(info.id, error)
        self.calls.member_lost(info.id, error)
        self.serving.member_lost(info.id)

    def failed(self, where: str, error: BaseException) -> None:
        """Report an error of a callback or of a broken frame, to `BusOptions.on_error` or the loop's handler."""
        context = {"message": f"bus {self._bus}: {where}: {error}", "exception": error}
        if self._on_error is not None:
            try:
                self._on_error(where, error)
                return
            except CAUGHT as another:  # other callbacks still have to be called
                context["message"] = f"on_error raised {another!r} when it was called for: {context['message']}"
        self._loop.call_exception_handler(context)
