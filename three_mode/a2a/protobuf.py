"""The gRPC binding: values of the protocol as its messages and back, and its errors as the end of a call. Pure.

A field has the same name in a value and in its message, so that no table says which is which. It needs the extra
`grpc`, and is imported where gRPC is spoken only.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import msgspec
from google.protobuf.json_format import ParseDict, ParseError
from msgspec import UNSET, Struct

from three_mode.a2a.faults import DOMAIN, A2AFault, read_reason
from three_mode.a2a.rpc import CANCEL, GET, LIST, SEND, STREAM, SUBSCRIBE
from three_mode.a2a.values import ListTasksResponse, Value
from three_mode.errors import DeadlineExceeded, LLMError, ThreeModeError
from three_mode.grpc_messages import a2a_pb2 as pb
from three_mode.grpc_messages.errors import end_call, error_info, read_error
from three_mode.grpc_messages.status_pb2 import BadRequest, ErrorInfo
from transports.grpc import GrpcError, GrpcStatus

Read = TypeVar("Read")
Put = Callable[[Any, Any], None]  # into a message, from the value of a field
Take = Callable[[Any], Any]  # the value of a field as plain data

VALUE = "google.protobuf.Value"
SERVICE = "lf.a2a.v1.A2AService"
#: Method -> the classes of its message and of the one that answers it.
MESSAGES: dict[str, tuple[Any, Any]] = {
    SEND: (pb.SendMessageRequest, pb.SendMessageResponse),
    STREAM: (pb.SendMessageRequest, pb.StreamResponse),
    GET: (pb.GetTaskRequest, pb.Task),
    LIST: (pb.ListTasksRequest, pb.ListTasksResponse),
    CANCEL: (pb.CancelTaskRequest, pb.Task),
    SUBSCRIBE: (pb.SubscribeToTaskRequest, pb.StreamResponse),
}
_WHOLE = 2.0**53  # beyond it a double has no every whole number
# What proto3 does not send because it is empty, and a value must have.
_NEEDED: dict[Any, dict[str, Any]] = {
    ListTasksResponse: {"tasks": (), "nextPageToken": "", "pageSize": 0, "totalSize": 0},
}


def path_of(method: str) -> str:
    """The path of a call."""
    return f"/{SERVICE}/{method}"


# values -> messages ---------------------------------------------------------------------------------------------------
def write(value: Struct, message: Any) -> Any:
    """The message, filled from a value. What the value does not say is not said in the message; ValueError for what
    protobuf cannot hold."""
    for name, put, null_is_said in _writers(type(value), type(message)):  # type: ignore[arg-type]  # types are hashable
        given = getattr(value, name)
        if given is not UNSET and (given is not None or null_is_said):
            put(message, given)
    return message


@cache
def _writers(kind: Any, message: Any) -> tuple[tuple[str, Put, bool], ...]:
    """Name and writer of each field, and whether None is a value of it: null is one of JSON's."""
    fields = message.DESCRIPTOR.fields_by_name
    known = [(name, fields[name]) for name in kind.__struct_fields__ if name in fields]
    return tuple((name, _writer(name, field), _full_name(field) == VALUE) for name, field in known)


def _full_name(field: Any) -> str:
    """The message that a field is; "" for one that is none."""
    return "" if field.message_type is None else str(field.message_type.full_name)


def _writer(name: str, field: Any) -> Put:
    many = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    if field.enum_type is not None:
        numbers = {value.name: value.number for value in field.enum_type.values}
        return lambda message, given: setattr(message, name, numbers[given.value if isinstance(given, Enum) else given])
    if field.message_type is None:
        if many:
            return lambda message, given: getattr(message, name).extend(given)
        return lambda message, given: setattr(message, name, given)
    known = _PUT_KNOWN.get(_full_name(field))
    if known is not None:
        return lambda message, given: known(getattr(message, name), given)
    if many:
        return lambda message, given: _put_several(getattr(message, name), given)
    return lambda message, given: _put_one(getattr(message, name), given)


def _put_several(into: Any, values: Any) -> None:
    for value in values:
        write(value, into.add())


def _put_one(into: Any, value: Any) -> None:
    into.SetInParent()
    if isinstance(value, Mapping):
        _put_plain(into, value)
    else:
        write(value, into)


def _put_plain(into: Any, given: Mapping[str, Any]) -> None:
    """What a value holds as plain data, such as where an agent is to push to, which nothing here looks at."""
    try:
        ParseDict(given, into)
    except ParseError as error:
        raise ValueError(str(error)) from None


def _put_object(into: Any, given: Mapping[str, Any]) -> None:
    into.SetInParent()
    for name, value in given.items():
        _put_value(into.fields[name], value)


def _put_value(into: Any, given: Any) -> None:
    """A JSON value. Numbers are doubles there; one that is none of JSON is null, as JSON writes it."""
    if given is None or (isinstance(given, float) and not math.isfinite(given)):
        into.null_value = 0
    elif isinstance(given, bool):
        into.bool_value = given
    elif isinstance(given, int | float):
        into.number_value = given
    elif isinstance(given, str):
        into.string_value = given
    elif isinstance(given, Mapping):
        _put_object(into.struct_value, given)
    else:
        into.list_value.SetInParent()
        for each in given:
            _put_value(into.list_value.values.add(), each)


def _put_time(into: Any, given: str) -> None:
    into.FromDatetime(datetime.fromisoformat(given).astimezone(UTC))


_PUT_KNOWN: dict[str, Put] = {
    "google.protobuf.Struct": _put_object,
    VALUE: _put_value,
    "google.protobuf.Timestamp": _put_time,
}


# messages -> values ---------------------------------------------------------------------------------------------------
def read(message: Any, kind: type[Read]) -> Read:
    """The value in a message; ValidationError names the field that is wrong."""
    fields = {**_NEEDED.get(kind, {}), **plain(message)}
    return msgspec.convert(fields, kind, strict=False, builtin_types=(bytes,))


def plain(message: Any) -> dict[str, Any]:
    """What a message says, as the JSON of the protocol has it; bytes stay bytes."""
    readers = _readers(type(message))  # type: ignore[arg-type]  # types are hashable
    found = {}
    for field, given in message.ListFields():
        name, take = readers[field.name]
        found[name] = given if take is None else take(given)
    return found


@cache
def _readers(message: Any) -> dict[str, tuple[str, Take | None]]:
    return {field.name: (field.json_name, _reader(field)) for field in message.DESCRIPTOR.fields}


def _reader(field: Any) -> Take | None:
    many = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda number: names.get(number, number)
    if field.message_type is None:
        return list if many else None
    take: Take = _TAKE_KNOWN.get(_full_name(field), plain)
    return (lambda values: [take(value) for value in values]) if many else take


def _take_object(message: Any) -> dict[str, Any]:
    return {name: _take_value(value) for name, value in message.fields.items()}


def _take_value(message: Any) -> Any:
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    given = getattr(message, kind)
    if kind == "number_value":
        return int(given) if abs(given) < _WHOLE and given.is_integer() else given
    if kind == "struct_value":
        return _take_object(given)
    return [_take_value(each) for each in given.values] if kind == "list_value" else given


_TAKE_KNOWN: dict[str, Take] = {
    "google.protobuf.Struct": _take_object,
    VALUE: _take_value,
    "google.protobuf.Timestamp": lambda message: message.ToJsonString(),
}


# a call at its client -------------------------------------------------------------------------------------------------
def write_call(method: str, parameters: Value) -> bytes:
    """The message of a call."""
    message: bytes = write(parameters, MESSAGES[method][0]()).SerializeToString()
    return message


def read_answer(method: str, kind: type[Read], data: bytes) -> Read:
    """The value that answers a call; ValueError for what is none."""
    from google.protobuf.message import DecodeError

    try:
        return read(MESSAGES[method][1].FromString(data), kind)
    except DecodeError as error:
        raise ValueError(str(error)) from None


# errors ---------------------------------------------------------------------------------------------------------------
def write_fault(fault: A2AFault) -> GrpcError:
    """The end of a call that is refused, with the details by which clients know why."""
    info = ErrorInfo(reason=fault.kind.reason, domain=DOMAIN, metadata=fault.about)
    details: list[tuple[str, Any]] = [("google.rpc.ErrorInfo", info)]
    if fault.field:
        violation = BadRequest.FieldViolation(field=fault.field, description=fault.message)
        details.append(("google.rpc.BadRequest", BadRequest(field_violations=[violation])))
    return end_call(GrpcStatus[fault.kind.canonical], fault.message, details)


def read_fault(error: GrpcError, server: str) -> ThreeModeError:
    """How a call ended, as an error of ours."""
    info = error_info(error.details)
    known = read_reason(info.reason, error.message, server) if info is not None and info.domain == DOMAIN else None
    if known is not None:
        return known
    found = read_error(error.status, f"{server}: {error.message or error.status.name}", error.details)
    if isinstance(found, LLMError | DeadlineExceeded):
        found.provider = server
    return found
