"""Journal: the interface between agents and the world while they are recorded or replayed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from three_mode.agents.calling.caller import Caller
from three_mode.agents.runtime.requests import Incoming
from three_mode.agents.wire.orders import SpawnOrder


class Journal(Protocol):
    """Interface between agents and the world while they are recorded or replayed.

    A recording journal calls `perform` and records its result; a replaying journal returns the recorded result.
    """

    def close(self) -> None:
        """End the journal."""
        ...

    def caller(self, inner: Caller) -> Caller:
        """Return the verbs of one agent, journaled."""
        ...

    def request(self, inner: Incoming, agent: str, turn: int, handler: str, heard: bool) -> Incoming:
        """Record that a message begins, and return a request whose outcome is recorded. `heard`: it is a broadcast."""
        ...

    def now(self, caller: Caller) -> float:
        """Return the seconds since the epoch, journaled."""
        ...

    async def waited(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """Record an effect with a wait, such as an ask."""
        ...

    def at_once(self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], bytes]) -> bytes:
        """Record an effect without a wait, such as a tell."""
        ...

    def parts(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], AsyncIterator[bytes]]
    ) -> AsyncIterator[bytes]:
        """Record a stream part by part."""
        ...

    def made(self, agent: str, order: SpawnOrder, seed: int) -> None:
        """Record that an agent was made or restarted."""
        ...

    def got(self, agent: str, turn: int, handler: str, call: bytes, heard: bool, streams: bool, sender: str) -> None:
        """Record that an agent began with a message."""
        ...

    def ended(self, agent: str, turn: int, outcome: str, content: bytes) -> None:
        """Record an outcome of a message: result, part, error, cancel or cancelled."""
        ...
