"""Store in the memory of one process: snapshots outlive hosts, and not the orchestrator."""

from collections.abc import Iterable, Sequence

import msgspec

from three_mode.agents.keeping.values import Claimed, KeepClaim, KeepWrite, KeptState, outranked, removed


class KeptPlace(msgspec.Struct, frozen=True):
    """Place of one agent: who may write, and what was written last."""

    incarnation: str
    rank: str
    snapshot: KeptState | None = None


class MemoryStore:
    """Store in memory, without I/O. It is what `KeptStore` says in the fewest words."""

    shared = False

    def __init__(self) -> None:
        self._places: dict[str, KeptPlace] = {}

    async def claim(self, claims: Sequence[KeepClaim]) -> Claimed:
        found: dict[str, KeptState] = {}
        refused: dict[str, str] = {}
        for claim in claims:
            place = self._places.get(claim.agent)
            if place is not None and place.rank > claim.rank:
                refused[claim.agent] = outranked(claim.agent)
                continue
            snapshot = place.snapshot if place is not None else None
            self._places[claim.agent] = KeptPlace(claim.incarnation, claim.rank, snapshot)
            if snapshot is not None:
                found[claim.agent] = snapshot
        return Claimed(found, refused)

    async def write(self, writes: Sequence[KeepWrite]) -> dict[str, str]:
        refused = {}
        for write in writes:
            place = self._places.get(write.agent)
            if place is None or place.incarnation != write.incarnation:
                refused[write.agent] = removed(write.agent) if place is None else outranked(write.agent)
            else:
                self._places[write.agent] = msgspec.structs.replace(place, snapshot=write.snapshot)
        return refused

    async def remove(self, agents: Iterable[str]) -> None:
        for agent in agents:
            self._places.pop(agent, None)

    async def close(self) -> None:
        """Do nothing: the snapshots end with this object."""
