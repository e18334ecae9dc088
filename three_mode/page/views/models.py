"""Models and money: the figures of all connections that the page can see. Those are the one of its own process, and
those of the hosts of its bus.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.agents.calling.host_answers import host_answers
from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.wire.orders import HOST
from three_mode.connection import ConnectionFigures, LLMConnection
from three_mode.page.models_view import Heard, ModelsMessage, ModelsReadings
from three_mode.page.readers import PageReader
from transports.bus import Bus

WITHIN = 1.0  # seconds that a host has: one that is busy is named in the message, and asked again
HERE = "this endpoint"


class ConnectionSaid(Struct, frozen=True):
    """A report of a host, with the type of its figures."""

    agent: str
    figures: ConnectionFigures


_reports = decoder_for(list[ConnectionSaid])


class ModelsView:
    """The figures, read anew each second while somebody looks."""

    name = "models"
    every = 1.0

    def __init__(self, connection: LLMConnection | None, bus: Bus | None, here: str = HERE) -> None:
        """`here` is the word for the process that the page is in."""
        self._connection, self._bus, self._here = connection, bus, here
        self._readings = ModelsReadings()

    async def tell(self, readers: Sequence[PageReader]) -> None:
        text = msgspec.json.encode(await self.read())
        for reader in readers:
            reader.put(text)

    def left(self) -> None:
        self._readings = ModelsReadings()  # what happens in a second is not known of the time when nobody looked

    async def read(self, within: float = WITHIN) -> ModelsMessage:
        """Ask all of them now."""
        own, answers = await asyncio.gather(self._own(), self._hosts(within))
        heard, silent = list(own), []
        known = {said.figures.source for said in own}
        for host, answer in answers.items():
            label = host.removeprefix(HOST)
            if isinstance(answer, Exception):
                silent.append(label)
                continue
            for said in answer:  # agents may live in this process, and share its connection
                if said.figures.source not in known:
                    known.add(said.figures.source)
                    heard.append(Heard(where=label, agent=said.agent, figures=said.figures))
        return self._readings.read(heard, time.monotonic(), time.time(), silent)

    async def _own(self) -> list[Heard]:
        if self._connection is None:
            return []
        return [Heard(where=self._here, figures=await self._connection.figures())]

    async def _hosts(self, within: float) -> dict[str, Any]:
        if self._bus is None:
            return {}
        hosts = sorted(name for name in self._bus.names() if name.startswith(HOST))
        return await host_answers(self._bus, hosts, "figures", _reports, within)
