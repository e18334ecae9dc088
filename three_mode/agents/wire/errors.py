"""Convert errors: from the bus to the public ones, and from a handler's exception to one that travels.

The only place for each.
"""

import traceback
from pathlib import Path
from types import TracebackType
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
_RUNTIME = str(Path(__file__).resolve().parents[1])  # its frames stand outside those of an agent's code


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
    kind = type(error).__name__
    message = str(error)
    place = place_of(error)
    return HandlerFailed(
        f"{agent}.{handler} raised {kind}{': ' + message if message else ''}",
        agent=agent,
        handler=handler,
        kind=kind,
        traceback=own_traceback(error),
        where=f"{Path(place[0]).name}:{place[1]} in {place[2]}" if place is not None else None,
    )


def own_traceback(error: BaseException) -> str:
    """Return the traceback of an agent's exception, from the agent's own code on."""
    lines = traceback.format_exception(type(error), error, _own_frames(error) or error.__traceback__)
    return "".join(lines)[-_TRACEBACK_LIMIT:]


def place_of(error: BaseException) -> tuple[str, int, str] | None:
    """Return file, line and function where an agent's code raised, or called what raised; None if no code of it ran.

    That is the innermost frame of the file that the agent's first frame is in.
    """
    first = frame = _own_frames(error)
    if first is None:
        return None
    found = first
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == first.tb_frame.f_code.co_filename:
            found = frame
        frame = frame.tb_next
    code = found.tb_frame.f_code
    return code.co_filename, found.tb_lineno, code.co_name


def _own_frames(error: BaseException) -> TracebackType | None:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_RUNTIME):
        frames = frames.tb_next
    return frames


def text_of(error: ThreeModeError) -> str:
    """Return an error as one line for reports: its class and message."""
    return f"{type(error).__name__}: {error.message}"[:300]


def of_result(value: Any, reason: Exception, agent: str, handler: str) -> BadResult:
    """Return the error for a result that cannot be encoded."""
    return BadResult(
        f"{agent}.{handler} returned {type(value).__qualname__}, which cannot be sent: {reason}",
        hint="return data: numbers, text, lists, dicts, dataclasses",
        agent=agent,
        handler=handler,
    )
