"""Errors of the protocol: their codes in JSON-RPC and over HTTP, written by a server and read by a client. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from three_mode import errors
from three_mode.errors import LLMError
from three_mode.providers.refusals import by_status

_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
DOMAIN = "a2a-protocol.org"
_PLACE = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<where>[^`]*)`$", re.DOTALL)
_LONGEST = 2000  # characters of a foreign server's message that are told on


class FaultKind(Struct, frozen=True):
    """A kind of error: its code in JSON-RPC, its status over HTTP, its canonical status, and its name."""

    code: int
    status: int
    canonical: str
    reason: str


NOT_JSON = FaultKind(-32700, 400, "INVALID_ARGUMENT", "PARSE_ERROR")
INVALID_REQUEST = FaultKind(-32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST")
NO_SUCH_METHOD = FaultKind(-32601, 404, "NOT_FOUND", "METHOD_NOT_FOUND")
INVALID_PARAMS = FaultKind(-32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS")
INTERNAL = FaultKind(-32603, 500, "INTERNAL", "INTERNAL_ERROR")
TASK_NOT_FOUND = FaultKind(-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND")
NOT_CANCELABLE = FaultKind(-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")
NO_PUSH = FaultKind(-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")
UNSUPPORTED = FaultKind(-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")
BAD_CONTENT = FaultKind(-32005, 400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED")
BAD_ANSWER = FaultKind(-32006, 500, "INTERNAL", "INVALID_AGENT_RESPONSE")
NO_EXTENDED_CARD = FaultKind(-32007, 400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED")
EXTENSION_REQUIRED = FaultKind(-32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED")
BAD_VERSION = FaultKind(-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")

_KINDS = (
    NOT_JSON,
    INVALID_REQUEST,
    NO_SUCH_METHOD,
    INVALID_PARAMS,
    INTERNAL,
    TASK_NOT_FOUND,
    NOT_CANCELABLE,
    NO_PUSH,
    UNSUPPORTED,
    BAD_CONTENT,
    BAD_ANSWER,
    NO_EXTENDED_CARD,
    EXTENSION_REQUIRED,
    BAD_VERSION,
)
_BY_CODE = {kind.code: kind for kind in _KINDS}
_BY_REASON = {kind.reason: kind for kind in _KINDS}


class A2AFault(Exception):
    """A request is refused: the kind of error, and what was wrong. `field` names the parameter that is meant."""

    def __init__(self, kind: FaultKind, message: str, field: str = "", **about: str) -> None:
        super().__init__(message)
        self.kind, self.message, self.field, self.about = kind, message, field, about

    @property
    def details(self) -> list[dict[str, Any]]:
        """The error's structured part, the same in both bindings."""
        found: list[dict[str, Any]] = [
            {"@type": _INFO, "reason": self.kind.reason, "domain": DOMAIN, "metadata": self.about}
        ]
        if self.field:
            violation = {"field": self.field, "description": self.message}
            found.append({"@type": _BAD_REQUEST, "fieldViolations": [violation]})
        return found

    def as_rpc(self) -> dict[str, Any]:
        """The error of a JSON-RPC response."""
        return {"code": self.kind.code, "message": self.message, "data": self.details}

    def as_http(self) -> bytes:
        """The body over HTTP+JSON."""
        kind = self.kind
        error = {"code": kind.status, "status": kind.canonical, "message": self.message, "details": self.details}
        return msgspec.json.encode({"error": error})


def invalid(error: Exception, kind: FaultKind = INVALID_PARAMS) -> A2AFault:
    """What does not fit the protocol's types, with the name of the field."""
    found = _PLACE.match(str(error))
    if found is None:
        return A2AFault(kind, str(error) or "the parameters do not fit the method")
    what, where = found["what"], found["where"]
    return A2AFault(kind, f"{where}: {what}" if where else what, where)


# On the client's side -------------------------------------------------------------------------------------------------
_REFUSED = {
    BAD_CONTENT: errors.UnsupportedParameter,
    BAD_ANSWER: errors.ServerError,
    INTERNAL: errors.ServerError,
    NO_SUCH_METHOD: errors.NotFound,
    TASK_NOT_FOUND: errors.NotFound,
}


def read_rpc(error: Any, server: str) -> LLMError:
    """The error of a JSON-RPC response as ours. What is no error object is a BadReply."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        return errors.BadReply(f"{server}: its error is no error of JSON-RPC", provider=server)
    kind = _BY_CODE.get(error["code"])
    return _ours(kind, str(error.get("message", "")), server)


def read_http(status: int, body: bytes, server: str, retry_after: float | None) -> LLMError:
    """A refusal over HTTP as ours, whether its body is one of A2A or not."""
    error: Any = None
    try:
        decoded = msgspec.json.decode(body)
        error = decoded.get("error") if isinstance(decoded, dict) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    said = str(error.get("message", "")) if isinstance(error, dict) else ""
    if isinstance(error, dict) and status not in (401, 403, 429, 503):
        if "code" in error and isinstance(error["code"], int) and error["code"] < 0:  # JSON-RPC with a status
            return read_rpc(error, server)
        known = read_reason(_reason(error), said, server)
        if known is not None:
            return known
    refused = by_status(status) if status >= 400 else errors.InvalidRequest  # redirects are not followed
    text = said or f"it answered with HTTP {status}"
    found = refused(f"{server}: {text[:_LONGEST]}", provider=server, retry_after=retry_after)
    if refused is errors.NotFound:
        found.hint = "is the URL that of an A2A agent?"
    return found


def read_reason(reason: str, said: str, server: str) -> LLMError | None:
    """The error of a name of the protocol's, as ours; None for a name that is none."""
    kind = _BY_REASON.get(reason)
    return None if kind is None else _ours(kind, said, server)


def _reason(error: Mapping[str, Any]) -> str:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("@type") == _INFO:
            return str(detail.get("reason", ""))
    return ""


def _ours(kind: FaultKind | None, said: str, server: str) -> LLMError:
    refused: type[LLMError] = errors.InvalidRequest
    if kind is None:
        refused = errors.ServerError
    elif kind in _REFUSED:
        refused = _REFUSED[kind]
    return refused(f"{server}: {said[:_LONGEST] or 'it refused the request'}", provider=server)
