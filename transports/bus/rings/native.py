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
    Patience,
    Pump,
    Segment,
    Writer,
    failpoint,
)

__all__ = [
    "BELL", "BINARY", "DATA", "HEADER", "LARGE", "LAYOUT_VERSION", "PAGE", "PAGE_BYTES", "REFERENCE", "RING", "SHARD",
    "SLOTS", "STEPS", "Patience", "Pump", "Segment", "Writer", "failpoint",
]  # fmt: skip
