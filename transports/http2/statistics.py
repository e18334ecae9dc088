"""Counters of a pool for each origin."""

from dataclasses import dataclass


@dataclass(slots=True)
class OriginStatistics:
    """Counters of one origin. The first four are current values; the others count from the pool's start."""

    connections: int = 0
    connecting: int = 0
    streams: int = 0  # calls in progress
    waiting: int = 0  # calls without a stream yet
    opened: int = 0  # connections
    lost: int = 0  # connections that ended by error
    retired: int = 0  # connections closed for age, idleness or GOAWAY
    requests: int = 0
    resent: int = 0  # requests sent again because the server did not process them
    completed: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0  # left early by the caller: RST_STREAM(CANCEL), or the HTTP/1.1 connection closed
    resets_received: int = 0
    goaways_received: int = 0
    pings_sent: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
