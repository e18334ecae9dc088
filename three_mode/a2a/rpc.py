"""The JSON-RPC binding: the envelope of requests and answers, and its methods by name. Pure."""

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from three_mode.a2a.faults import INVALID_PARAMS, INVALID_REQUEST, NOT_JSON, A2AFault, invalid
from three_mode.a2a.values import ListTasksRequest, SendMessageRequest, TaskRequest, Value

Identifier = str | int | float | None
Read = TypeVar("Read")

BINDING = "JSONRPC"
SEND, STREAM = "SendMessage", "SendStreamingMessage"
GET, LIST, CANCEL, SUBSCRIBE = "GetTask", "ListTasks", "CancelTask", "SubscribeToTask"
EXTENDED_CARD = "GetExtendedAgentCard"
PUSH = frozenset(
    (
        "CreateTaskPushNotificationConfig",
        "GetTaskPushNotificationConfig",
        "ListTaskPushNotificationConfigs",
        "DeleteTaskPushNotificationConfig",
    )
)
#: Method -> the type of its parameters.
PARAMETERS: dict[str, type[Value]] = {
    SEND: SendMessageRequest,
    STREAM: SendMessageRequest,
    GET: TaskRequest,
    LIST: ListTasksRequest,
    CANCEL: TaskRequest,
    SUBSCRIBE: TaskRequest,
}


class A2ARequest(Struct, frozen=True):
    """A request of JSON-RPC 2.0 whose parameters are not read yet."""

    method: str
    id: Identifier | UnsetType = UNSET
    jsonrpc: str = ""
    params: Raw = Raw(b"{}")


class RpcRefused(Exception):
    """The body is no request that can be answered by a method; `id` is that of the request, where it has one."""

    def __init__(self, fault: A2AFault, identifier: Identifier = None) -> None:
        super().__init__(fault.message)
        self.fault, self.id = fault, identifier


_decode = msgspec.json.Decoder(A2ARequest).decode


def read_request(body: bytes) -> A2ARequest:
    """The envelope of a request; RpcRefused says why there is none."""
    try:
        request = _decode(body)
    except msgspec.ValidationError as error:
        raise RpcRefused(invalid(error, INVALID_REQUEST), _identifier(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcRefused(A2AFault(NOT_JSON, f"the body is no JSON: {error}")) from None
    if request.jsonrpc != "2.0":
        told = None if request.id is UNSET else request.id
        raise RpcRefused(A2AFault(INVALID_REQUEST, 'jsonrpc is "2.0"', "jsonrpc"), told)
    if request.id is UNSET:
        raise RpcRefused(A2AFault(INVALID_REQUEST, "the request has no id: no method here is a notification", "id"))
    return request


def _identifier(body: bytes) -> Identifier:
    """The id of a request that is wrong otherwise."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    told = found.get("id") if isinstance(found, dict) else None
    return told if isinstance(told, str | int | float) and not isinstance(told, bool) else None


def read_parameters(raw: bytes | Raw, kind: type[Read]) -> Read:
    """The parameters of a method; A2AFault names the field that is wrong."""
    try:
        return msgspec.json.decode(raw, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise A2AFault(INVALID_PARAMS, f"the parameters are no JSON: {error}") from None


def result(identifier: Identifier, value: Any) -> bytes:
    """A response."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": identifier, "result": value})


def refusal(identifier: Identifier, fault: A2AFault) -> bytes:
    """The response of a request that is refused."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": identifier, "error": fault.as_rpc()})
