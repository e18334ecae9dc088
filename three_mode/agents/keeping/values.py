"""What stores of snapshots take and give, and why they refuse.

An incarnation of an agent is one life of it, from `__init__` to its end or restart. It claims the agent's place in the
store before its first message, and then it alone may write there, until a later one claims it. So an earlier one that
still runs somewhere, forgotten, paused, or cut off, overwrites nothing.
"""

import zlib
from collections.abc import Sequence
from typing import Protocol

import msgspec

from three_mode.errors import StateNotKept


class KeptState(msgspec.Struct, frozen=True, array_like=True):
    """State of an agent."""

    version: int
    """`keep_version` of the class that kept it."""
    state: bytes
    """The state, encoded as an argument of a handler is."""
    check: int
    """CRC of the state: neither SQLite nor a server notices a flipped bit."""

    @classmethod
    def of(cls, version: int, state: bytes) -> "KeptState":
        """Return a snapshot with its checksum."""
        return cls(version, state, zlib.crc32(state))

    @property
    def whole(self) -> bool:
        """Whether it is as it was written."""
        return zlib.crc32(self.state) == self.check


class KeepClaim(msgspec.Struct, frozen=True, array_like=True):
    """An incarnation begins, and wants the last snapshot."""

    agent: str
    incarnation: str
    """Name of the incarnation, that no other one has."""
    rank: str = ""
    """Its place among all incarnations, as `rank_of` writes it, where somebody numbers them. One of a lower rank than
    the last claim gets nothing. Empty: the later claim is the later incarnation."""


class Claimed(msgspec.Struct, frozen=True, array_like=True):
    """Answer to claims. Agents that are in none of its parts have no snapshot."""

    found: dict[str, KeptState] = {}
    refused: dict[str, str] = {}
    """Agent -> why it may not claim its place."""
    left: tuple[str, ...] = ()
    """Agents that are to be claimed again: the answer was long enough."""


class KeepWrite(msgspec.Struct, frozen=True, array_like=True):
    """An incarnation keeps a snapshot."""

    agent: str
    incarnation: str
    snapshot: KeptState


class KeptStore(Protocol):
    """Interface of a store. Where it cannot work at all, it raises StateNotKept."""

    shared: bool
    """Whether the other nodes of a cluster have the same snapshots."""

    async def claim(self, claims: Sequence[KeepClaim]) -> Claimed:
        """Give places to incarnations, and return the last snapshots."""
        ...

    async def write(self, writes: Sequence[KeepWrite]) -> dict[str, str]:
        """Keep snapshots. Returns once they are durable: agent -> why its snapshot was refused."""
        ...

    async def remove(self, agents: Sequence[str]) -> None:
        """Remove agents with their snapshots: a later agent of the name begins anew."""
        ...

    async def close(self) -> None:
        """End the use of the store."""
        ...


def rank_of(number: int, node: str) -> str:
    """Return the rank of an incarnation that a node numbers; ranks are in the order of (number, node)."""
    return f"{number:020d} {node}"


def outranked(agent: str) -> str:
    """Say why an earlier incarnation may not write, or claim."""
    return f"a later incarnation of {agent} has begun, and this one keeps nothing any more"


def removed(agent: str) -> str:
    """Say why an incarnation may not write that was stopped for good."""
    return f"{agent} was stopped for good, and what it kept was removed"


def not_kept(agent: str, why: str) -> StateNotKept:
    """Return the error of an agent whose snapshot a store refused."""
    return StateNotKept(why, agent=agent, handler="keep")
