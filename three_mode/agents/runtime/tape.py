"""What stands between an agent and the world when its doings are recorded or replayed. Nothing does otherwise."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from three_mode.agents.wire.orders import SpawnOrder


class Tape(Protocol):
    """Recording, `perform` is called and what it gives is written down. Replaying, what was written down is given."""

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
