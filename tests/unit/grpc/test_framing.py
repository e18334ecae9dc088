"""Messages in a stream of bytes, cut anywhere; and what is refused."""

import gzip
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.grpc import ENCODINGS, GrpcError, GrpcStatus, Unframer, frame, is_grpc


@given(
    messages=st.lists(st.binary(max_size=300), max_size=8),
    cuts=st.lists(st.integers(1, 64), max_size=40),
    encoding=st.sampled_from(ENCODINGS),
)
def test_messages_come_out_as_they_went_in_wherever_the_bytes_are_cut(messages, cuts, encoding):
    data = b"".join(frame(message, encoding) for message in messages)
    unframer, found = Unframer(encoding), []
    for size in cuts:
        found += unframer.feed(data[:size])
        data = data[size:]
    found += unframer.feed(data)
    unframer.end()
    assert found == messages


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for_and_never_another_error(data):
    unframer = Unframer(b"gzip", most=100)
    with suppress(GrpcError):
        for start in range(0, len(data), 7):
            assert all(len(message) <= 100 for message in unframer.feed(data[start : start + 7]))
        unframer.end()


def test_a_message_above_the_limit_is_refused_with_its_prefix():
    with pytest.raises(GrpcError) as caught:
        Unframer(most=10).feed(struct.pack(">BI", 0, 11))
    assert caught.value.status is GrpcStatus.RESOURCE_EXHAUSTED


def test_a_message_that_unpacks_beyond_the_limit_is_refused():
    packed = gzip.compress(b"\0" * (10 << 20))
    with pytest.raises(GrpcError) as caught:
        Unframer(b"gzip", most=1 << 20).feed(struct.pack(">BI", 1, len(packed)) + packed)
    assert caught.value.status is GrpcStatus.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (b"identity", struct.pack(">BI", 2, 1) + b"x"),  # no such flag
        (b"identity", struct.pack(">BI", 1, 1) + b"x"),  # packed, and nothing says how
        (b"gzip", struct.pack(">BI", 1, 4) + b"none"),
        (b"gzip", struct.pack(">BI", 1, 12) + gzip.compress(b"abc")[:12]),  # cut short
        (b"gzip", struct.pack(">BI", 1, 24) + gzip.compress(b"abc", mtime=0) + b"x"),  # more than it says
    ],
)
def test_a_message_that_cannot_be_read_is_internal(encoding, data):
    with pytest.raises(GrpcError) as caught:
        Unframer(encoding).feed(data)
    assert caught.value.status is GrpcStatus.INTERNAL


def test_half_a_message_at_the_end_is_internal():
    unframer = Unframer()
    assert unframer.feed(frame(b"whole") + b"\0\0\0") == [b"whole"]
    with pytest.raises(GrpcError):
        unframer.end()


def test_an_encoding_that_nobody_reads_is_unimplemented():
    with pytest.raises(GrpcError) as caught:
        Unframer(b"snappy")
    assert caught.value.status is GrpcStatus.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"Application/gRPC; charset=utf-8", True),
        (b"application/grpc+json", False),
        (b"application/grpc-web", False),
        (b"application/json", False),
    ],
)
def test_content_types(kind, said):
    assert is_grpc(kind) is said
