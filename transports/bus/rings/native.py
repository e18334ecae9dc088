"""The native part, imported in one place, so that its absence is noticed in one place."""

from transports.bus._ring import (
    BELL,
    BINARY,
    DATA,
    HEADER,
    LARGE,
    LAYOUT_VERSION,
    PAGE,
    PAGE_BYTES,
    REFERENCE,
    RING,
    SHARD,
    SLOTS,
    STEPS,
    Pump,
    Segment,
    Writer,
    failpoint,
    silence,
)

__all__ = [
    "BELL", "BINARY", "DATA", "HEADER", "LARGE", "LAYOUT_VERSION", "PAGE", "PAGE_BYTES", "REFERENCE", "RING", "SHARD",
    "SLOTS", "STEPS", "Pump", "Segment", "Writer", "failpoint", "silence",
]  # fmt: skip
