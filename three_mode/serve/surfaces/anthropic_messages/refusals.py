"""Refusals as Anthropic says them: `{"type": "error", "error": {"type", "message"}}`. Pure."""

import msgspec

from three_mode.serve.faults import EndpointFault

_BUSY = 529  # what its clients know as "come again"
_BUSY_CODES = frozenset(("overloaded", "draining", "starting"))
_KINDS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    _BUSY: "overloaded_error",
}


def anthropic_fault(fault: EndpointFault) -> EndpointFault:
    """The same refusal in Anthropic's shape. The message begins with the field that is meant, as Anthropic's do; our
    code, which says more than their types, stands beside."""
    said = msgspec.json.decode(fault.body)["error"]
    code, field, message = said["code"], said["param"], said["message"]
    status = _BUSY if fault.status == 503 and code in _BUSY_CODES else fault.status
    kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    if field and not message.startswith(field):
        message = f"{field}: {message}"
    error = {"type": kind, "message": message, "code": code, "param": field}
    return EndpointFault(status, msgspec.json.encode({"type": "error", "error": error}), fault.retry_after)
