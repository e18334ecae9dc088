"""A program from outside on a running bus: `async with join("city") as city: await city.ref("scout/7").ask("score", "hi")`."""

from types import TracebackType
from typing import Self

from three_mode.agents.calling import current_bus
from three_mode.agents.calling.caller import Voice
from three_mode.agents.calling.session import Link
from three_mode.agents.calling.verbs import Talking
from three_mode.agents.wire import errors as wire_errors
from three_mode.handling import DEFAULT_WITHIN
from transports.bus import Bus, BusError, BusOptions


class join(Talking):  # noqa: N801  # reads as the verb it is
    """Joins a running bus by its name, or says that there is none."""

    def __init__(self, name: str, *, options: BusOptions | None = None, default_within: float = DEFAULT_WITHIN) -> None:
        self.name = name
        self._options = options or BusOptions(create=False, label="joined")
        self._default_within = default_within
        self._link: Link | None = None

    async def __aenter__(self) -> Self:
        try:
            bus = await Bus.join(self.name, self._options)
        except BusError as error:
            raise wire_errors.from_bus(error, self.name, "join") from None
        current_bus.joined(bus)
        self._link = Link(bus, self._default_within)
        self._voice = Voice(self._link, "")
        return self

    @property
    def bus(self) -> Bus:
        return self._voice.link.bus

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
            current_bus.left(link.bus)
            await link.bus.leave()
