"""Clearing: names for agents that are about to begin here, which another node of the cluster may still show."""

import asyncio
import time
from collections.abc import Callable, Sequence

from three_mode.cluster.core.node import ClusterNode
from three_mode.errors import DeadlineExceeded
from transports.bus import Bus

_LOOK_EVERY = 0.01


class Clearing:
    """Clearer of names of one node. `foreign()` are the members of its bus that stand for other nodes."""

    def __init__(self, core: ClusterNode, bus: Bus, foreign: Callable[[], set[str]], flush: Callable[[], None]) -> None:
        self._core, self._bus, self._foreign, self._flush = core, bus, foreign, flush

    async def clear(self, names: Sequence[str], number: int, back: bool, ends: float) -> None:
        """Have the incarnations that begin here outrank all before order `number`, and wait until none of them has its
        name on this node's bus. `back`: they were at another node before."""
        views = self._core.names.values()
        taken = list(names) if back else [name for name in names if any(name in view.claims for view in views)]
        self._core.reserve(taken, number)
        self._flush()
        while taken:
            owners, foreign = self._bus.names(), self._foreign()
            taken = [name for name in taken if owners.get(name) in foreign]
            if taken:
                if time.monotonic() >= ends:
                    raise DeadlineExceeded(f"{taken[0]} is at another node still", stage="start")
                await asyncio.sleep(_LOOK_EVERY)
