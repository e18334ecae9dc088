"""Messages of JSON-RPC 2.0 as MCP uses it: one message a line or a body, never a batch. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022

RequestId = int | str
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class RpcRequest(Struct, frozen=True, gc=False):
    """A message that wants an answer."""

    id: RequestId
    method: str
    params: dict[str, Any]


class RpcNotification(Struct, frozen=True, gc=False):
    """A message that wants none."""

    method: str
    params: dict[str, Any]


class RpcAnswer(Struct, frozen=True, gc=False):
    """An answer: `result`, or `failure`. `id` is None where the other side could not read ours."""

    id: RequestId | None
    result: dict[str, Any] | None = None
    failure: "RpcFailure | None" = None


RpcMessage = RpcRequest | RpcNotification | RpcAnswer


class RpcFailure(Exception):
    """An error of the protocol. `id` is that of the request, where it could be read."""

    def __init__(self, code: int, message: str, data: Any = None, id: RequestId | None = None) -> None:  # noqa: A002
        super().__init__(message)
        self.code, self.message, self.data, self.id = code, message, data, id


class _Wire(Struct):
    jsonrpc: str
    id: int | str | UnsetType | None = UNSET
    method: str | UnsetType = UNSET
    params: dict[str, Any] | UnsetType | None = UNSET
    result: dict[str, Any] | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET


class _Identity(Struct):
    id: int | str | None = None


_decode = msgspec.json.Decoder(_Wire).decode
_decode_id = msgspec.json.Decoder(_Identity).decode
encode = msgspec.json.encode


def read_message(data: bytes) -> RpcMessage:
    """The message in a line or a body; RpcFailure says why it is none."""
    try:
        wire = _decode(data)
    except msgspec.ValidationError as error:
        raise RpcFailure(INVALID_REQUEST, f"not one message of JSON-RPC: {error}", id=_identity(data)) from None
    except _UNREADABLE as error:
        raise RpcFailure(PARSE_ERROR, f"not JSON: {error}") from None
    number = wire.id
    known = None if number is UNSET else number
    if wire.jsonrpc != "2.0":
        raise RpcFailure(INVALID_REQUEST, 'jsonrpc is "2.0"', id=known)
    if wire.method is not UNSET:
        params = wire.params or {}
        if number is UNSET:
            return RpcNotification(wire.method, params)
        if number is None:
            raise RpcFailure(INVALID_REQUEST, "the id of a request is a number or a text")
        return RpcRequest(number, wire.method, params)
    if number is UNSET or (wire.result is UNSET) == (wire.error is UNSET):
        raise RpcFailure(INVALID_REQUEST, "neither a request, nor a notification, nor an answer", id=known)
    if wire.result is not UNSET:
        return RpcAnswer(known, wire.result)
    assert wire.error is not UNSET
    return RpcAnswer(known, failure=_failure(wire.error))


def write_request(number: RequestId, method: str, params: Mapping[str, Any]) -> bytes:
    """A request as JSON, without a line end."""
    return encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def write_notification(method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """A notification as JSON, without a line end."""
    return encode({"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})})


def write_result(number: RequestId, result: Any) -> bytes:
    """The answer to a request as JSON, without a line end."""
    return encode({"jsonrpc": "2.0", "id": number, "result": result})


def write_failure(failure: RpcFailure, number: RequestId | None = None) -> bytes:
    """The answer to a request that failed, as JSON, without a line end."""
    error = {"code": failure.code, "message": failure.message}
    if failure.data is not None:
        error["data"] = failure.data
    return encode({"jsonrpc": "2.0", "id": failure.id if number is None else number, "error": error})


def _identity(data: bytes) -> RequestId | None:
    """The id of a message that is wrong in another place."""
    try:
        return _decode_id(data).id
    except _UNREADABLE:
        return None


def _failure(error: dict[str, Any]) -> RpcFailure:
    code, message = error.get("code"), error.get("message")
    known = code if isinstance(code, int) and not isinstance(code, bool) else INTERNAL_ERROR
    return RpcFailure(known, message if isinstance(message, str) else "an error without a message", error.get("data"))
