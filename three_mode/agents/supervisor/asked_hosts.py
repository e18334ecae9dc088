"""Hosts that are asked for events, again and again, for as long as somebody wants any."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import encode
from three_mode.agents.supervisor.hosts import Hosts
from three_mode.agents.wire.orders import LISTENED_FOR, EventsOrder, host_name
from transports.bus import BusError, Encoded

_AGAIN = LISTENED_FOR / 3  # seconds until the hosts are told again what is wanted: some of them may be new
_WITHIN = 2.0  # seconds that hosts have to begin


class AskedHosts:
    """Asks all hosts by the order `topic`. `wanted()` are the kinds of events that somebody wants."""

    def __init__(self, session: Session, hosts: Hosts, topic: str, wanted: Callable[[], Iterable[str]]) -> None:
        self._session, self._hosts, self._topic, self._wanted = session, hosts, topic, wanted
        self._asking: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """Note that others are wanted than before."""
        if self._wanted() and (self._asking is None or self._asking.done()):
            self._asking = asyncio.get_running_loop().create_task(self._keep_asking())

    async def ask(self) -> None:
        """Tell the hosts what is wanted, and wait until they send it."""
        order = Encoded(encode(EventsOrder(tuple(sorted(self._wanted())))))

        async def ask(label: str) -> Any:
            await self._session.bus.ask(host_name(label), order, topic=self._topic, within=_WITHIN)

        outcomes = await asyncio.gather(*(ask(host.label) for host in self._hosts.running), return_exceptions=True)
        for outcome in outcomes:  # a host that does not answer is told again in a while
            if isinstance(outcome, BaseException) and not isinstance(outcome, BusError):
                raise outcome

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _keep_asking(self) -> None:
        """Tell the hosts what is wanted, for as long as something is, and once that nothing is."""
        while True:
            await self.ask()
            if not self._wanted():  # whoever comes after this finds the task done
                return
            await asyncio.sleep(_AGAIN)
