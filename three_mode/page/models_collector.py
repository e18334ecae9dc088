"""Reads the figures of all connections that the page can see: the one of its own process, and those of the bus's hosts.

It does nothing by itself: the page reads while somebody looks at models.
"""

import time
from typing import Any

from msgspec import Struct

from three_mode.agents.calling.host_answers import host_answers
from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.wire.orders import HOST
from three_mode.connection import ConnectionFigures, LLMConnection
from three_mode.page.models_view import Heard, ModelsMessage, ModelsReadings
from transports.bus import Bus

WITHIN = 1.0  # seconds that a host has: one that is busy is named in the message, and asked again
HERE = "this endpoint"


class _Said(Struct, frozen=True):
    """A report of a host, with the type of its figures."""

    agent: str
    figures: ConnectionFigures


_reports = decoder_for(list[_Said])


class ModelsCollector:
    """Reader of models and money for one page."""

    def __init__(self, connection: LLMConnection | None, bus: Bus | None, here: str = HERE) -> None:
        """`here` is the word for the process that the page is in."""
        self._connection, self._bus, self._here = connection, bus, here
        self._readings = ModelsReadings()

    async def read(self, within: float = WITHIN) -> ModelsMessage:
        """Ask all of them now."""
        heard: list[Heard] = []
        if self._connection is not None:
            heard.append(Heard(where=self._here, figures=await self._connection.figures()))
        silent = []
        for host, answer in (await self._hosts(within)).items():
            label = host.removeprefix(HOST)
            if isinstance(answer, Exception):
                silent.append(label)
            else:
                heard.extend(Heard(where=label, agent=said.agent, figures=said.figures) for said in answer)
        return self._readings.read(heard, time.monotonic(), time.time(), silent)

    async def _hosts(self, within: float) -> dict[str, Any]:
        if self._bus is None:
            return {}
        hosts = sorted(name for name in self._bus.names() if name.startswith(HOST))
        return await host_answers(self._bus, hosts, "figures", _reports, within)
