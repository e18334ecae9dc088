"""Errors on their way between nodes: as the bus has them, with a text, and with the error itself where it is one of
three-mode's."""

from typing import Any

from three_mode.agents.calling.session import Session
from three_mode.agents.wire import errors as wire_errors
from three_mode.cluster.core.calling import PEER_LOST
from three_mode.errors import PeerLost
from transports.bus import BusError, CallCancelled, RemoteError, Request


def failure(session: Session, error: BusError, agent: str, handler: str) -> tuple[str, str, Any]:
    """Return code, text and detail of an error of the bus, for the node that asked."""
    if isinstance(error, RemoteError):
        return error.remote_code, error.text, error.detail
    return wire_errors.to_wire(session.error(error, agent, handler))


def fail(request: Request, code: str, text: str, detail: Any) -> None:
    """Answer a caller of this node with an error that came from another one, or from the core."""
    if request.done:
        return
    try:
        if code == PEER_LOST:
            request.fail(*wire_errors.to_wire(PeerLost(text, agent=request.to, handler=request.topic)))
        else:
            request.fail(code, text, detail)
    except CallCancelled:
        pass  # the caller has left
