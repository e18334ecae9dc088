"""Our errors as the status of a call, and back. Pure.

The trailers hold the code, a text, and a `google.rpc.Status` with three details: `ErrorInfo` and `RetryInfo`, which
clients in any language read, and `ErrorDetail`, from which a client of ours makes the same error of the same class.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

import msgspec

from three_mode import errors
from three_mode.errors import ThreeModeError
from three_mode.grpc_messages import llm_pb2, status_pb2
from three_mode.messages import decode_error
from transports.grpc import GrpcError, GrpcStatus

DOMAIN = "three-mode"
TYPE_URL = "type.googleapis.com/"
# Clients take some 8 KiB of trailers. A text goes into them three times, once percent-encoded.
MOST_TEXT = 1_000
MOST_WORD = 300
# Fields that stay here: what a handler's code looks like, ids for the operator, and answers that went out already.
_KEPT = frozenset({"message", "traceback", "request_id", "causes", "partial"})
# The first class that fits decides, so the special ones stand first.
_STATUS: tuple[tuple[type[ThreeModeError], GrpcStatus], ...] = (
    (errors.ContentFilter, GrpcStatus.INVALID_ARGUMENT),
    (errors.InvalidRequest, GrpcStatus.INVALID_ARGUMENT),
    (errors.BadCall, GrpcStatus.INVALID_ARGUMENT),
    (errors.PermissionDenied, GrpcStatus.PERMISSION_DENIED),
    (errors.NotFound, GrpcStatus.NOT_FOUND),
    (errors.NoSuchAgent, GrpcStatus.NOT_FOUND),
    (errors.NoSuchConversation, GrpcStatus.NOT_FOUND),
    (errors.ConversationBusy, GrpcStatus.ABORTED),
    (errors.TurnCutShort, GrpcStatus.FAILED_PRECONDITION),
    (errors.BudgetExceeded, GrpcStatus.RESOURCE_EXHAUSTED),
    (errors.RateLimit, GrpcStatus.RESOURCE_EXHAUSTED),
    (errors.QuotaExhausted, GrpcStatus.RESOURCE_EXHAUSTED),
    (errors.DeadlineExceeded, GrpcStatus.DEADLINE_EXCEEDED),
    (errors.Overloaded, GrpcStatus.UNAVAILABLE),
    (errors.ConfigurationError, GrpcStatus.FAILED_PRECONDITION),
    (errors.ModeUnavailable, GrpcStatus.UNAVAILABLE),
    (errors.CircuitOpen, GrpcStatus.UNAVAILABLE),
    (errors.ServerError, GrpcStatus.UNAVAILABLE),
    (errors.ConnectionFailed, GrpcStatus.UNAVAILABLE),
    (errors.AllProvidersFailed, GrpcStatus.UNAVAILABLE),
    (errors.PeerLost, GrpcStatus.UNAVAILABLE),
    (errors.StreamInterrupted, GrpcStatus.ABORTED),
    (errors.CallCycle, GrpcStatus.FAILED_PRECONDITION),
    (errors.AgentError, GrpcStatus.UNKNOWN),
    (ThreeModeError, GrpcStatus.INTERNAL),
)
# What a status means that comes without our detail.
_CLASS: dict[GrpcStatus, type[ThreeModeError]] = {
    GrpcStatus.INVALID_ARGUMENT: errors.InvalidRequest,
    GrpcStatus.OUT_OF_RANGE: errors.InvalidRequest,
    GrpcStatus.FAILED_PRECONDITION: errors.InvalidRequest,
    GrpcStatus.ALREADY_EXISTS: errors.InvalidRequest,
    GrpcStatus.UNIMPLEMENTED: errors.NotFound,
    GrpcStatus.NOT_FOUND: errors.NotFound,
    GrpcStatus.UNAUTHENTICATED: errors.AuthenticationError,
    GrpcStatus.PERMISSION_DENIED: errors.PermissionDenied,
    GrpcStatus.RESOURCE_EXHAUSTED: errors.RateLimit,
    GrpcStatus.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    GrpcStatus.UNAVAILABLE: errors.ProviderOverloaded,
    GrpcStatus.DATA_LOSS: errors.BadReply,
}


def status_of(error: ThreeModeError) -> GrpcStatus:
    """The code that an error ends a call with."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def write_error(error: ThreeModeError, told: str | None = None, status: GrpcStatus | None = None) -> GrpcError:
    """The end of a call that failed with this error. `told`: what the client may know, where that is not its text."""
    code = status_of(error) if status is None else status
    text = str(error) if told is None else told
    details: list[tuple[str, Any]] = [("google.rpc.ErrorInfo", _error_info(error))]
    if error.retry_after is not None:
        details.append(("google.rpc.RetryInfo", _retry_info(error.retry_after)))
    return end_call(code, text, [*details, ("three_mode.v1.ErrorDetail", write_detail(error, told, code))])


def end_call(code: GrpcStatus, text: str, details: Iterable[tuple[str, Any]]) -> GrpcError:
    """The end of a call with a code, a text, and details by the names of their messages."""
    said = status_pb2.Status(code=code, message=_cut(text, MOST_TEXT))
    for name, message in details:
        said.details.add(type_url=TYPE_URL + name, value=message.SerializeToString())
    return GrpcError(code, said.message, said.SerializeToString())


def write_detail(
    error: ThreeModeError, told: str | None = None, status: GrpcStatus | None = None
) -> llm_pb2.ErrorDetail:
    """The error as the message that `read_detail` reads."""
    hidden = told is not None and told != str(error)
    content = dict(_told_fields(error, hidden))
    return llm_pb2.ErrorDetail(
        kind=[kind.__name__ for kind in type(error).__mro__ if issubclass(kind, ThreeModeError)],
        message=_cut(told if hidden and told is not None else error.message, MOST_TEXT),
        fields=msgspec.json.encode(content).decode() if content else "",
        code=status_of(error) if status is None else status,
    )


def read_error(status: GrpcStatus, message: str, details: bytes = b"") -> ThreeModeError:
    """The error that a status means: the same class where the server is one of ours, else the closest."""
    said = _status(details)
    wait: float | None = None
    for each in said.details:
        if each.type_url == TYPE_URL + "three_mode.v1.ErrorDetail":
            detail = _parsed(llm_pb2.ErrorDetail, each.value)
            if detail is not None and detail.kind:
                return read_detail(detail)
        elif each.type_url == TYPE_URL + "google.rpc.RetryInfo":
            info = _parsed(status_pb2.RetryInfo, each.value)
            if info is not None and info.HasField("retry_delay"):
                wait = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    kind = _CLASS.get(status, errors.ServerError)
    given: dict[str, Any] = {} if wait is None else {"retry_after": wait}
    if issubclass(kind, errors.LLMError):
        given["code"] = status.name
    return kind(message or said.message or status.name, **given)


def error_info(details: bytes) -> status_pb2.ErrorInfo | None:
    """Which error it is by the name that its service gives it, if the details of a status say so."""
    for each in _status(details).details:
        if each.type_url == TYPE_URL + "google.rpc.ErrorInfo":
            info: status_pb2.ErrorInfo | None = _parsed(status_pb2.ErrorInfo, each.value)
            return info
    return None


def read_detail(detail: llm_pb2.ErrorDetail) -> ThreeModeError:
    """The error in a detail. What does not fit the class of the error is left out."""
    try:
        given = msgspec.json.decode(detail.fields) if detail.fields else {}
    except (msgspec.DecodeError, RecursionError):
        given = {}
    known = {name: value for name, value in given.items() if _fits(name, value)} if isinstance(given, dict) else {}
    return decode_error({"kind": list(detail.kind), "message": detail.message, "fields": known})


def _fits(name: str, value: Any) -> bool:
    if name in _KEPT:
        return False
    if name == "retryable":
        return isinstance(value, bool)
    if name in ("retry_after", "status"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def _told_fields(error: ThreeModeError, hidden: bool) -> Iterator[tuple[str, Any]]:
    """The fields of an error that its client may know, if they say something."""
    for item in fields(error):
        value = getattr(error, item.name)
        if item.name in _KEPT or value is None or (hidden and item.name in ("hint", "code")):
            continue
        if isinstance(value, str):
            value = _cut(value, MOST_WORD)
        if _fits(item.name, value):
            yield item.name, value


def _error_info(error: ThreeModeError) -> status_pb2.ErrorInfo:
    said = {name: value for name, value in _told_fields(error, hidden=True) if name != "retry_after"}
    return status_pb2.ErrorInfo(
        reason=re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper(),
        domain=DOMAIN,
        metadata={
            name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
            for name, value in said.items()
        },
    )


def _retry_info(seconds: float) -> status_pb2.RetryInfo:
    rest, whole = math.modf(min(max(seconds, 0.0), 1e9))
    info = status_pb2.RetryInfo()
    info.retry_delay.seconds, info.retry_delay.nanos = int(whole), int(rest * 1e9)
    return info


def _status(details: bytes) -> status_pb2.Status:
    return _parsed(status_pb2.Status, details) or status_pb2.Status()


def _parsed(kind: Any, data: bytes) -> Any:
    """The message in the bytes; None for what is none."""
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(data)
    except DecodeError:
        return None


def _cut(text: str, most: int) -> str:
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= most else data[: most - 3].decode("utf-8", "ignore") + "..."
