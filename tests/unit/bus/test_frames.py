"""The envelope and the payload: any value round-trips, any garbage is a BadFrame and nothing else."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.bus.carrier import Peer
from transports.bus.errors import BadFrame, NotEncodable
from transports.bus.events import MemberInfo
from transports.bus.frames import VERSION, Encoded, Kind, encode_payload, pack_envelope, unpack_envelope
from transports.bus.messages import Message, decode_body
from transports.bus.registry import wire
from transports.bus.rings.large import read_reference
from transports.bus.topics import matches

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts | st.binary()
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5))


@given(values)
def test_any_value_comes_back_and_is_msgpack_to_others(value: Any) -> None:
    raw = encode_payload(value)
    assert decode_body(raw) == value
    assert msgpack.unpackb(raw, strict_map_key=False) == value
    assert encode_payload(Encoded(raw)) is raw
    assert Message(2, Peer(MemberInfo("@a", "", 1, 0)), 1, None, "t", b"", raw).payload == value


@given(
    st.sampled_from(Kind),
    texts,
    texts,
    st.integers(0, 2**63),
    st.floats(allow_nan=False),
    texts,
    texts,
    st.integers(0, 2**31),
)
def test_any_envelope_comes_back(
    kind: Kind, to: str, sender: str, id_: int, deadline: float, trace: str, topic: str, count: int
) -> None:
    raw = pack_envelope(kind, to, sender, id_, deadline, trace, topic, count)
    envelope = unpack_envelope(raw)
    assert (envelope.kind, envelope.to, envelope.sender, envelope.id) == (kind, to, sender, id_)
    assert (envelope.deadline, envelope.trace, envelope.topic, envelope.count) == (
        deadline,
        trace,
        topic,
        count,
    )
    assert msgpack.unpackb(raw) == [VERSION, kind, to, sender, id_, deadline, trace, topic, count]


@given(st.binary(max_size=200))
def test_garbage_is_a_bad_frame(raw: bytes) -> None:
    for parse in (unpack_envelope, read_reference, wire.from_member, wire.from_registry):
        try:
            parse(raw)
        except BadFrame:
            pass
    try:
        decode_body(raw)
    except BadFrame:
        pass


@given(st.integers(0, 60), st.integers(0, 255))
def test_every_flipped_byte_of_an_envelope_is_survived(place: int, value: int) -> None:
    raw = bytearray(pack_envelope(Kind.ASK, "scout/7", "@ab12cd34", 77, 1234.5, "trace", "score", 3))
    raw[place % len(raw)] = value
    try:
        unpack_envelope(bytes(raw))
    except BadFrame:
        pass


def test_wrong_version_and_kind_are_named() -> None:
    with pytest.raises(BadFrame, match="version 9"):
        unpack_envelope(msgpack.packb([9, 1, "", "", 0, 0.0, "", "", 0]))
    with pytest.raises(BadFrame, match="kind 77"):
        unpack_envelope(msgpack.packb([VERSION, 77, "", "", 0, 0.0, "", "", 0]))


@pytest.mark.parametrize("value", [object(), {1: object()}, 1 << 70, "\ud800", lambda: 0])
def test_what_msgpack_cannot_say_is_named(value: Any) -> None:
    with pytest.raises(NotEncodable, match="cannot be sent"):
        encode_payload(value)


def test_deep_nesting_is_refused_not_a_crash() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(NotEncodable):
        encode_payload(value)
    with pytest.raises(BadFrame):
        decode_body(b"\x91" * 100_000 + b"\xc0")


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a.b", True),
        ("a.>", "a", False),
        (">", "x", True),
        ("*.b", "a.b", True),
        ("*.b", "a.c", False),
        ("a.*.c", "a.b.c", True),
        ("a.*.>", "a.b.c.d", True),
        ("a.*.>", "a.b", False),
    ],
)
def test_patterns(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected
