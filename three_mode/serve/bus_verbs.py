"""The verbs of a bus that this process has joined already, for surfaces that reach agents."""

from types import TracebackType
from typing import Self

from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.refs import Verbs
from three_mode.agents.calling.session import Session
from transports.bus import Bus


class BusVerbs(Verbs):
    """`ref`, `any` and `broadcast` on a bus. Leaving the block leaves the bus joined."""

    def __init__(self, bus: Bus) -> None:
        self._session = Session(bus)
        self._three_mode_caller = Caller(self._session, "")

    @property
    def bus(self) -> Bus:
        """The bus."""
        return self._session.bus

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()
