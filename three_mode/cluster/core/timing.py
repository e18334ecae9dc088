"""Times of a cluster's nodes: when one is suspected, lost, forgotten. Seconds."""

from typing import Annotated

import msgspec

from three_mode.frozen_options import FrozenOptions

_Positive = Annotated[float, msgspec.Meta(gt=0.0, le=86400.0)]


class NodeTiming(FrozenOptions, frozen=True):
    """When another node is suspected, lost, forgotten."""

    heartbeat: float = 0.25
    """Seconds between signs of life, and between questions for what may be missing."""
    suspected_after: float = 1.0
    """Seconds of silence after which a node is suspected: an event, and nothing else changes."""
    lost_after: float = 2.5
    """Seconds of silence after which a node is lost: calls to it fail, and its agents can be called no longer."""
    remembered: float = 60.0
    """Seconds for which a lost node counts in receipts, as unreachable; and for which one that left is not believed."""
    away: float = 30.0
    """Seconds for which an agent whose process ended may come back at its node; until then callers get PeerLost."""
