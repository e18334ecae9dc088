"""The header `grpc-timeout`: at most eight digits and a unit. A time that is written is never shorter than it was."""

import math
import re

from transports.grpc.status import GrpcError, GrpcStatus

_WRITTEN = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MOST = 99_999_999
_FINE = ((1_000_000, b"u"), (1_000, b"m"), (1, b"S"))  # units of a second, the finest that is written first


def read_timeout(value: bytes) -> float:
    """Seconds; INVALID_ARGUMENT for what is no time."""
    found = _WRITTEN.fullmatch(value)
    if found is None:
        raise GrpcError(
            GrpcStatus.INVALID_ARGUMENT, f"grpc-timeout is one to eight digits and a unit, not {value[:20]!r}"
        )
    return int(found[1]) * _SECONDS[found[2]]


def write_timeout(seconds: float) -> bytes:
    """The header's value for a number of seconds, rounded up; the longest that it can say for more."""
    for units, letter in _FINE:
        count = max(0, math.ceil(seconds * units)) if seconds < _MOST else _MOST + 1
        if count <= _MOST:
            return b"%d%b" % (count, letter)
    return b"%dH" % min(_MOST, math.ceil(min(seconds, 1e15) / 3600))
