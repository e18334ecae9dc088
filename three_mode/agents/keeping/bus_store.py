"""Store of another process of the bus: the orchestrator's, which hosts reach by orders to it."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.keeping.values import Claimed, KeepClaim, KeepWrite, KeptState, KeptStore
from three_mode.agents.wire.orders import ORCHESTRATOR
from three_mode.errors import StateNotKept, ThreeModeError
from transports.bus import BusError, Encoded

CLAIM, WRITE = "claim_kept", "keep"  # orders that the orchestrator takes
_ORDER_BYTES = 4 * 1024 * 1024  # of snapshots in one order, or answer
_claims = decoder_for(list[KeepClaim])
_writes = decoder_for(list[KeepWrite])
_claimed = decoder_for(Claimed)
_refused = decoder_for(dict[str, str])


class BusStore:
    """The orchestrator's store, for its hosts."""

    shared = False

    def __init__(self, session: Session, within: float) -> None:
        self._session, self._within = session, within

    async def claim(self, claims: Sequence[KeepClaim]) -> Claimed:
        return _claimed(await self._ask(CLAIM, claims))  # type: ignore[no-any-return]

    async def write(self, writes: Sequence[KeepWrite]) -> dict[str, str]:
        refused: dict[str, str] = {}
        for part in _parts(writes):
            refused.update(_refused(await self._ask(WRITE, part)))
        return refused

    async def remove(self, agents: Sequence[str]) -> None:
        raise StateNotKept("the orchestrator removes what its agents kept")

    async def close(self) -> None:
        """Do nothing: the store is the orchestrator's."""

    async def _ask(self, order: str, what: Sequence[Any]) -> bytes:
        try:
            reply = await self._session.bus.ask(ORCHESTRATOR, Encoded(encode(what)), topic=order, within=self._within)
        except BusError as error:
            failure = self._session.error(error, ORCHESTRATOR, order)
        else:
            return reply.raw
        if isinstance(failure, StateNotKept):
            raise failure
        if order == CLAIM:
            raise StateNotKept(f"what was kept could not be read: {failure.message}", retryable=True)
        raise unknown(failure)


class OrdersOfHosts:
    """What hosts ask of the orchestrator's store."""

    def __init__(self, store: KeptStore) -> None:
        self._store = store

    async def claim(self, raw: bytes) -> Claimed:
        """Answer claims, as many as there is room for."""
        claims: list[KeepClaim] = _claims(raw)
        claimed, room = await self._store.claim(claims), _ORDER_BYTES
        found: dict[str, KeptState] = {}
        for agent, snapshot in claimed.found.items():
            if found and len(snapshot.state) > room:
                break
            room -= len(snapshot.state)
            found[agent] = snapshot
        left = tuple(agent for agent in claimed.found if agent not in found)
        return msgspec.structs.replace(claimed, found=found, left=claimed.left + left)

    async def write(self, raw: bytes) -> dict[str, str]:
        """Keep snapshots; answer with those that were refused."""
        return await self._store.write(_writes(raw))


def unknown(failure: ThreeModeError) -> StateNotKept:
    """Return the error of a keep of whose outcome nobody knows."""
    return StateNotKept(
        f"nobody knows whether the state was kept: {failure.message}", hint="keep it again", retryable=True
    )


def _parts(writes: Sequence[KeepWrite]) -> Iterator[Sequence[KeepWrite]]:
    part: list[KeepWrite] = []
    room = _ORDER_BYTES
    for write in writes:
        if part and len(write.snapshot.state) > room:
            yield part
            part, room = [], _ORDER_BYTES
        part.append(write)
        room -= len(write.snapshot.state)
    if part:
        yield part
