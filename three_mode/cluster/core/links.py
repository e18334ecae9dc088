"""Links: frames from one node to another, counted at both ends, so that what is missing is known by its number.

The sender numbers frames and keeps a note of each until the receiver has acknowledged it. The receiver takes frames in
order: a number that is skipped is missing for good, and its frame is dropped if it comes late; a number that came
before is a duplicate. While notes are left and nothing else is sent, the sender asks with a tip: "the last was 41". So
each frame ends in one of three ways: it arrived once, it is missing and both ends know, or the link was cut and nobody
can know.

A link that was cut begins anew, with a later `link` number and frame 1; frames of the link before are dropped. So does
one to a node that was forgotten meanwhile: that node may remember the link before.
"""

import msgspec

from three_mode.cluster.core.frames import AckFrame, Frame, TipFrame

UNACKED = 65536  # frames that may be under way on one link
ACK_EVERY = 64  # frames after which the receiver acknowledges without being asked
_RANGES = 256  # ranges of missing frames that a receiver reports at once

Range = tuple[int, int]


class FrameNote(msgspec.Struct, frozen=True, gc=False):
    """Note of a frame that is not sent again, since its payload is not kept."""

    kind: str
    """tell, ask, answer, or part."""
    id: int = 0
    """Id of its call."""
    to: str = ""
    topic: str = ""
    sender: str = ""


class PieceNote(msgspec.Struct, frozen=True, gc=False):
    """Note of one piece of a large payload, or of its seal."""

    id: int
    size: int
    """Bytes of the piece; 0 of the seal."""


Note = Frame | FrameNote | PieceNote
"""What is kept of a frame until it is acknowledged: a note, or a frame that is sent again if it is missing."""


class LinkOut:
    """The sending end of a link."""

    __slots__ = ("arrived", "floor", "last", "link", "notes", "spoke", "unsure")

    def __init__(self, link: int = 1) -> None:
        self.link, self.last, self.floor = link, 0, 0
        self.notes: dict[int, Note] = {}
        self.arrived: list[PieceNote] = []
        """Pieces that the last acknowledgement was for."""
        self.unsure = link > 1
        """Whether the link began anew, and the other end may not know."""
        self.spoke = 0.0
        """When the last frame or tip was sent."""

    @property
    def full(self) -> bool:
        """Whether no more frames may be sent before older ones are acknowledged."""
        return len(self.notes) >= UNACKED

    def number(self, now: float, note: Note) -> int:
        """Number a frame and keep a note of it."""
        self.last += 1
        self.notes[self.last] = note
        self.spoke = now
        return self.last

    def asks(self, now: float, pause: float) -> bool:
        """Return whether it is time to ask what is missing."""
        return (bool(self.notes) or self.unsure) and now - self.spoke >= pause

    def tip(self, now: float) -> TipFrame:
        """Return the question for what is missing."""
        self.spoke = now
        return TipFrame(self.last, self.floor)

    def acked(self, ack: AckFrame) -> list[Note]:
        """Take an acknowledgement; return the notes of the frames that are missing."""
        self.arrived = []
        if ack.link == self.link:
            self.unsure = False
        if ack.link != self.link or ack.last <= self.floor or ack.last > self.last:
            return []
        notes = self.notes
        missing: list[Note] = []
        for first, last in ack.missing:
            numbers = range(max(first, self.floor + 1), min(last, ack.last) + 1)
            missing += [note for number in numbers if (note := notes.pop(number, None)) is not None]
        for number in range(self.floor + 1, ack.last + 1):
            note = notes.pop(number, None)
            if type(note) is PieceNote:
                self.arrived.append(note)
        self.floor = ack.last
        return missing

    def cut(self) -> list[Note]:
        """Begin anew; return the notes of frames of which nobody can know whether they arrived."""
        notes = list(self.notes.values())
        self.link, self.last, self.floor, self.unsure = self.link + 1, 0, 0, True
        self.notes.clear()
        return notes


class LinkIn:
    """The receiving end of a link."""

    __slots__ = ("last", "link", "missing", "owed")

    def __init__(self) -> None:
        self.link = self.last = self.owed = 0
        self.missing: list[Range] = []

    def follows(self, link: int) -> bool:
        """Take the number of the link; return whether its sender began anew, and what it had asked before is void."""
        if link <= self.link:
            return False
        anew = self.link > 0
        self.link, self.last, self.owed = link, 0, 0
        self.missing.clear()
        return anew

    def takes(self, number: int) -> tuple[bool, Range | None]:
        """Return whether the frame of this number is taken, and the frames before it that are missing from now on."""
        if number <= self.last or len(self.missing) >= _RANGES:
            return False, None  # a duplicate; or as if it were lost on the way: a later range has it
        gap = (self.last + 1, number - 1) if number > self.last + 1 else None
        if gap is not None:
            self.missing.append(gap)
        self.last = number
        self.owed += 1
        return True, gap

    def refuse(self) -> None:
        """Count the frame that was taken last as missing: it was for nobody here."""
        self.missing.append((self.last, self.last))

    def tip(self, tip: TipFrame) -> Range | None:
        """Take the sender's question; return the frames that are missing from now on."""
        self.missing = [found for found in self.missing if found[1] > tip.floor]
        if tip.last <= self.last or len(self.missing) >= _RANGES:
            return None
        gap = (self.last + 1, tip.last)
        self.missing.append(gap)
        self.last = tip.last
        return gap

    def ack(self) -> AckFrame:
        """Return the acknowledgement of all that was taken."""
        self.owed = 0
        return AckFrame(self.link, self.last, tuple(self.missing))
