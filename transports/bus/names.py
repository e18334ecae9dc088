"""Names on the bus: register this member's, find the members behind others', wait until they appear."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from transports.bus.asking.requests import Request
from transports.bus.asking.serving import Serving, Taker
from transports.bus.carrier import Carrier
from transports.bus.deadlines import check_seconds
from transports.bus.errors import BadAddress, BusError, DeadlineExceeded, NameTaken, NoSuchName, PeerLost
from transports.bus.events import DirectoryChange, NamesChanged
from transports.bus.topics import check_name
from transports.bus.watching import Watches

R = TypeVar("R", bound=Request)


class Names:
    """Names of one bus, as one member sees them. `ended()` is the error that ended the member, or None."""

    def __init__(
        self,
        bus: str,
        carrier: Carrier,
        serving: Serving,
        watches: Watches,
        ended: Callable[[], BusError | None],
    ) -> None:
        self._bus, self._carrier, self._ended = bus, carrier, ended
        self._handlers, self._watches = serving.handlers, watches

    def _check(self) -> None:
        error = self._ended()
        if error is not None:
            raise error

    async def register(self, names: str | Iterable[str], handler: Callable[[R], Any], request: type[R]) -> None:
        """Register all names, or none, and hand requests to them to `handler` as a `request`."""
        self._check()
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            check_name(name)
        for name in self._handlers.known(wanted):
            raise BadAddress(f"the name {name!r} is registered here already")
        self._handlers.put(wanted, Taker(handler, request))
        try:
            await self._carrier.register(wanted)
        except BaseException as error:
            for name in wanted:
                self._handlers.pop(name, None)
            if self._ended() is None and not isinstance(error, NameTaken):  # the registry may still register them
                self._carrier.withdraw(wanted)
            raise

    async def unregister(self, names: str | Iterable[str]) -> None:
        """Give names back; requests that arrive until the registry has confirmed are still handled."""
        self._check()
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            check_name(name)
        await self._carrier.unregister(wanted)
        for name in wanted:
            self._handlers.pop(name, None)

    async def wait_for(self, names: str | Iterable[str], within: float) -> None:
        """Wait until all names are registered, by any member; DeadlineExceeded after `within` seconds."""
        check_seconds(within)
        owners = self._carrier.directory.names
        wanted = {names} if isinstance(names, str) else set(names)
        missing = {name for name in wanted if name not in owners}
        changed = asyncio.Event()

        def on_change(change: DirectoryChange) -> None:
            if isinstance(change, NamesChanged):
                missing.difference_update(change.added)
                missing.update(wanted.intersection(change.removed))
                changed.set()

        watch = self._watches.add(on_change)
        try:
            async with asyncio.timeout(within):
                while missing:
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            some = ", ".join(sorted(missing)[:5])
            raise DeadlineExceeded(f"{len(missing)} names did not appear within {within:g} s: {some}") from None
        finally:
            watch.close()

    def member(self, to: str) -> str:
        """Return the id of the member behind a name, or the id itself if `to` is one."""
        error = self._ended()
        if error is not None:
            raise error
        directory = self._carrier.directory
        member = directory.names.get(to)
        if member is not None:
            return member
        if to[:1] == "@":
            if to in directory.members:
                return to
            raise PeerLost(f"member {to} is not on the bus (any more)", to)
        raise NoSuchName(f"nobody on the bus {self._bus!r} is called {to!r}")
