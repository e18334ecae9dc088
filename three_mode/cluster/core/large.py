"""Large frames of one node, to and from all others: which go in pieces, and what becomes of them."""

import itertools
from collections.abc import Callable

from three_mode.cluster.core.frames import AnyFrame, AskFrame, DropFrame, FailFrame, PieceFrame, SealFrame
from three_mode.cluster.core.links import FrameNote, Note, PieceNote
from three_mode.cluster.core.pieces import PIECE, WINDOW, LargeMessage, PiecesIn, PiecesOut, Sealed, flow_of, parted

LARGEST = 1024 * 1024 * 1024  # bytes of a payload, where nothing else is said
_BUSY = 8 * 1024 * 1024  # bytes that wait for a node, above which streams wait with large parts
_TOGETHER = 16 * 1024 * 1024  # bytes of pieces to all nodes that may be under way

Number = Callable[[float, str, AnyFrame, Note | None], None]
"""Send a frame on its link: (now, node, frame, note)."""


class LargeFrames:
    """Both directions of large frames."""

    def __init__(self, number: Number) -> None:
        self.piece = PIECE
        """Bytes of a piece at most: fewer where the server takes fewer."""
        self.window = WINDOW
        """Bytes of pieces to one node that may be under way."""
        self.largest = LARGEST
        """Bytes of the largest payload that is taken from another node."""
        self._number = number
        self._ids = itertools.count(1)
        self._out: dict[str, PiecesOut] = {}
        self._in: dict[str, PiecesIn] = {}

    # of this node -----------------------------------------------------------------------------------------------------
    def crowded(self, node: str, size: int) -> bool:
        """Return whether too much waits for a node already to send it a payload of this size."""
        out = self._out.get(node)
        return out is not None and size > self.piece and out.crowded(size)

    def busy(self, node: str, size: int) -> bool:
        """Return whether a stream should wait before it sends a large part to a node."""
        out = self._out.get(node)
        return out is not None and size > self.piece and out.waiting > _BUSY

    def takes(self, now: float, node: str, frame: AnyFrame, note: Note | None) -> bool:
        """Take a frame that goes in pieces, or that has to wait behind one; False: it is sent as it is."""
        out = self._out.get(node)
        if out is None and type(frame) is not FailFrame and len(getattr(frame, "payload", b"")) <= self.piece:
            return False
        flow = flow_of(frame)
        if flow is None:
            return False
        cut = parted(frame, self.piece)
        if cut is None:
            if out is None or not out.holds(flow):
                return False
            out.wait(flow, frame, note)
            return True
        if out is None:
            out = self._out[node] = PiecesOut(self._ids)
        if note is None:  # of an error, which a smaller one stands for if it is missing
            assert isinstance(frame, FailFrame)
            note = FrameNote("answer", frame.id)
        out.add(now, flow, *cut, note)
        self._send_from(now, node, out)
        return True

    def send(self, now: float) -> None:
        """Send as many pieces as may be under way, to each node in turn."""
        for node, out in list(self._out.items()):
            self._send_from(now, node, out)
            if out.idle:
                del self._out[node]

    def _send_from(self, now: float, node: str, out: PiecesOut) -> None:
        while out.ready or self.under_way < _TOGETHER:
            ready = out.take(now, self.piece, self.window)
            if ready is None:
                return
            self._number(now, node, *ready)

    @property
    def under_way(self) -> int:
        """Bytes of pieces to all nodes that are not acknowledged."""
        return sum(out.under_way for out in self._out.values())

    @property
    def waiting(self) -> int:
        """Bytes of payloads to all nodes that are not sent to their end."""
        return sum(out.waiting for out in self._out.values())

    def stalled(self, now: float, node: str, pause: float) -> bool:
        """Return whether pieces to a node have not been acknowledged for so long that it has to be asked."""
        out = self._out.get(node)
        if out is None or not out.under_way or now - out.heard < pause:
            return False
        out.heard = now
        return True

    def arrived(self, now: float, node: str, notes: list[PieceNote]) -> None:
        """Take the notes of pieces that have arrived: there is room for more."""
        out = self._out.get(node)
        if out is not None:
            out.arrived(now, notes)

    def missing(self, now: float, node: str, note: PieceNote) -> LargeMessage | None:
        """Take the note of a piece that is missing; return its message if it is missing with it from now on."""
        out = self._out.get(node)
        large = out.missing(note) if out is not None else None
        if large is not None:
            self._number(now, node, DropFrame(large.id), DropFrame(large.id))
        return large

    def drop_call(self, now: float, node: str, id_: int) -> bool:
        """Take a call of this node out that has not been sent to its end; return whether it was there."""
        return self._drop(now, node, None, lambda frame: type(frame) is AskFrame and frame.id == id_)

    def drop_answer(self, now: float, node: str, id_: int) -> None:
        """Take out what answers a call of another node, which waits for it no longer."""
        self._drop(now, node, ("", id_), lambda frame: True)

    def _drop(self, now: float, node: str, flow: tuple[str, int] | None, unwanted: Callable[[AnyFrame], bool]) -> bool:
        out = self._out.get(node)
        if out is None:
            return False
        begun, found = out.drop(flow, unwanted)
        for id_ in begun:
            self._number(now, node, DropFrame(id_), DropFrame(id_))
        return found

    def cut(self, node: str) -> tuple[list[Note], list[Note]]:
        """Begin anew with a node: return what was not sent to its end, and what may have arrived."""
        out, into = self._out.pop(node, None), self._in.pop(node, None)
        if into is not None:
            into.clear()
        return out.cut() if out is not None else ([], [])

    # of other nodes ---------------------------------------------------------------------------------------------------
    def comes(self, node: str, frame: PieceFrame | SealFrame | DropFrame) -> Sealed | None:
        """Take a piece, a seal, or a drop; return a message that is whole with it."""
        into = self._in.get(node)
        if into is None:
            into = self._in[node] = PiecesIn(self.largest)
        if isinstance(frame, PieceFrame):
            into.piece(frame)
        elif isinstance(frame, SealFrame):
            return into.seal(frame)
        else:
            into.drop(frame.id)
        return None

    def begin_anew(self, node: str) -> None:
        """Forget the pieces that came on the link before."""
        self._in.pop(node, None)

    @property
    def incomplete(self) -> int:
        """Payloads of other nodes of which some pieces have come."""
        return sum(into.incomplete for into in self._in.values())
