"""The tape: an interface between agents and the world, used only while they are recorded or replayed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from three_mode.agents.calling.caller import Caller
from three_mode.agents.runtime.requests import Incoming
from three_mode.agents.wire.orders import SpawnOrder


class Tape(Protocol):
    """What stands between agents and the world while they are recorded or replayed.

    A recording tape calls `perform` and writes down its result; a replaying tape gives back the result that was written down.
    """

    def caller(self, inner: Caller) -> Caller:
        """The verbs of one agent, taped."""
        ...

    def request(self, inner: Incoming, agent: str, turn: int, handler: str, heard: bool) -> Incoming:
        """A message that begins, whose outcome is taped. `heard`: it is a broadcast."""
        ...

    def now(self, caller: Caller) -> float:
        """Seconds since the epoch, taped."""
        ...

    async def waited(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], Awaitable[bytes]]
    ) -> bytes: ...

    def at_once(self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], bytes]) -> bytes: ...

    def parts(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], AsyncIterator[bytes]]
    ) -> AsyncIterator[bytes]: ...

    def made(self, agent: str, order: SpawnOrder, seed: int) -> None: ...

    def got(
        self, agent: str, turn: int, handler: str, call: bytes, heard: bool, streams: bool, sender: str
    ) -> None: ...

    def ended(self, agent: str, turn: int, outcome: str, content: bytes) -> None: ...
