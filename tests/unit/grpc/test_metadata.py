"""Deadlines, texts, bytes and codes, as headers say them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.grpc import (
    GrpcError,
    GrpcStatus,
    read_binary,
    read_message,
    read_timeout,
    status_of_http,
    write_binary,
    write_message,
    write_timeout,
)


@given(st.floats(1e-6, 3e11))
def test_a_time_is_never_shorter_than_it_was_and_hardly_longer(seconds):
    written = write_timeout(seconds)
    assert len(written) <= 9
    assert seconds * 0.999999 <= read_timeout(written) <= max(seconds * 1.0001 + 1e-6, seconds + 3600 * (seconds > 1e8))


def test_the_longest_time_is_one_that_can_be_read():
    assert read_timeout(write_timeout(float("inf"))) > 3e11


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"1S", 1), (b"250m", 0.25), (b"2H", 7200), (b"3M", 180), (b"5u", 5e-6)]
)
def test_times_of_others_are_read(value, seconds):
    assert read_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"-1S", b"123456789S", b"1 S", b"1s", b"1.5S"])
def test_what_is_no_time_is_an_error(value):
    with pytest.raises(GrpcError) as caught:
        read_timeout(value)
    assert caught.value.status is GrpcStatus.INVALID_ARGUMENT


@given(st.text())
def test_a_text_comes_back_and_its_value_is_printable_ascii(text):
    value = write_message(text)
    assert all(32 <= byte < 127 for byte in value)
    assert read_message(value) == text.encode("utf-8", "replace").decode()


def test_a_text_that_is_badly_written_is_still_read():
    assert read_message(b"100% of %zz %e2%82") == "100% of %zz \N{REPLACEMENT CHARACTER}"


@given(st.binary())
def test_bytes_come_back_with_padding_or_without(data):
    value = write_binary(data)
    assert not value.endswith(b"=")
    assert read_binary(value) == data
    assert read_binary(value + b"=" * (-len(value) % 4)) == data


@pytest.mark.parametrize("value", [b"a", b"a*bc"])
def test_what_is_no_base64_is_a_value_error(value):
    with pytest.raises(ValueError, match="base64"):
        read_binary(value)


def test_codes():
    assert GrpcStatus.read(b"14") is GrpcStatus.UNAVAILABLE
    assert GrpcStatus.read(b"99") is GrpcStatus.UNKNOWN
    assert GrpcStatus.read(b"x") is GrpcStatus.UNKNOWN
    assert status_of_http(404) is GrpcStatus.UNIMPLEMENTED
    assert status_of_http(418) is GrpcStatus.UNKNOWN
