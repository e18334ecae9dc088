"""Errors as HTTP: which status, which OpenAI code, and what the client may know. Pure."""

import math
from typing import Any

import msgspec
from msgspec import Struct

from three_mode import errors
from three_mode.errors import ThreeModeError


class EndpointFault(Struct, frozen=True):
    """A refused or failed request, as it goes out."""

    status: int
    body: bytes
    retry_after: int | None = None


# The first class that fits decides, so the special ones stand first. A provider that refuses our key is our fault, not
# the caller's: 502.
_STATUS: tuple[tuple[type[ThreeModeError], int, str], ...] = (
    (errors.ContextLength, 400, "context_length_exceeded"),
    (errors.UnsupportedParameter, 400, "unsupported_parameter"),
    (errors.InvalidRequest, 400, "invalid_request"),
    (errors.BadCall, 400, "bad_call"),
    (errors.ContentFilter, 400, "content_filter"),
    (errors.BudgetExceeded, 402, "budget_exceeded"),
    (errors.PermissionDenied, 403, "permission_denied"),
    (errors.NotFound, 404, "model_not_found"),
    (errors.NoSuchAgent, 404, "agent_not_found"),
    (errors.NoSuchConversation, 404, "conversation_not_found"),
    (errors.ConversationBusy, 409, "conversation_busy"),
    (errors.TurnCutShort, 409, "turn_cut_short"),
    (errors.RateLimit, 429, "rate_limit_exceeded"),
    (errors.QuotaExhausted, 429, "insufficient_quota"),
    (errors.Overloaded, 503, "overloaded"),
    (errors.ConfigurationError, 503, "not_configured"),
    (errors.ModeUnavailable, 503, "mode_unavailable"),
    (errors.CircuitOpen, 503, "circuit_open"),
    (errors.DeadlineExceeded, 504, "deadline_exceeded"),
    (errors.SchemaMismatch, 502, "schema_mismatch"),
    (errors.PeerLost, 502, "peer_lost"),
    (errors.CallCycle, 508, "call_cycle"),
    (errors.AgentError, 500, "agent_failed"),
    (errors.AllProvidersFailed, 502, "all_providers_failed"),
    (errors.StreamInterrupted, 502, "stream_interrupted"),
    (errors.ConnectionFailed, 502, "connection_failed"),
    (errors.LLMError, 502, "provider_failed"),
    (ThreeModeError, 500, "server_error"),
)
# What a provider says of the endpoint's own account, or of itself, is for the operator: its log has it. What it says of
# a request is for the client who sent it.
_OF_THE_PROVIDER: tuple[tuple[type[ThreeModeError], str], ...] = (
    (errors.AuthenticationError, "the provider refused this endpoint's key"),
    (errors.QuotaExhausted, "this endpoint's account at the provider is used up"),
    (errors.PermissionDenied, "the provider does not allow this endpoint that"),
    (errors.BadReply, "the provider's reply could not be read"),
    (errors.ProviderOverloaded, "the provider is busy"),
    (errors.ServerError, "the provider failed"),
    (errors.RateLimit, "the provider's rate limit for this endpoint is reached"),
)
_KIND = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def fault(
    status: int, message: str, code: str, field: str | None = None, retry_after: float | None = None
) -> EndpointFault:
    wait = None if retry_after is None else max(1, math.ceil(retry_after))
    kind = _KIND.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "type": kind, "param": field, "code": code}
    return EndpointFault(status, msgspec.json.encode({"error": error}), wait)


def from_error(error: ThreeModeError) -> EndpointFault:
    """What the client is told. The text of our own errors holds no keys and no content. A provider's may, and is sent
    only where it is about the request."""
    status, code = next((status, code) for kind, status, code in _STATUS if isinstance(error, kind))
    message = in_words(error)
    wait = error.retry_after if error.retry_after is not None else 1.0 if status == 503 and error.retryable else None
    field = getattr(error, "field", None)
    # A client knows the fields that it sent, and none of ours that they travelled in.
    return fault(status, message, code, field.removeprefix("extra.") if field else None, wait)


def in_words(error: ThreeModeError) -> str:
    """The text of an error, as far as the client may know it."""
    message = _told(error)
    if isinstance(error, errors.AllProvidersFailed) and error.causes:
        message += ": " + "; ".join(_told(cause) for cause in error.causes)
    elif isinstance(error, errors.ConfigurationError):  # of the endpoint's provider, where the name is none of its own
        message += "; GET /v1/models lists what answers here"
    return message


def _told(error: BaseException) -> str:
    """The text of an error, without what its provider said of anything but the request."""
    cause = error.__cause__
    if isinstance(error, errors.StreamInterrupted) and isinstance(cause, ThreeModeError):
        return f"the reply broke off: {_told(cause)}"
    provider = getattr(error, "provider", None)
    if isinstance(error, errors.SchemaMismatch):
        return str(error)  # of the client's own schema
    if provider is not None and isinstance(error, errors.NotFound):
        return error.message  # its hint has the provider's address
    words = next((words for kind, words in _OF_THE_PROVIDER if isinstance(error, kind)), None)
    return str(error) if provider is None or words is None else words


def told(error: ThreeModeError) -> dict[str, Any]:
    """What the client is told, as data."""
    data: dict[str, Any] = msgspec.json.decode(from_error(error).body)["error"]
    return data


def event(error: ThreeModeError) -> bytes:
    """The same within a stream that has begun, where the status is already gone."""
    return b"data: " + from_error(error).body + b"\n\n"
