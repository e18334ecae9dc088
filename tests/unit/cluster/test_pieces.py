"""Pieces of large payloads, step by step: order, turns, the window, and what half a payload costs."""

import pytest

from three_mode.cluster.core.frames import (
    AnyFrame,
    CreditFrame,
    DropFrame,
    EndFrame,
    FailFrame,
    PartFrame,
    PieceFrame,
    SealFrame,
    TellFrame,
)
from three_mode.cluster.core.large import LargeFrames
from three_mode.cluster.core.links import FrameNote, Note, PieceNote
from three_mode.cluster.core.pieces import PiecesIn, flow_of

NOTE = FrameNote("tell")
MIB = 1024 * 1024


class Wire:
    """The frames that a node sends, and its large ones."""

    def __init__(self, piece: int = 10, window: int = 1000) -> None:
        self.sent: list[tuple[AnyFrame, Note | None]] = []
        self.large = LargeFrames(lambda now, node, frame, note: self.sent.append((frame, note)))
        self.large.piece, self.large.window = piece, window

    def send(self, frame: AnyFrame) -> None:
        if not self.large.takes(0.0, "b", frame, NOTE):
            self.sent.append((frame, None))

    def acknowledge(self) -> None:
        notes = [note for _, note in self.sent if isinstance(note, PieceNote)]
        self.sent.clear()
        self.large.arrived(0.0, "b", notes)
        self.large.send(0.0)

    @property
    def kinds(self) -> list[str]:
        return [type(frame).__name__ for frame, _ in self.sent]


def tell(payload: bytes, to: str = "scout/0") -> TellFrame:
    return TellFrame(to, 1, "read", "me", "", payload)


def test_a_payload_up_to_a_piece_goes_whole_and_a_longer_one_in_pieces_that_are_put_together() -> None:
    wire, into = Wire(), PiecesIn(1000)
    wire.send(tell(b"0123456789"))
    assert wire.kinds == ["TellFrame"]
    wire.send(tell(b"0123456789a"))
    assert wire.kinds[1:] == ["PieceFrame", "PieceFrame", "SealFrame"]
    for frame, _ in wire.sent[1:]:
        if isinstance(frame, PieceFrame):
            into.piece(frame)
        elif isinstance(frame, SealFrame):
            assert into.seal(frame) == tell(b"0123456789a")
    assert into.incomplete == 0


def test_only_a_window_of_pieces_is_under_way_and_small_frames_pass() -> None:
    wire = Wire(window=30)
    wire.send(tell(bytes(100)))
    wire.send(tell(b"small", "scout/1"))
    wire.send(CreditFrame(1, 1))
    assert wire.kinds == ["PieceFrame"] * 3 + ["TellFrame", "CreditFrame"]
    assert wire.large.under_way == 30
    for _ in range(10):
        wire.acknowledge()
        if wire.kinds[-1:] == ["SealFrame"]:
            break
    wire.acknowledge()
    assert (wire.large.under_way, wire.large.waiting, wire.kinds) == (0, 0, [])


def test_large_payloads_take_turns_and_frames_of_one_flow_keep_their_order() -> None:
    wire = Wire(window=20)
    wire.send(PartFrame(7, 0, bytes(40)))
    wire.send(PartFrame(7, 1, b"x"))
    wire.send(EndFrame(7, 2))
    wire.send(tell(bytes(20)))
    order: list[AnyFrame] = []
    for _ in range(10):
        order += [frame for frame, _ in wire.sent]
        wire.acknowledge()
    ids = [frame.id for frame in order if isinstance(frame, PieceFrame)]
    assert ids == [1, 1, 1, 2, 1, 2] or ids == [1, 1, 2, 1, 2, 1], ids
    of_stream = [frame for frame in order if flow_of(frame) == ("", 7)]
    assert of_stream == [PartFrame(7, 1, b"x"), EndFrame(7, 2)]
    sealed = [place for place, frame in enumerate(order) if isinstance(frame, SealFrame) and frame.id == 1]
    assert order.index(of_stream[0]) > sealed[0]


def test_a_piece_that_is_missing_ends_its_message_alone() -> None:
    wire = Wire(window=20)
    wire.send(tell(bytes(40)))
    wire.send(tell(b"behind"))
    wire.send(tell(bytes(30), "scout/1"))
    missing = wire.sent[0][1]
    assert isinstance(missing, PieceNote)
    wire.sent.clear()
    lost = wire.large.missing(0.0, "b", missing)
    assert lost is not None
    assert lost.note == NOTE
    assert wire.large.missing(0.0, "b", missing) is None
    wire.large.send(0.0)
    assert DropFrame(1) in [frame for frame, _ in wire.sent]
    assert tell(b"behind") in [frame for frame, _ in wire.sent]


def test_half_a_payload_is_bounded_and_what_does_not_follow_ends_it() -> None:
    into = PiecesIn(largest=200 * MIB)
    into.piece(PieceFrame(1, 300 * MIB, 0, b"x"))
    assert into.incomplete == 0
    for number in range(20):
        into.piece(PieceFrame(number, 30 * MIB, 0, b"x"))
    assert into.incomplete == 3  # the largest, and 64 MiB beside it
    into.piece(PieceFrame(0, 30 * MIB, 2, b"x"))
    into.piece(PieceFrame(1, 31 * MIB, 1, b"x"))
    assert into.incomplete == 1
    assert into.seal(SealFrame(2, tell(b""))) is None
    assert into.incomplete == 0
    into.piece(PieceFrame(5, 3, 0, b"xxxx"))
    assert into.incomplete == 0


def test_a_cut_says_what_was_never_sent_and_what_may_have_arrived() -> None:
    wire = Wire(window=30)
    one, two = FrameNote("tell", 0, "scout/0"), FrameNote("tell", 0, "scout/1")
    assert wire.large.takes(0.0, "b", tell(bytes(20)), one)
    assert wire.large.takes(0.0, "b", tell(bytes(90), "scout/1"), two)
    assert wire.large.cut("b") == ([two], [one])
    assert (wire.large.under_way, wire.large.waiting) == (0, 0)


def test_a_long_error_arrives_with_its_text() -> None:
    wire, into = Wire(), PiecesIn(1000)
    error = FailFrame(3, "failed", "x" * 50, {"kind": "ValueError"})
    wire.send(error)
    whole = None
    for frame, _ in wire.sent:
        if isinstance(frame, PieceFrame):
            into.piece(frame)
        elif isinstance(frame, SealFrame):
            whole = into.seal(frame)
    assert whole == error


@pytest.mark.parametrize("size", [0, 10, 11, 100])
def test_waiting_bytes_are_counted_down_to_nothing(size: int) -> None:
    wire = Wire(window=10)
    for number in range(5):
        wire.send(tell(bytes(size), f"scout/{number % 2}"))
    for _ in range(100):
        wire.acknowledge()
    assert (wire.large.under_way, wire.large.waiting) == (0, 0)
