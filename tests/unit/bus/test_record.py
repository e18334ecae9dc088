"""The record under a message: the native one and the one that stands in for it behave alike."""

import gc
import weakref
from typing import Any

import pytest

from transports.bus._ring import Record
from transports.bus.record import PlainRecord


def decode(body: bytes) -> list[bytes]:
    if body == b"broken":
        raise ValueError("no payload")
    return [body]


class Native(Record):
    __slots__ = ()
    decode = staticmethod(decode)

    def _undecodable(self, error: Exception) -> Any:
        raise TypeError("in words") from error


class Plain(PlainRecord):
    __slots__ = ()
    decode = staticmethod(decode)
    _undecodable = Native._undecodable


@pytest.fixture(params=[Native, Plain])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_fields_come_back_and_the_payload_is_decoded_once(kind: Any) -> None:
    record = kind(2, "peer", 7, "route", "topic", b"envelope", b"body")
    assert (record.flags, record.peer, record.seq, record.route) == (2, "peer", 7, "route")
    assert (record.topic, record.envelope, record.body) == ("topic", b"envelope", b"body")
    assert record.payload is record.payload
    assert record.payload == [b"body"]


def test_bytes_are_not_decoded(kind: Any) -> None:
    assert kind(2 | 8, "peer", 1, None, "", b"", b"\xff\xfe").payload == b"\xff\xfe"


def test_what_decoding_raises_reaches_who_looks_each_time(kind: Any) -> None:
    record = kind(2, "peer", 1, None, "", b"", b"broken")
    for _ in range(2):
        with pytest.raises(TypeError, match="in words"):
            _ = record.payload


def test_it_is_made_of_seven_things(kind: Any) -> None:
    with pytest.raises(TypeError):
        kind(2, "peer")
    with pytest.raises(TypeError):
        kind(flags=2)
    with pytest.raises(AttributeError):
        _ = kind(2, "peer", 1, None, "", b"", b"").unheard_of


def test_a_message_kept_by_its_own_handler_is_collected(kind: Any) -> None:
    class Handler:
        kept: Any = None

    handler = Handler()
    gone = weakref.ref(handler)
    handler.kept = kind(2, handler, 1, handler, "", b"", b"body")
    assert handler.kept.payload
    del handler
    gc.collect()
    assert gone() is None
