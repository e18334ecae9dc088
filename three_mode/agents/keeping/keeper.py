"""Keeper: the snapshots of all agents of one process, on their way to the store together.

What is kept in one turn of the event loop, and while an earlier write is on its way, is one write: 512 agents that keep
at once cost a few transactions. Of several snapshots of one agent that wait, the last is written, and all who wait for
them are answered by it.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from three_mode.agents.keeping.values import KeepClaim, KeepWrite, KeptState, KeptStore, not_kept
from three_mode.errors import StateNotKept

_CLAIMS = 64  # claims that the store answers at once, each with a snapshot
_WRITE_BYTES = 16 * 1024 * 1024  # bytes of the snapshots of one write; the rest is the next one's


class _WaitingWrite:
    """KeptState that waits to be written, and who waits for it."""

    __slots__ = ("waiters", "write")

    def __init__(self, write: KeepWrite) -> None:
        self.write = write
        self.waiters: list[asyncio.Future[None]] = []


class Keeper:
    """Keeper of one process. `open_store` makes its store, when an agent first claims its place there."""

    def __init__(self, largest: int, open_store: Callable[[], KeptStore]) -> None:
        self.largest = largest
        """Bytes of the largest snapshot."""
        self._open_store = open_store
        self._store: KeptStore | None = None
        self._claims: dict[KeepClaim, asyncio.Future[KeptState | None]] = {}
        self._writes: dict[str, _WaitingWrite] = {}  # by incarnation
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def claim(self, claim: KeepClaim) -> KeptState | None:
        """Claim the place of an agent for an incarnation; return the last snapshot, or raise StateNotKept."""
        self._check_open(claim.agent)
        waiter: asyncio.Future[KeptState | None] = asyncio.get_running_loop().create_future()
        self._claims[claim] = waiter
        self._begin()
        return await waiter

    async def keep(self, write: KeepWrite) -> None:
        """Keep a snapshot; return once it is durable, or raise StateNotKept.

        A caller who is cancelled takes nothing back: the snapshot may be kept.
        """
        self._check_open(write.agent)
        waiting = self._writes.get(write.incarnation)
        if waiting is None:
            waiting = self._writes[write.incarnation] = _WaitingWrite(write)
        waiting.write = write
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.waiters.append(waiter)
        self._begin()
        await waiter

    async def close(self) -> None:
        """Write what waits, and close the store. What tasks that agents left behind keep later is refused."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    def _check_open(self, agent: str) -> None:
        if self._closed:
            raise not_kept(agent, f"the process of {agent} ends, and keeps nothing any more")

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Write and read until nothing waits. Earlier incarnations write before later ones claim."""
        store = self._store = self._store or self._open_store()
        while self._claims or self._writes:
            if self._writes:
                await self._write(store)
            if self._claims:
                await self._claim(store)
        self._task = None

    async def _write(self, store: KeptStore) -> None:
        writes: list[_WaitingWrite] = []
        room = _WRITE_BYTES
        for incarnation, waiting in list(self._writes.items()):
            if writes and len(waiting.write.snapshot.state) > room:
                break
            room -= len(waiting.write.snapshot.state)
            writes.append(self._writes.pop(incarnation))
        try:
            refused = await store.write([waiting.write for waiting in writes])
        except Exception as error:  # noqa: BLE001  # whoever waits gets it
            for waiting in writes:
                _settle(waiting.waiters, None, _of(waiting.write.agent, error))
            return
        for waiting in writes:
            agent = waiting.write.agent
            _settle(waiting.waiters, None, not_kept(agent, refused[agent]) if agent in refused else None)

    async def _claim(self, store: KeptStore) -> None:
        claims = {claim: self._claims.pop(claim) for claim in list(self._claims)[:_CLAIMS]}
        try:
            claimed = await store.claim(list(claims))
        except Exception as error:  # noqa: BLE001  # whoever waits gets it
            for claim, waiter in claims.items():
                _settle([waiter], None, _of(claim.agent, error))
            return
        for claim, waiter in claims.items():
            agent = claim.agent
            if agent in claimed.left:
                self._claims[claim] = waiter
            elif agent in claimed.refused:
                _settle([waiter], None, not_kept(agent, claimed.refused[agent]))
            else:
                _settle([waiter], claimed.found.get(agent), None)


def _of(agent: str, error: Exception) -> Exception:
    """Return the error of one agent where the store failed for all."""
    if not isinstance(error, StateNotKept):
        return error
    return StateNotKept(
        f"{agent}: {error.message}", hint=error.hint, retryable=error.retryable, agent=agent, handler="keep"
    )


def _settle(waiters: Iterable[asyncio.Future[Any]], value: Any, error: Exception | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(value)
