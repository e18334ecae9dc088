"""Convert errors: from the bus to the public ones, and from a handler's exception to one that travels.

The only place for each.
"""

import traceback
from typing import Any

from three_mode.errors import (
    BadCall,
    BadResult,
    ConfigurationError,
    DeadlineExceeded,
    HandlerFailed,
    ModeUnavailable,
    NoSuchAgent,
    Overloaded,
    PeerLost,
    ThreeModeError,
)
from three_mode.messages import decode_error, encode_error
from transports.bus import errors as bus

REMOTE = "three_mode"  # code of an error frame whose detail is an encoded ThreeModeError
_TRACEBACK_LIMIT = 8000  # characters; the innermost part is kept


def from_bus(error: bus.BusError, agent: str, handler: str) -> ThreeModeError:
    """Return the error for a caller of `agent.handler`."""
    fields: dict[str, Any] = {"agent": agent, "handler": handler}
    match error:
        case bus.RemoteError():
            if error.remote_code == REMOTE:
                return decode_error(error.detail)
            return HandlerFailed(f"{agent}.{handler}: {error.text}", kind=error.remote_code, **fields)
        case bus.NoSuchName() | bus.BadAddress():
            return NoSuchAgent(f"no agent {agent!r} is on the bus", hint="three-mode agents lists them", **fields)
        case bus.PeerLost():
            return PeerLost(f"{agent}.{handler}: {error}", **fields)
        case bus.Overloaded():
            return Overloaded(f"{agent}.{handler}: {error}", hint="try again later, or ask fewer at once")
        case bus.DeadlineExceeded():
            return DeadlineExceeded(f"{agent}.{handler} did not answer in time: {error}", stage="handler")
        case bus.NotEncodable() | bus.TooLarge():
            return BadCall(f"{agent}.{handler}: {error}", **fields)
        case bus.CallCancelled():
            return PeerLost(f"{agent}.{handler}: the call was cancelled at the other end: {error}", **fields)
        case bus.Forked():
            return ConfigurationError(str(error), hint="join the bus again in the child, or use spawn instead of fork")
        case bus.Closed():
            return ModeUnavailable(f"{agent}.{handler}: this process has left the bus")
        case bus.NoSuchBus():
            return ModeUnavailable(str(error), hint="start an orchestrator with that name first")
        case _:
            return ThreeModeError(f"{agent}.{handler}: {error}")


def to_wire(error: ThreeModeError) -> tuple[str, str, Any]:
    """Return code, text and detail of an error frame, for `request.fail`."""
    return REMOTE, error.message, encode_error(error)


def of_handler(error: BaseException, agent: str, handler: str) -> ThreeModeError:
    """Return the error for the caller of a handler that raised.

    A ThreeModeError passes unchanged: a RateLimit stays one.
    """
    if isinstance(error, ThreeModeError):
        return error
    if isinstance(error, bus.BusError):
        return from_bus(error, agent, handler)
    text = "".join(traceback.format_exception(error))[-_TRACEBACK_LIMIT:]
    kind = type(error).__name__
    message = str(error)
    return HandlerFailed(
        f"{agent}.{handler} raised {kind}{': ' + message if message else ''}",
        agent=agent,
        handler=handler,
        kind=kind,
        traceback=text,
    )


def of_result(value: Any, reason: Exception, agent: str, handler: str) -> BadResult:
    """Return the error for a result that cannot be encoded."""
    return BadResult(
        f"{agent}.{handler} returned {type(value).__qualname__}, which cannot be sent: {reason}",
        hint="return data: numbers, text, lists, dicts, dataclasses",
        agent=agent,
        handler=handler,
    )
