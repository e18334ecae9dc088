"""Store of what agents keep, for all nodes of a cluster: a bucket of JetStream's key-value store.

A key has one record for its agent: the incarnation that may write, and the last snapshot. A record is replaced only at
the revision that was read, so an incarnation that another has followed finds out, whichever node either runs on.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Self, TypeVar

import msgspec

from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.keeping.bus_store import unknown
from three_mode.agents.keeping.values import Claimed, KeepClaim, KeepWrite, KeptState, outranked, removed
from three_mode.errors import ModeUnavailable, StateNotKept
from transports.nats import KeyValues, NatsConnection, NatsError, NatsUnreachable, OtherRevision

T = TypeVar("T")
_AT_ONCE = 64  # keys that are written at once
_OVERHEAD = 1024  # bytes of a message beside the snapshot
_TRIES = 20  # others that may replace a record while one replaces it
_ERA = "era"  # key of the number of the last start; agents have a slash in theirs
_ESCAPED = re.compile(r"[^A-Za-z0-9_/-]")


class KeptRecord(msgspec.Struct, frozen=True, array_like=True):
    """Value of a key."""

    format: int
    """1; it stays in front in all versions."""
    incarnation: str
    rank: str
    snapshot: KeptState | None = None


_record = decoder_for(KeptRecord)


class NatsStore:
    """Store of one node. Its snapshots are those of all nodes."""

    shared = True

    def __init__(self, values: KeyValues) -> None:
        self._values = values
        self.era = 0
        """Number of this start of a node among all that have opened the bucket."""
        self._known: dict[str, tuple[KeptRecord, int]] = {}
        """Agent -> the record that this node wrote last, without its snapshot, and its revision."""
        self._room = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    async def open(cls, connection: NatsConnection, cluster: str, within: float) -> Self:
        """Open the bucket of a cluster, made if it is not there; NatsError where it cannot be."""
        values = KeyValues(connection, f"3m_{cluster}_kept", within)
        await values.open()
        store = cls(values)
        store.era = await store._next_era()
        return store

    async def claim(self, claims: Sequence[KeepClaim]) -> Claimed:
        found: dict[str, KeptState] = {}
        refused: dict[str, str] = {}

        async def one(claim: KeepClaim) -> None:
            record = await self._claim(claim)
            if record is None:
                refused[claim.agent] = outranked(claim.agent)
            elif record.snapshot is not None:
                found[claim.agent] = record.snapshot

        await self._each(one, claims)
        return Claimed(found, refused)

    async def write(self, writes: Sequence[KeepWrite]) -> dict[str, str]:
        refused: dict[str, str] = {}

        async def one(write: KeepWrite) -> None:
            why = await self._write(write)
            if why:
                refused[write.agent] = why

        await self._each(one, writes)
        return refused

    async def remove(self, agents: Iterable[str]) -> None:
        await self._each(self._remove, agents)

    async def close(self) -> None:
        """Do nothing: the connection is the gateway's."""

    async def _next_era(self) -> int:
        for _ in range(_TRIES):
            there = await self._values.get(_ERA)
            last = int(there.value) if there is not None and there.value else 0
            try:
                await self._values.replace(_ERA, str(last + 1).encode(), there.revision if there is not None else 0)
            except OtherRevision:
                continue
            return last + 1
        raise NatsError("other nodes open the bucket all the time")

    # one agent --------------------------------------------------------------------------------------------------------
    async def _claim(self, claim: KeepClaim) -> KeptRecord | None:
        """Give an incarnation its place; return the record, or None where a later one has it."""
        for _ in range(_TRIES):
            there, revision = await self._read(claim.agent)
            if there is not None and there.incarnation != claim.incarnation and there.rank > claim.rank:
                return None
            record = KeptRecord(1, claim.incarnation, claim.rank, there.snapshot if there is not None else None)
            if there is None or there.incarnation != claim.incarnation:  # else the answer to an earlier try was lost
                try:
                    revision = await self._values.replace(key_of(claim.agent), encode(record), revision)
                except OtherRevision:
                    continue
            self._note(claim.agent, record, revision)
            return record
        raise StateNotKept(f"other incarnations of {claim.agent} begin all the time", retryable=True)

    async def _write(self, write: KeepWrite) -> str:
        """Keep a snapshot; return why it was refused."""
        room = await self._values.max_payload() - _OVERHEAD
        if len(write.snapshot.state) > room:
            return f"the state has {len(write.snapshot.state)} bytes, and the NATS server takes {room} (max_payload)"
        record, revision = self._known.get(write.agent, (None, 0))
        for _ in range(_TRIES):
            if record is not None and record.incarnation == write.incarnation:
                kept = msgspec.structs.replace(record, snapshot=write.snapshot)
                try:
                    revision = await self._values.replace(key_of(write.agent), encode(kept), revision)
                except OtherRevision:
                    pass  # of another incarnation, or the answer to an earlier write was lost
                else:
                    self._note(write.agent, record, revision)
                    return ""
            record, revision = await self._read(write.agent)
            if record is None:
                return removed(write.agent)
            if record.incarnation != write.incarnation:
                return outranked(write.agent)
        raise StateNotKept(f"{write.agent} is written by others all the time", retryable=True)

    async def _remove(self, agent: str) -> None:
        """Remove what an incarnation of this node kept, and nothing of a later one elsewhere."""
        record, revision = self._known.pop(agent, (None, 0))
        for _ in range(_TRIES):
            try:
                return await self._values.delete(key_of(agent), revision if record is not None else 0)
            except OtherRevision:
                there, revision = await self._read(agent)
                if record is None or there is None or there.incarnation != record.incarnation:
                    return None
        raise StateNotKept(f"{agent} is written by others all the time", retryable=True)

    async def _read(self, agent: str) -> tuple[KeptRecord | None, int]:
        there = await self._values.get(key_of(agent))
        if there is None or there.value is None:
            return None, there.revision if there is not None else 0
        try:
            return _record(there.value), there.revision
        except (msgspec.MsgspecError, ValueError) as error:
            raise StateNotKept(
                f"what {self._values.bucket} has for {agent} cannot be read: {error}",
                hint="is it of another version of three-mode, or damaged?",
            ) from None

    def _note(self, agent: str, record: KeptRecord, revision: int) -> None:
        self._known[agent] = msgspec.structs.replace(record, snapshot=None), revision

    async def _each(self, work: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
        """Do the same for several agents; StateNotKept where the server did not answer for one."""

        async def one(item: T) -> None:
            async with self._room:
                await work(item)

        outcomes = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise _ours(outcome) from None


def key_of(agent: str) -> str:
    """Return the key of an agent: what a key may not have becomes `=` and two digits for each byte."""
    return _ESCAPED.sub(lambda found: "".join(f"={byte:02x}" for byte in found[0].encode()), agent)


def _ours(error: Any) -> BaseException:
    if isinstance(error, NatsUnreachable):
        return unknown(ModeUnavailable(str(error)))
    return StateNotKept(str(error), retryable=True) if isinstance(error, NatsError) else error
