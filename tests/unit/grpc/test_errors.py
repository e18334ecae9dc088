"""Each error of the tree as the status of a call, and back to the same class."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode import errors
from three_mode.errors import ThreeModeError
from three_mode.grpc_messages import status_pb2
from three_mode.grpc_messages.errors import read_error, status_of, write_error
from transports.grpc import GrpcStatus, write_binary, write_message

KINDS = [getattr(errors, name) for name in errors.__all__ if name != "StreamInterrupted"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_comes_back_as_its_class(kind):
    error = kind("it went wrong", hint="try this", retry_after=1.5)
    ended = write_error(error)
    assert ended.status is status_of(error)
    back = read_error(ended.status, ended.message, ended.details)
    assert type(back) is kind
    assert (back.message, back.hint) == ("it went wrong", "try this")
    assert (back.retryable, back.retry_after) == (error.retryable, 1.5)


def test_fields_come_back():
    error = errors.DeadlineExceeded("late", stage="first token", provider="openai", model="m")
    back = read_error(*_ended(error))
    assert (back.stage, back.provider, back.model) == ("first token", "openai", "m")
    wrong = errors.InvalidRequest("no", field="messages[1].content")
    assert read_error(*_ended(wrong)).field == "messages[1].content"


def _ended(error):
    ended = write_error(error)
    return ended.status, ended.message, ended.details


def test_what_is_for_the_operator_stays():
    error = errors.HandlerFailed("boom", traceback="secret line", where="scouts.py:12")
    assert b"secret line" not in write_error(error).details
    refused = errors.AuthenticationError("the key sk-1 is wrong", code="x", request_id="r1", provider="openai")
    ended = write_error(refused, "the provider refused this endpoint's key")
    assert b"sk-1" not in ended.details
    assert b"r1" not in ended.details
    assert ended.status is GrpcStatus.INTERNAL  # not the client's key
    assert type(read_error(ended.status, ended.message, ended.details)) is errors.AuthenticationError


def test_other_clients_read_the_reason_and_the_wait():
    ended = write_error(errors.RateLimit("slow down", retry_after=2.25, model="m"))
    status = status_pb2.Status.FromString(ended.details)
    assert (status.code, status.message) == (GrpcStatus.RESOURCE_EXHAUSTED, "slow down")
    info = status_pb2.ErrorInfo.FromString(status.details[0].value)
    assert (info.reason, info.domain, info.metadata["model"]) == ("RATE_LIMIT", "three-mode", "m")
    wait = status_pb2.RetryInfo.FromString(status.details[1].value).retry_delay
    assert (wait.seconds, wait.nanos) == (2, 250_000_000)


@pytest.mark.parametrize("status", list(GrpcStatus)[1:])
def test_a_status_without_our_detail_is_an_error_of_the_tree(status):
    assert isinstance(read_error(status, "no"), ThreeModeError)
    assert "no" in str(read_error(status, "no"))


@given(st.sampled_from(list(GrpcStatus)[1:]), st.text(max_size=20), st.binary(max_size=60))
def test_garbage_in_the_details_is_still_an_error_of_the_tree(status, message, details):
    assert isinstance(read_error(status, message, details), ThreeModeError)


@given(st.text(max_size=5000), st.text(max_size=5000))
def test_the_trailers_of_an_error_stay_small(message, hint):
    ended = write_error(errors.InvalidRequest(message, hint=hint, field="x" * 1000))
    assert len(write_message(ended.message)) + len(write_binary(ended.details)) < 8_000
