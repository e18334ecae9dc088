"""Trace hook of a pool: one function that receives every event. Without a hook it costs nothing.

The pool calls the hook with a name and a mapping at the moment of the event, on the event loop: a hook must not block.
The names are `connection.open`, `connection.opened`, `connection.failed`, `connection.closed`, `connection.goaway`,
`connection.ping`, `request.queued`, `request.sent`, `request.resent`, `response.head`, `response.complete`,
`request.cancelled` and `request.failed`. No mapping holds a header's value or a body. That of `request.sent` has
`round_trip`: seconds that the peer's kernel takes to answer, or None where ours does not say.
"""

import logging
from collections.abc import Callable, Mapping

#: Function that a pool calls with the name of an event and a mapping. No mapping holds a header's value or a body.
Trace = Callable[[str, Mapping[str, object]], None]

log = logging.getLogger("transports.http2")


def log_errors(trace: Trace) -> Trace:
    """Wraps a hook so that its errors are logged: raised, they would end a connection that other calls share."""

    def call(name: str, info: Mapping[str, object]) -> None:
        try:
            trace(name, info)
        except Exception:
            log.exception("a trace hook raised at %s", name)

    return call
