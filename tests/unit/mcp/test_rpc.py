"""Messages of JSON-RPC: what is read, what is refused, and that nothing else comes of any bytes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.mcp.rpc import (
    INVALID_REQUEST,
    PARSE_ERROR,
    RpcAnswer,
    RpcFailure,
    RpcNotification,
    RpcRequest,
    read_message,
    write_failure,
    write_notification,
    write_request,
    write_result,
)

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("jsonrpc", "id", "method", "params", "result", "error"), ANY)
)


def test_each_kind_of_message_is_read() -> None:
    assert read_message(write_request("a", "ping", {"x": 1})) == RpcRequest("a", "ping", {"x": 1})
    assert read_message(write_notification("n")) == RpcNotification("n", {})
    assert read_message(write_notification("n", {"x": 1})) == RpcNotification("n", {"x": 1})
    assert read_message(write_result(3, {"x": 1})) == RpcAnswer(3, {"x": 1})
    failed = read_message(write_failure(RpcFailure(-5, "no", [1]), 3))
    assert isinstance(failed, RpcAnswer)
    assert failed.id == 3
    assert failed.failure is not None
    assert (failed.failure.code, failed.failure.message, failed.failure.data) == (-5, "no", [1])


def test_params_may_be_missing_or_null() -> None:
    for params in ("", ', "params": null'):
        assert read_message(f'{{"jsonrpc":"2.0","id":1,"method":"m"{params}}}'.encode()) == RpcRequest(1, "m", {})


@pytest.mark.parametrize(
    ("data", "code", "number"),
    [
        (b"", PARSE_ERROR, None),
        (b"{", PARSE_ERROR, None),
        (b"\xff", PARSE_ERROR, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m"}{}', PARSE_ERROR, None),
        (b"[]", INVALID_REQUEST, None),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":[1]}', INVALID_REQUEST, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":null}', INVALID_REQUEST, 7),
        (b'{"jsonrpc":"2.0","id":[7],"method":"m"}', INVALID_REQUEST, None),
        (b'{"jsonrpc":"1.0","id":7,"method":"m"}', INVALID_REQUEST, 7),
        (b'{"id":7,"method":"m"}', INVALID_REQUEST, 7),
        (b'{"jsonrpc":"2.0","id":7}', INVALID_REQUEST, 7),
        (b'{"jsonrpc":"2.0","id":7,"result":{},"error":{}}', INVALID_REQUEST, 7),
        (b'{"jsonrpc":"2.0","result":{}}', INVALID_REQUEST, None),
    ],
)
def test_what_is_no_message_is_refused_with_its_id(data: bytes, code: int, number: int | None) -> None:
    with pytest.raises(RpcFailure) as caught:
        read_message(data)
    assert (caught.value.code, caught.value.id) == (code, number)
    assert json.loads(write_failure(caught.value))["id"] == number


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        read_message(data)
    except RpcFailure as failure:
        json.loads(write_failure(failure))


@given(FIELDS)
def test_any_object_is_a_message_or_refused(fields: dict[str, Any]) -> None:
    data = json.dumps({"jsonrpc": "2.0", **fields}).encode("utf-8", "surrogatepass")
    try:
        message = read_message(data)
    except RpcFailure as failure:
        json.loads(write_failure(failure))
    else:
        assert isinstance(message, RpcRequest | RpcNotification | RpcAnswer)
