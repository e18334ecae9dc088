"""Join a running bus from outside: `async with join("city") as city: await city.ref("scout/7").ask("score", "hi")`."""

from types import TracebackType
from typing import Any, Self

from three_mode.agents.calling import current_bus
from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.refs import Verbs
from three_mode.agents.calling.session import Session, written_options
from three_mode.agents.wire import errors as wire_errors
from three_mode.handling import DEFAULT_WITHIN
from transports.bus import Bus, BusError, BusOptions


def join(
    name: str,
    *,
    options: BusOptions | None = None,
    default_within: float = DEFAULT_WITHIN,
    llm: Any = None,
    policies: Any = None,
) -> "Joined":
    """Join the bus of an orchestrator by its name (`orc.name`); entering raises ModeUnavailable where there is none.

    `options`: how to join, by default without creating a bus. `default_within`: seconds of a call without `within`, by
    default 30. `llm`, `policies`: `ConnectionOptions` and `Policies` of this program's `llm`.
    """
    return Joined(name, options=options, default_within=default_within, llm=llm, policies=policies)


class Joined(Verbs):
    """A program's membership of a bus: `join` makes it, and `async with` enters and leaves the bus."""

    def __init__(
        self,
        name: str,
        *,
        options: BusOptions | None = None,
        default_within: float = DEFAULT_WITHIN,
        llm: Any = None,
        policies: Any = None,
    ) -> None:
        self.name = name
        self._llm_options = written_options(llm, policies)
        self._options = options or BusOptions(create=False, label="joined")
        self._default_within = default_within
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        try:
            bus = await Bus.join(self.name, self._options)
        except BusError as error:
            raise wire_errors.from_bus(error, self.name, "join") from None
        current_bus.joined(bus)
        self._session = Session(bus, self._default_within, self._llm_options)
        self._three_mode_caller = Caller(self._session, "")
        return self

    @property
    def bus(self) -> Bus:
        """The bus, while this program is on it."""
        return self._three_mode_caller.session.bus

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
            current_bus.left(session.bus)
            await session.bus.leave()
