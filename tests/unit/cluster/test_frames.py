"""Frames between nodes: what is written is read, and what is no packet of this version is refused by name."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from three_mode.cluster.core import frames
from three_mode.cluster.core.frames import BadPacket, OtherVersion, Packet, encode, read_packet

KINDS = frames.AnyFrame.__args__  # type: ignore[attr-defined]
_text = some.text(max_size=20)
_count = some.integers(0, 2**62)


def _frames() -> some.SearchStrategy[frames.AnyFrame]:
    claims = some.lists(some.builds(frames.Claim, _text, _count, some.booleans()), max_size=3).map(tuple)
    around = some.none() | some.builds(
        frames.Surroundings,
        some.lists(_text, max_size=2).map(tuple),
        some.dictionaries(_text, some.lists(_text, max_size=2).map(tuple), max_size=2),
        some.builds(
            frames.Offer, some.lists(_text, max_size=2).map(tuple), _count, some.lists(_text, max_size=2).map(tuple)
        ),
    )
    return some.one_of(
        some.builds(frames.HeartbeatFrame, _text, _count, _count),
        some.builds(frames.LeaveFrame),
        some.builds(frames.NamesFrame, _count, _count, claims, some.lists(_text, max_size=2).map(tuple), around),
        some.builds(frames.NamesWantedFrame),
        some.builds(frames.NamesPartFrame, _count, _count, _count, claims, around),
        some.builds(frames.TipFrame, _count, _count),
        some.builds(frames.AckFrame, _count, _count, some.lists(some.tuples(_count, _count), max_size=3).map(tuple)),
        some.builds(frames.CastFrame, _count, _text, _text, _text, some.binary()),
        some.builds(frames.TellFrame, _text, _count, _text, _text, _text, some.binary()),
        some.builds(
            frames.AskFrame, _count, _text, _count, _text, _text, _text, some.floats(0, 1e9), _count, some.binary()
        ),
        some.builds(frames.AnswerFrame, _count, some.binary()),
        some.builds(frames.PartFrame, _count, _count, some.binary()),
        some.builds(frames.EndFrame, _count, _count),
        some.builds(frames.FailFrame, _count, _text, _text, some.none() | some.lists(_text)),
        some.builds(frames.CancelFrame, _count),
        some.builds(frames.CreditFrame, _count, _count),
        some.builds(frames.SettleFrame, _count, _count, _text, some.floats(0, 1e9)),
        some.builds(frames.CountFrame, _count, _count, _count, _count, _count, _count),
    )


@given(some.builds(Packet, some.just(frames.VERSION), _text, _text, _count, _count, _frames()))
def test_what_is_written_is_read(packet: Packet) -> None:
    assert read_packet(encode(packet)) == packet


def test_every_kind_of_frame_has_a_number_of_its_own() -> None:
    numbers = [kind.__struct_config__.tag for kind in KINDS]
    assert len(set(numbers)) == len(KINDS)


@given(some.binary(max_size=64))
def test_bytes_of_any_kind_are_read_or_refused(raw: bytes) -> None:
    try:
        read_packet(raw)
    except BadPacket:
        pass


@pytest.mark.parametrize(
    "fields",
    [
        [frames.VERSION, "b", "a", 1, 1, [99]],
        [frames.VERSION, "b", "a", 1, 1, [13, -1, 0]],
        [frames.VERSION, "b", "a", -1, 1, [13, 1, 0]],
        [frames.VERSION, "b", "a", 1, 1, [10, 1, "scout/0", 1, "think", "", "", float("nan"), 0, b""]],
        [frames.VERSION, "b" * 65, "a", 1, 1, [2]],
        [frames.VERSION, "b", "a", 1, 1, [1, "n" * 1025, 0, 0]],
        [frames.VERSION, "b"],
        "text",
    ],
)
def test_a_field_that_does_not_fit_is_refused(fields: object) -> None:
    with pytest.raises(BadPacket, match="no packet of a cluster"):
        read_packet(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("rest", [[], ["a", 1, 1, [1, "x", 0, 0]], [{"a": "later shape"}]])
def test_a_packet_of_another_version_names_its_node(rest: list[object]) -> None:
    with pytest.raises(OtherVersion, match=rf"node b-7 speaks version 9 .* speaks version {frames.VERSION}") as caught:
        read_packet(msgspec.msgpack.encode([9, "b-7", *rest]))
    assert (caught.value.node, caught.value.version) == ("b-7", 9)
    assert caught.value.hint is not None
