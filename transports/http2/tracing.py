"""One hook shows what a pool does; it costs nothing when it is off.

A trace is called with a name and a mapping, at the moment it happens, on the event loop: it must not block. Names are
`connection.open`, `connection.opened`, `connection.failed`, `connection.closed`, `connection.goaway`, `connection.ping`,
`request.queued`, `request.sent`, `request.resent`, `response.head`, `response.complete`, `request.cancelled`,
`request.failed`. No mapping holds a header's value or a body.
"""

import logging
from collections.abc import Callable, Mapping

#: A function that gets a name and a mapping when something happens in a pool. No mapping holds a header or a body.
Trace = Callable[[str, Mapping[str, object]], None]

log = logging.getLogger("transports.http2")


def guarded(trace: Trace) -> Trace:
    """The same hook; what it raises is logged, because other calls share the connection that it would end."""

    def call(name: str, info: Mapping[str, object]) -> None:
        try:
            trace(name, info)
        except Exception:
            log.exception("a trace hook raised at %s", name)

    return call
