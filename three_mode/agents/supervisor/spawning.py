"""Spawning: make the agents of one order on the hosts, all or none, within its time."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from three_mode.agents.calling.session import Session
from three_mode.agents.supervisor.hosts import Host, Hosts
from three_mode.agents.supervisor.placement import place
from three_mode.agents.supervisor.quarantine import Quarantine
from three_mode.agents.supervisor.restart import Restart
from three_mode.agents.supervisor.roster import Group, Roster
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import DeadlineExceeded, PeerLost, ThreeModeError
from transports.bus import BusError
from transports.bus import DeadlineExceeded as BusDeadlineExceeded

_RETRY_AFTER = 0.05  # seconds until agents whose host ended while they were made are placed again
_CHECK_EVERY = 0.5  # seconds between checks whether agents that are not visible yet are still wanted
_GRACE = 0.25  # seconds beyond the deadline, to see agents that were made at the last moment, or to end them
_UNDO_WITHIN = 5.0  # seconds that the hosts have at most to end the agents of a spawn that failed
_STARTS = ("__init__", "restored", "started")
_LOSSES = 2  # hosts that one spawn may lose; then it goes to a quarantine


class HostOrders(Protocol):
    """Interface of the supervisor: orders to its hosts."""

    async def make_on(
        self, host: str, group: Group, numbers: list[int], within: float
    ) -> dict[str, ThreeModeError]: ...
    async def end_on(self, host: str, names: list[str], why: str) -> None: ...
    def watched(self, label: str) -> AbstractAsyncContextManager[None]: ...


class Spawning:
    """Maker of new agents."""

    def __init__(
        self, session: Session, hosts: Hosts, roster: Roster, quarantine: Quarantine, orders: HostOrders
    ) -> None:
        self._session, self._hosts, self._roster = session, hosts, roster
        self._quarantine, self._orders = quarantine, orders

    async def spawn(self, kind: type, order: SpawnOrder, restart: Restart, count: int, within: float) -> range:
        """Make `count` agents and return their numbers once they can be called; if one fails, none is made."""
        begun = time.monotonic()
        ends = begun + within
        group, numbers = self._roster.open_group(order.group, kind, order, restart, count)
        try:
            await self._spread(group, numbers, ends)
            group.start_took = max(group.start_took, time.monotonic() - begun)
            await self._wait_visible(group, numbers, ends)
        except BaseException:
            await self._undo(group, numbers, ends)
            raise
        return numbers

    async def _spread(self, group: Group, numbers: Sequence[int], ends: float) -> None:
        """Make agents on the hosts. Those of a host that ends meanwhile are placed again, as long as there is time."""
        left, losses, culprit = list(numbers), 0, self._quarantine.culprit(group)
        why = f"{culprit} ended a host while it was made" if culprit else ""
        while left and not culprit:
            if self._hosts.awaited(group.name) and time.monotonic() < ends:
                await asyncio.sleep(_RETRY_AFTER)
                continue
            placed = place(left, self._roster.loads(self._hosts.open_to(group.name)))
            for label, chosen in placed.items():
                self._roster.add(group, chosen, label)
            hosts = [self._hosts.all[label] for label in placed]
            outcomes = await asyncio.gather(
                *(self._make(host, group, chosen, ends) for host, chosen in zip(hosts, placed.values(), strict=True)),
                return_exceptions=True,
            )
            left = []
            for host, chosen, outcome in zip(hosts, placed.values(), outcomes, strict=True):
                if not isinstance(outcome, PeerLost) or time.monotonic() >= ends:
                    _raise_first(outcome)
                    continue
                left += chosen
                of_another = outcome.handler in _STARTS and outcome.agent not in _names(group, chosen)
                losses += not of_another
                if host.reserved and losses == _LOSSES:
                    raise _crashed(outcome, group)  # it has had a host of its own from the beginning
                if not host.reserved and not culprit and not of_another:
                    culprit = outcome.agent or "" if outcome.handler in _STARTS else ""
                    culprit = culprit or (f"{group.name}/{chosen[0]}" if losses == _LOSSES else "")
                    why = outcome.message
            if left and not culprit:
                await asyncio.sleep(_RETRY_AFTER)
        if left:
            await self._make_in_quarantine(group, left, ends, culprit, why)

    async def _make(self, host: Host, group: Group, numbers: list[int], ends: float) -> dict[str, ThreeModeError]:
        """Have a host make agents. PeerLost once its process has ended, with what it was making as the `handler`."""
        process = host.process
        try:
            async with self._orders.watched(host.label):
                return await self._orders.make_on(host.label, group, numbers, max(0.001, ends - time.monotonic()))
        except PeerLost as error:
            start = process.ended_in if process is not None else None
            if start is None:
                raise
            reason = f"{host.label} ended in {start}: {process.exit_reason if process is not None else ''}"
            raise PeerLost(reason, agent=start.agent, handler=start.hook) from error
        except DeadlineExceeded as error:
            start = process.starting() if process is not None else None
            if start is None:
                raise
            raise self._blocked(host.label, group, str(start), start.agent, error) from None

    def _blocked(self, label: str, group: Group, start: str, agent: str, error: DeadlineExceeded) -> DeadlineExceeded:
        """Return the error of a spawn whose time ran out while its host was held by the start of an agent."""
        entry = self._roster.agents.get(agent)
        kind = (entry.group if entry is not None else group).kind.__qualname__
        return DeadlineExceeded(
            f"{group.name} was not made in time: {start} ({kind}) has not returned, and blocks {label}",
            hint="an __init__ holds the event loop of its host: let it return, and wait in `async def started`",
            stage="start",
        )

    async def _make_in_quarantine(self, group: Group, numbers: list[int], ends: float, culprit: str, why: str) -> None:
        """Make agents in a host of their own. If they end that one too, the order is given up."""
        self._quarantine.remember(group, culprit)
        host = self._quarantine.open(culprit, len(numbers), why)
        self._roster.add(group, numbers, host.label)
        try:
            async with asyncio.timeout(max(0.001, ends - time.monotonic())):
                await self._hosts.start_one(host)
        except TimeoutError:
            raise DeadlineExceeded(f"{group.name} was not made in time: {why}", stage="start") from None
        try:
            _raise_first(await self._make(host, group, numbers, ends))
        except PeerLost as error:
            raise _crashed(error, group) from None
        self._quarantine.forgive(group)

    async def _wait_visible(self, group: Group, numbers: Iterable[int], ends: float) -> None:
        """Wait until the directory of this process has the agents, so that the next call finds them."""
        ends, agents = max(ends, time.monotonic() + _GRACE), self._roster.agents
        names = [f"{group.name}/{number}" for number in numbers]
        while True:  # an agent that ended itself at once never becomes visible
            names = [name for name in names if name in agents and agents[name].state != "given up"]
            left = ends - time.monotonic()
            try:
                await self._session.bus.wait_for(names, within=min(left, _CHECK_EVERY))
            except BusError as error:
                if left <= _CHECK_EVERY or not isinstance(error, BusDeadlineExceeded):
                    raise self._session.error(error, group.name, "spawn") from None
            else:
                return

    async def _undo(self, group: Group, numbers: Iterable[int], ends: float) -> None:
        """End the agents of a spawn that failed. A host that is blocked is told as soon as it listens again."""
        by_host: dict[str, list[str]] = {}
        for number in numbers:
            entry = self._roster.agents.get(f"{group.name}/{number}")
            if entry is not None:
                by_host.setdefault(entry.host, []).append(entry.name)
        self._roster.remove([name for names in by_host.values() for name in names])
        works = (self._orders.end_on(host, names, "its spawn failed") for host, names in by_host.items())
        tasks = [task for work in works if (task := self._hosts.in_background(work)) is not None]
        try:
            if tasks:
                left = min(_UNDO_WITHIN, max(_GRACE, ends - time.monotonic()))
                await asyncio.wait(tasks, timeout=left)
        finally:
            self._quarantine.release_empty(by_host)


def _raise_first(outcome: dict[str, ThreeModeError] | BaseException) -> None:
    """Raise the error of an order that failed, or of the first of its agents that did."""
    if isinstance(outcome, BaseException):
        raise outcome
    for error in outcome.values():
        raise error


def _names(group: Group, numbers: Iterable[int]) -> set[str]:
    return {f"{group.name}/{number}" for number in numbers}


def _crashed(lost: PeerLost, group: Group) -> PeerLost:
    """Return the error of an order that has ended a host of its own, too."""
    kind = group.kind.__qualname__
    return PeerLost(
        f"{group.name} ({kind}) ended its host process while it was made, and so it did in a host of its own: "
        f"{lost.message}",
        hint=f"make a {kind} in a program of its own to see why",
        agent=lost.agent,
        handler=lost.handler,
        retryable=False,
    )
