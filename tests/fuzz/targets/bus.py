"""Messages of the bus: envelopes and payloads, heads over ZeroMQ, references to large payloads, and the registry's.

What a member sends to the registry is also handled by one that has two members: nothing but an error of the bus may
come of it, and what the registry sends to others must be readable.
"""

import math
from collections.abc import Sequence
from typing import Any

from tests.fuzz.pieces import parts
from tests.fuzz.target import Target
from transports.bus.errors import BadFrame, BusError, NotEncodable
from transports.bus.frames import KINDS, decode_payload, encode, encode_payload, pack_envelope, unpack_envelope
from transports.bus.messages import Message
from transports.bus.plain import is_plain
from transports.bus.record import BINARY
from transports.bus.registry import wire
from transports.bus.registry.seats import NoShards, Seat
from transports.bus.registry.state import RegistryState
from transports.bus.rings.large import read_reference
from transports.bus.topics import check_name, check_pattern, check_topic
from transports.bus.zeromq import wire as zeromq

MEMBERS = ("@first", "@other")


def frames(data: bytes) -> None:
    """An envelope and a body, side by side."""
    envelope, body = (*parts(data, 2), b"", b"")[:2]
    try:
        found = unpack_envelope(envelope)
    except BadFrame as error:
        assert str(error)
    else:
        assert found.kind in KINDS
        fields = (found.kind, found.to, found.sender, found.id, found.deadline, found.trace, found.topic, found.count)
        if len(found.topic) <= 1024:
            again = unpack_envelope(pack_envelope(*fields))
            assert again == found or math.isnan(found.deadline)
    for read in (zeromq.unpack, read_reference):
        try:
            value = read(envelope)
        except BadFrame:
            continue
        assert read(encode(value)) == value
    _payload(body)
    _text(envelope)


def _payload(body: bytes) -> None:
    message = Message(0, "w", 1, None, "t", b"", body)
    try:
        value = message.payload
    except BusError:
        return
    assert message.raw == body
    is_plain(value)
    try:
        again = decode_payload(encode_payload(value))
    except NotEncodable:
        return
    assert encode(again) == encode(value)
    assert Message(BINARY, "w", 1, None, "t", b"", body).payload == body


def _text(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    for check in (check_name, check_topic, check_pattern):
        try:
            check(text)
        except BusError as error:
            assert str(error)


class _Registry:
    """A registry of two members on ZeroMQ, whose messages need no descriptors, and what it sends to them."""

    def __init__(self) -> None:
        self.state = RegistryState("b", "zmq", 0, NoShards(), self._send)
        self.seats: list[Seat] = [Seat() for _ in MEMBERS]
        for seat, member in zip(self.seats, MEMBERS, strict=True):
            hello = wire.Hello(wire.PROTOCOL, 0, "b", "zmq", "", 1, {}, id=member, slot=MEMBERS.index(member))
            self.state.handle(seat, hello, ())
        self.state.flush()

    def _send(self, seat: Seat, data: bytes, fds: Sequence[int]) -> None:
        assert len(data) <= 2 * wire.MESSAGE_LIMIT
        for body in wire.bodies(data):
            wire.from_registry(body)


def registry(data: bytes) -> None:
    """Messages of two members and of a stranger to their registry; the first byte of each says whose it is."""
    state = _Registry()
    seats = [*state.seats, Seat()]
    for part in parts(data):
        who, body = part[:1], part[1:]
        if len(body) > wire.MESSAGE_LIMIT or not who:
            continue
        for read in (wire.from_registry, wire.from_member):
            try:
                message: Any = read(body)
            except BadFrame as error:
                assert str(error)
                continue
            assert read(next(wire.bodies(wire.pack(message)))) == message
        place = who[0] % len(seats)
        try:
            state.state.handle(seats[place], wire.from_member(body), ())
        except BusError as error:  # the server drops the connection, and goes on
            assert str(error)
            state.state.gone(seats[place], "it said what it may not")
            seats[place] = Seat()
        if who[0] & 0x80:
            state.state.flush()
    state.state.expire(float("inf"))
    state.state.flush()
    assert not state.state.waits
    for seat in seats:
        if seat.info is not None:
            state.state.gone(seat, "left")
    state.state.flush()
    assert state.state.members == 0


def stream(data: bytes) -> None:
    """Messages behind each other, as they lie in a read of the registry's socket."""
    try:
        found = list(wire.bodies(data))
    except BadFrame:
        return
    assert b"".join(len(body).to_bytes(4, "little") for body in found) == b"".join(
        length for length in _lengths(data, found)
    )


def _lengths(data: bytes, found: Sequence[bytes]) -> list[bytes]:
    at, lengths = 0, []
    for body in found:
        lengths.append(data[at : at + 4])
        at += wire.HEADER.size + len(body)
    assert at == len(data)
    return lengths


TARGETS = (
    Target(name="bus_frames", run=frames),
    Target(name="registry_messages", run=registry, lines=200_000, lines_a_byte=2_000),
    Target(name="registry_stream", run=stream),
)
