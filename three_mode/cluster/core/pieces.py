"""Pieces: payloads that are too large for one message, cut by the sender and put together by the receiver.

    PieceFrame PieceFrame ... SealFrame        DropFrame: no more of it comes

Each is a counted frame of its link, so a piece that is missing is known as any frame is; then the whole message is
missing. The seal has the frame itself, without its payload.

Several messages are sent at once, a piece of each in turn, and small frames pass them all. Frames of one flow (from one
sender to one agent, or of one stream) keep their order: they wait behind a large one of their flow. So many bytes of
pieces may be under way; acknowledgements make room for more.
"""

from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from three_mode.cluster.core.frames import (
    AnswerFrame,
    AnyFrame,
    AskFrame,
    CastFrame,
    EndFrame,
    FailFrame,
    PartFrame,
    PieceFrame,
    SealFrame,
    TellFrame,
    encode,
)
from three_mode.cluster.core.links import Note, PieceNote

PIECE = 256 * 1024  # bytes of a piece at most; payloads up to this size are not cut
WINDOW = 8 * PIECE  # bytes of pieces to one node that may be under way
WAITING = 256 * 1024 * 1024  # bytes of payloads that may wait for one node, besides the first
_BESIDE = 64 * 1024 * 1024  # bytes of payloads that are sent to a node at once, besides the largest
_AT_ONCE = 8  # payloads that are sent to a node at once
_LOOK = 16  # payloads that wait, among which one is looked for that may begin

Flow = tuple[str, str | int | None]
"""What keeps its order: messages from a sender to an agent, what answers a call, broadcasts of a sender."""
Sealed = TellFrame | AskFrame | AnswerFrame | PartFrame | FailFrame | CastFrame
Ready = tuple[AnyFrame, Note | None]


class TextAndDetail(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is large in a FailFrame."""

    text: str
    detail: object


_read_failure = msgspec.msgpack.Decoder(TextAndDetail).decode


def flow_of(frame: AnyFrame) -> Flow | None:
    """Return the flow of a frame; None for one that may pass all others."""
    match frame:
        case TellFrame() | AskFrame():
            return frame.sender, frame.to
        case AnswerFrame() | PartFrame() | EndFrame() | FailFrame():
            return "", frame.id
        case CastFrame():
            return frame.sender, None
    return None


def parted(frame: AnyFrame, most: int) -> tuple[Sealed, bytes] | None:
    """Return a frame without its payload, and the payload; None where it has at most `most` bytes."""
    match frame:
        case TellFrame() | AskFrame() | AnswerFrame() | PartFrame() | CastFrame():
            if len(frame.payload) > most:
                return msgspec.structs.replace(frame, payload=b""), frame.payload
        case FailFrame():
            payload = encode(TextAndDetail(frame.text, frame.detail))
            if len(payload) > most:
                return FailFrame(frame.id, frame.code, ""), payload
    return None


def whole(frame: Sealed, payload: bytes) -> Sealed | None:
    """Return a frame with its payload; None where that is none."""
    if not isinstance(frame, FailFrame):
        return msgspec.structs.replace(frame, payload=payload)
    try:
        failure = _read_failure(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return FailFrame(frame.id, frame.code, failure.text, failure.detail)


def _fits(sizes: list[int], size: int) -> bool:
    """Return whether a payload may be sent beside others: both ends have the same bound of memory."""
    together = [*sizes, size]
    return len(together) <= _AT_ONCE and sum(together) - max(together) <= _BESIDE


class LargeMessage:
    """A frame whose payload goes in pieces."""

    __slots__ = ("at", "ends", "frame", "id", "note", "payload", "place")

    def __init__(self, id: int, frame: Sealed, payload: bytes, note: Note, ends: float) -> None:  # noqa: A002
        self.id, self.frame, self.payload, self.note, self.ends = id, frame, payload, note, ends
        self.at = self.place = 0
        """Bytes and pieces that were sent."""

    def seal(self, now: float) -> SealFrame:
        """Return the seal. What remains of a call's time is less than it was."""
        frame = self.frame
        if type(frame) is AskFrame:
            frame = msgspec.structs.replace(frame, within=max(0.0, self.ends - now))
        return SealFrame(self.id, frame)


class PiecesOut:
    """The sending end: large messages to one node, and the frames that wait behind them."""

    __slots__ = ("_begun", "_flows", "_ids", "_open", "_ready", "_waits", "heard", "under_way", "waiting")

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self.under_way = 0
        """Bytes of pieces that are not acknowledged."""
        self.waiting = 0
        """Bytes of payloads that are not sent to their end."""
        self.heard = 0.0
        """When a piece was last acknowledged, or sent where none was under way."""
        self._flows: dict[Flow, deque[LargeMessage | Ready]] = {}  # the first of each is large, and not sealed
        self._begun: deque[Flow] = deque()  # those whose first is being sent
        self._waits: deque[Flow] = deque()  # those whose first has not begun
        self._open: dict[int, LargeMessage] = {}  # begun, and neither acknowledged nor missing
        self._ready: deque[Ready] = deque()

    @property
    def idle(self) -> bool:
        """Whether nothing is being sent or under way, and nothing waits."""
        return not (self._flows or self._open or self._ready or self.under_way)

    @property
    def ready(self) -> bool:
        """Whether a frame may be sent at once, however much is under way."""
        return bool(self._ready)

    def holds(self, flow: Flow | None) -> bool:
        """Return whether a frame of this flow has to wait."""
        return flow in self._flows

    def crowded(self, size: int) -> bool:
        """Return whether too much waits already for a payload of this size."""
        return self.waiting > 0 and self.waiting + size > WAITING

    def wait(self, flow: Flow, frame: AnyFrame, note: Note | None) -> None:
        """Let a small frame wait behind a large one of its flow."""
        self._flows[flow].append((frame, note))

    def add(self, now: float, flow: Flow, frame: Sealed, payload: bytes, note: Note) -> None:
        """Take a large message."""
        self.waiting += len(payload)
        ends = now + frame.within if type(frame) is AskFrame else 0.0
        large = LargeMessage(next(self._ids), frame, payload, note, ends)
        queue = self._flows.get(flow)
        if queue is None:
            self._flows[flow] = deque([large])
            self._waits.append(flow)
        else:
            queue.append(large)

    # sending ----------------------------------------------------------------------------------------------------------
    def take(self, now: float, size: int, window: int) -> Ready | None:
        """Return the next frame to send; None where none may be sent now.

        `size`: bytes of a piece at most. `window`: bytes of pieces that may be under way.
        """
        if not self._ready:
            self._begin()
            if not self._begun or self.under_way >= window:
                return None
            self._cut_piece(now, size)
        return self._ready.popleft()

    def _begin(self) -> None:
        sizes = [len(large.payload) for large in self._open.values()]
        for flow in [self._waits[place] for place in range(min(_LOOK, len(self._waits)))]:
            if len(sizes) >= _AT_ONCE:
                return
            first = self._first(flow)
            if _fits(sizes, len(first.payload)):
                sizes.append(len(first.payload))
                self._waits.remove(flow)
                self._begun.append(flow)
                self._open[first.id] = first

    def _first(self, flow: Flow) -> LargeMessage:
        first = self._flows[flow][0]
        assert isinstance(first, LargeMessage)
        return first

    def _cut_piece(self, now: float, size: int) -> None:
        flow = self._begun[0]
        self._begun.rotate(-1)
        large = self._first(flow)
        piece = large.payload[large.at : large.at + size]
        frame = PieceFrame(large.id, len(large.payload), large.place, piece)
        large.at += len(piece)
        large.place += 1
        if not self.under_way:
            self.heard = now
        self.under_way += len(piece)
        self._ready.append((frame, PieceNote(large.id, len(piece))))
        if large.at >= len(large.payload):
            self._ready.append((large.seal(now), PieceNote(large.id, 0)))
            self._go_on(flow)

    def _go_on(self, flow: Flow) -> None:
        """Let what waits behind the first message of a flow follow it."""
        queue = self._flows[flow]
        first = queue.popleft()
        assert isinstance(first, LargeMessage)
        self.waiting -= len(first.payload)
        if flow in self._begun:
            self._begun.remove(flow)
        else:
            self._waits.remove(flow)
        while queue and not isinstance(queue[0], LargeMessage):
            self._ready.append(queue.popleft())  # type: ignore[arg-type]  # it is no LargeMessage
        if queue:
            self._waits.append(flow)
        else:
            del self._flows[flow]

    # what became of it ------------------------------------------------------------------------------------------------
    def arrived(self, now: float, notes: list[PieceNote]) -> list[LargeMessage]:
        """Take the notes of pieces that have arrived; return the messages that have arrived whole."""
        done = []
        for note in notes:
            self.under_way -= note.size
            self.heard = now
            if not note.size and (large := self._open.pop(note.id, None)) is not None:
                done.append(large)
        return done

    def missing(self, note: PieceNote) -> LargeMessage | None:
        """Take the note of a piece that is missing; return its message, once, which is missing with it."""
        self.under_way -= note.size
        large = self._open.pop(note.id, None)
        if large is not None:
            self._forget(large)
        return large

    def _forget(self, large: LargeMessage) -> None:
        for flow in self._begun:
            if self._flows[flow][0] is large:
                self._go_on(flow)
                return

    def drop(self, flow: Flow | None, unwanted: Callable[[AnyFrame], bool]) -> tuple[list[int], bool]:
        """Take out messages of a flow, or of any, that nobody wants and that are not sent to their end.

        Return the ids of those of which pieces were sent, and whether any was taken out.
        """
        begun, found = list[int](), False
        for one in [flow] if flow is not None else list(self._flows):
            queue = self._flows.get(one)
            if queue is None:
                continue
            first, kept = queue[0], deque[LargeMessage | Ready]()
            for item in queue:
                if not unwanted(item.frame if isinstance(item, LargeMessage) else item[0]):
                    kept.append(item)
                    continue
                found = True
                if isinstance(item, LargeMessage) and item is not first:
                    self.waiting -= len(item.payload)
            if not kept or kept[0] is not first:
                assert isinstance(first, LargeMessage)
                if self._open.pop(first.id, None) is not None:
                    begun.append(first.id)
                self._flows[one] = deque([first, *kept])
                self._go_on(one)
            else:
                self._flows[one] = kept
        return begun, found

    def cut(self) -> tuple[list[Note], list[Note]]:
        """Begin anew; return the notes of messages that were not sent to their end, and of those of which nobody knows
        whether they arrived."""
        unsent: list[Note] = []
        for queue in self._flows.values():
            for item in queue:
                note = item.note if isinstance(item, LargeMessage) else item[1]
                if note is not None:
                    unsent.append(note)
                if isinstance(item, LargeMessage):
                    self._open.pop(item.id, None)
        unsent += [note for _, note in self._ready if note is not None and not isinstance(note, PieceNote)]
        unsure = [large.note for large in self._open.values()]
        for table in (self._flows, self._begun, self._waits, self._open, self._ready):
            table.clear()
        self.under_way = self.waiting = 0
        return unsent, unsure


class Assembly:
    """A payload that is being put together."""

    __slots__ = ("came", "pieces", "size")

    def __init__(self, size: int) -> None:
        self.size, self.came = size, 0
        self.pieces: list[bytes] = []


class PiecesIn:
    """The receiving end: large messages of one node that have not come to their end."""

    __slots__ = ("_largest", "_open")

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._open: dict[int, Assembly] = {}

    @property
    def incomplete(self) -> int:
        """Payloads of which some pieces have come."""
        return len(self._open)

    def piece(self, frame: PieceFrame) -> None:
        """Take a piece. One that does not follow what came before ends its message."""
        sizes = [one.size for one in self._open.values()]
        if frame.place == 0 and frame.id not in self._open and frame.size <= self._largest and _fits(sizes, frame.size):
            self._open[frame.id] = Assembly(frame.size)
        one = self._open.get(frame.id)
        if one is None:
            return
        one.came += len(frame.piece)
        if frame.place != len(one.pieces) or frame.size != one.size or one.came > one.size or not frame.piece:
            del self._open[frame.id]
            return
        one.pieces.append(frame.piece)

    def seal(self, frame: SealFrame) -> Sealed | None:
        """Return the message; None where a piece of it is missing, or was not taken."""
        one = self._open.pop(frame.id, None)
        if one is None or one.came != one.size:
            return None
        return whole(frame.frame, b"".join(one.pieces))

    def drop(self, id_: int) -> None:
        """Forget a message: no more of it comes."""
        self._open.pop(id_, None)

    def clear(self) -> None:
        """Forget all."""
        self._open.clear()
