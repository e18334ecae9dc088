"""Supervisor: spawn agents onto hosts, bring them back after a failure, and give them up when they fail too often."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.keeping.hook import state_hook
from three_mode.agents.keeping.values import KeptStore
from three_mode.agents.supervisor.events import (
    AgentGivenUp,
    AgentRestarted,
    HandlerRaised,
    HostBack,
    HostLost,
    SupervisorEvents,
)
from three_mode.agents.supervisor.hosts import Host, Hosts
from three_mode.agents.supervisor.new_code import NewCode
from three_mode.agents.supervisor.overview import Overview
from three_mode.agents.supervisor.placement import place
from three_mode.agents.supervisor.quarantine import Quarantine
from three_mode.agents.supervisor.restart import GivenUp, Restart
from three_mode.agents.supervisor.roster import Entry, Group, Roster
from three_mode.agents.supervisor.spawning import Spawning
from three_mode.agents.wire.agent_news import AgentsDied, AgentsSpawned, AgentsStopped
from three_mode.agents.wire.orders import (
    Failed,
    NamesOrder,
    RaisedReport,
    Spawned,
    SpawnOrder,
    host_name,
)
from three_mode.errors import (
    DeadlineExceeded,
    ModeUnavailable,
    NoSuchAgent,
    PeerLost,
    StateNotKept,
    ThreeModeError,
)
from three_mode.messages import decode_error
from transports.bus import BusError, Encoded

log = logging.getLogger("three_mode.agents")
_spawned = decoder_for(Spawned)
_RETRY_AFTER = 0.05  # seconds until agents whose host ended while they were made are placed again
_NEXT_GROUP_AFTER = 1.0  # seconds that the other groups of a host that came back wait for a slow one
_HOST_ENDS_WITHIN = 5.0  # seconds from a host's leave of the bus until its process has ended


class Supervisor:
    """Supervisor of all agents of one orchestrator.

    Each attempt to bring an agent back has a ticket. A newer ticket, also that of an end of its host, ends older
    attempts.
    """

    def __init__(self, session: Session, hosts: Hosts, roster: Roster, event_log: SupervisorEvents) -> None:
        self.session, self.hosts, self.roster, self.event_log = session, hosts, roster, event_log
        self.overview = Overview(session, hosts, roster)
        self.kept: KeptStore | None = None
        """What agents keep."""
        self._lost_at: dict[str, float] = {}  # host -> when it ended, on time.monotonic()
        self._tickets = itertools.count(1)
        self._stopping: dict[str, asyncio.Future[None]] = {}  # agent -> done once the order to stop it is
        self._quarantine = Quarantine(hosts, roster, event_log)
        self._new_code = NewCode(session, hosts)
        self._spawning = Spawning(session, hosts, roster, self._quarantine, self)

    # spawn, stop, restart ---------------------------------------------------------------------------------------------
    async def spawn(self, kind: type, order: SpawnOrder, restart: Restart, count: int, within: float) -> range:
        """Make `count` agents and return their numbers once they can be called; if one fails, none is made."""
        return await self._spawning.spawn(kind, order, restart, count, within)

    async def place(self, kind: type, order: SpawnOrder, restart: Restart, within: float) -> None:
        """Make the agents of an order, whose numbers another node has given; if one fails, none is made."""
        group = self.roster.join_group(order.group, kind, order, restart, order.numbers)
        await self._spawning.make(group, order.numbers, within)

    async def take_over(self, kind: type, order: SpawnOrder, restart: Restart) -> None:
        """Bring agents back here that were at another node, each as its restart strategy says."""
        group = self.roster.join_group(order.group, kind, order, restart, order.numbers)
        placed = place(order.numbers, self.roster.loads(self.hosts.open_to(group.name)))
        entries = {host: self.roster.add(group, numbers, host) for host, numbers in placed.items()}
        for entry in itertools.chain(*entries.values()):
            entry.state, entry.reason, entry.ticket = "restarting", "its node is lost", next(self._tickets)
        await asyncio.gather(*(self._bring_back(members, host) for host, members in entries.items()))

    async def make_on(
        self, host: str, group: Group, numbers: list[int], within: float, old_code: bool = False
    ) -> dict[str, ThreeModeError]:
        """Have a host make agents that it has not made already; return those that failed, with their errors.

        `old_code`: make them also where the host could not load anew what this process has loaded anew.
        """
        names = [f"{group.name}/{number}" for number in numbers]
        before = [(entry, entry.ticket) for name in names if (entry := self.roster.agents.get(name)) is not None]
        rank = max((entry.rank for entry, _ in before), default="")
        order = msgspec.structs.replace(group.order, numbers=tuple(numbers), rank=rank)
        await self._new_code.bring_to(host, within, old_code)
        for entry, _ in before:
            entry.being_made = True
        done: Spawned = await self._ask(host, "spawn", order, within, _spawned)
        for entry, _ in before:
            entry.being_made = False
        if any(entry.ticket != ticket for entry, ticket in before):
            raise PeerLost(f"{host} ended when it had made them", agent=host_name(host))
        for entry, _ in before:
            if entry.name not in done.failed and self.roster.agents.get(entry.name) is entry:
                entry.host = host
                self._note_running(entry)
        if self.event_log.passing is not None and len(done.failed) < len(names):
            self.event_log.passing(AgentsSpawned(tuple(one for one in names if one not in done.failed), host))
        unwanted = [name for name in names if name not in done.failed and self._unwanted(name)]
        if unwanted:  # stopped meanwhile, perhaps before this order reached the host
            self.hosts.in_background(self.end_on(host, unwanted, "was stopped while it was made"))
        return {name: decode_error(data) for name, data in done.failed.items()}

    async def stop(self, names: list[str], within: float, forget: bool = True) -> None:
        """Stop agents for good. Each host gets the order, also when another one does not answer.

        `forget`: remove what those kept that have ended.
        """
        entries = {name: self.roster.entry(name) for name in names}
        ended = asyncio.get_running_loop().create_future()
        self._stopping.update(dict.fromkeys(names, ended))  # attempts to bring them back wait for the outcome
        by_host = self._by_host(names)
        try:
            outcomes = await asyncio.gather(
                *(self._stop_on(host, chosen, within) for host, chosen in by_host.items()), return_exceptions=True
            )
            if forget:
                outcomes = [
                    await self._forgotten(chosen) if outcome is None else outcome
                    for chosen, outcome in zip(by_host.values(), outcomes, strict=True)
                ]
            for chosen, outcome in zip(by_host.values(), outcomes, strict=True):
                if outcome is None or isinstance(
                    outcome, StateNotKept
                ):  # another order may have stopped them, and their names may be others' since
                    self._remove(name for name in chosen if self.roster.agents.get(name) is entries[name])
                    if self.event_log.passing is not None:
                        self.event_log.passing(AgentsStopped(tuple(chosen)))
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
        finally:
            ended.set_result(None)
            for name in names:
                if self._stopping.get(name) is ended:
                    del self._stopping[name]

    async def _forgotten(self, names: Iterable[str]) -> StateNotKept | None:
        """Remove what agents kept that have ended, before others may have their names; return why it failed."""
        entries = (self.roster.agents.get(name) for name in names)
        keeping = [entry.name for entry in entries if entry is not None and state_hook(entry.group.kind) is not None]
        if self.kept is None or not keeping:
            return None
        try:
            await self.kept.remove(keeping)
        except StateNotKept as error:
            return error
        return None

    async def _stop_on(self, host: str, names: list[str], within: float) -> None:
        """Have a host stop agents. On a host that has ended there is nothing to stop."""
        try:
            await self._ask(host, "stop", NamesOrder(tuple(names)), within, None)
        except (PeerLost, NoSuchAgent) as error:
            if error.agent != host_name(host):
                raise

    async def restart(self, names: list[str], why: str, within: float) -> None:
        """Restart agents in place. One that fails, or takes too long, comes back as its restart strategy says."""
        ticket = next(self._tickets)
        for host, chosen in self._by_host(names).items():
            entries = [self.roster.entry(name) for name in chosen]
            try:
                failed = await self._restart_on(host, chosen, why, within, ticket)
            except DeadlineExceeded as error:
                failed = dict.fromkeys(chosen, error)
            for entry in entries:
                problem = failed.get(entry.name)
                if problem is None:
                    self.event_log.add(AgentRestarted(entry.name, host, why))
                elif entry.state == "running" and not _unknown(problem, entry.name):
                    self._bring_agent_back(entry, _reason(problem), True, ticket)
            for problem in failed.values():
                raise problem
        self.roster.renew(names)

    async def _restart_on(
        self, host: str, names: list[str], why: str, within: float, ticket: int, old_code: bool = False
    ) -> dict[str, ThreeModeError]:
        """Have a host restart agents in place, once a ticket; return those that failed, with their errors."""
        order = NamesOrder(tuple(names), why, ticket)
        await self._new_code.bring_to(host, within, old_code)
        done: Spawned = await self._ask(host, "restart", order, within, _spawned)
        return {name: decode_error(data) for name, data in done.failed.items()}

    async def order(self, topic: str, names: Iterable[str], within: float) -> None:
        """Give an order about agents to their hosts."""
        for host, chosen in self._by_host(names).items():
            await self._ask(host, topic, NamesOrder(tuple(chosen)), within, None)

    def _remove(self, names: Iterable[str]) -> None:
        """Remove agents from the roster, and a quarantine that has none left."""
        names = list(names)
        labels = {entry.host for name in names if (entry := self.roster.agents.get(name)) is not None}
        self.roster.remove(names)
        self._quarantine.release_empty(labels)

    def _by_host(self, names: Iterable[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self.roster.entry(name).host, []).append(name)
        return found

    async def _ask(self, host: str, topic: str, order: Any, within: float, decode: Any) -> Any:
        try:
            reply = await self.session.bus.ask(host_name(host), Encoded(encode(order)), topic=topic, within=within)
        except BusError as error:
            raise self.session.error(error, host_name(host), topic) from None
        return decode(reply.raw) if decode else None

    # agents that fail -------------------------------------------------------------------------------------------------
    def agent_failed(self, report: Failed) -> None:
        """Handle a host's report that an agent ended itself, or failed and has to be restarted."""
        entry = self.roster.agents.get(report.name)
        if entry is None or entry.state == "given up":
            return
        if entry.state != "running":
            entry.early_report = report  # the host's answer that the agent was made is still on its way
            return
        if self.event_log.passing is not None:
            self.event_log.passing(AgentsDied((entry.name,), entry.host, report.reason))
        self._bring_agent_back(entry, report.reason, not report.normal, next(self._tickets))

    def handlers_raised(self, report: RaisedReport) -> None:
        """Add a host's report of exceptions that no caller sees to the events."""
        for one in report.raised:
            self.event_log.add(HandlerRaised(one.name, one.handler, report.host, one.reason, one.times))

    def _note_running(self, entry: Entry) -> None:
        """Note that an agent runs, and handle a failure of it that its host has reported already."""
        entry.state, entry.lost_starts = "running", 0
        report, entry.early_report = entry.early_report, None
        if report is not None:
            self.agent_failed(report)

    def _bring_agent_back(self, entry: Entry, reason: str, failed: bool, ticket: int = 0) -> None:
        """Begin to bring an agent back: restarted in place under the given ticket, or without one made again by its
        host."""
        entry.state, entry.reason, entry.ticket = "restarting", reason, ticket or next(self._tickets)
        self.hosts.in_background(self._retry_until_back(entry, entry.ticket, reason, failed, in_place=ticket != 0))

    async def _retry_until_back(self, entry: Entry, ticket: int, reason: str, failed: bool, in_place: bool) -> None:
        """Try to bring an agent back, within its limits, until it runs, is given up or stopped, or its host ends."""
        while await self._is_awaited(entry, ticket):
            verdict = entry.history.ended(time.monotonic(), failed, reason)
            if isinstance(verdict, GivenUp):
                await self._give_up(entry, verdict)
                return
            await asyncio.sleep(verdict.wait)
            if not await self._is_awaited(entry, ticket):
                return
            begun, host = time.monotonic(), entry.host
            problem = await self._try_once(entry, reason, ticket if in_place else 0)
            if problem is None:
                if self.roster.agents.get(entry.name) is entry:
                    self.event_log.add(AgentRestarted(entry.name, host, reason))
                return
            entry.history.start_took(time.monotonic() - begun)
            in_place = in_place and not _unknown(problem, entry.name)
            reason, failed = _reason(problem), True

    async def _try_once(self, entry: Entry, reason: str, ticket: int) -> ThreeModeError | None:
        """Have the host bring an agent back; return why that failed.

        `ticket`: of a restart in place; 0: make it again.
        """
        host, within = entry.host, entry.group.start_within(self.hosts.respawn_within)
        try:
            async with self.watched(host):
                if not ticket:
                    errors = await self.make_on(host, entry.group, [entry.number], within, old_code=True)
                else:
                    errors = await self._restart_on(host, [entry.name], reason, within, ticket, old_code=True)
        except ThreeModeError as error:
            return error
        problem = errors.get(entry.name)
        if problem is None and ticket and entry.ticket == ticket and entry.state == "restarting":
            self._note_running(entry)
        return problem

    @asynccontextmanager
    async def watched(self, label: str) -> AsyncIterator[None]:
        """Watch an order to a host: if the host is lost, wait for its end. Its successor brings the agents back."""
        host = self.hosts.all.get(label)
        process = host.process if host is not None else None
        try:
            yield
        except PeerLost:
            if process is not None:
                await process.ends(_HOST_ENDS_WITHIN)
            raise

    async def _is_awaited(self, entry: Entry, ticket: int) -> bool:
        """Return whether an agent is still to be brought back: it was not stopped, and its host has not ended since."""
        while (stopping := self._stopping.get(entry.name)) is not None:
            await asyncio.wait([stopping])
        wanted = self.roster.agents.get(entry.name) is entry and entry.state == "restarting"
        return wanted and entry.ticket == ticket

    async def _give_up(self, entry: Entry, verdict: GivenUp) -> None:
        """Leave an agent ended, and have its host drop it."""
        entry.state, entry.reason = "given up", verdict.reason
        self.event_log.add(AgentGivenUp(entry.name, verdict.reason, verdict.failed))
        await self.end_on(entry.host, [entry.name], verdict.reason)
        if not verdict.failed and self.roster.agents.get(entry.name) is entry:
            problem = await self._forgotten([entry.name])
            if problem is not None:
                log.error("%s has ended, and what it kept is still there: %s", entry.name, problem)
            self.roster.remove([entry.name])
        self._quarantine.release_empty([entry.host])

    async def end_on(self, host: str, names: list[str], why: str) -> None:
        """Stop unwanted agents on a host, also those that a blocked host makes only when it is free again."""
        while unwanted := tuple(name for name in names if self._unwanted(name)):
            try:
                await self._ask(host, "stop", NamesOrder(unwanted, why), self.hosts.respawn_within, None)
            except DeadlineExceeded:
                await asyncio.sleep(_RETRY_AFTER)
            except ThreeModeError:
                return  # the host has ended, and the agents with it
            else:
                return

    def _unwanted(self, name: str) -> bool:
        """Return whether an agent was stopped or given up."""
        entry = self.roster.agents.get(name)
        return entry is None or entry.state == "given up"

    # hosts that end ---------------------------------------------------------------------------------------------------
    def host_lost(self, host: Host, member: str, reason: str) -> None:
        """Note that a host process has ended: its agents wait for its successor."""
        affected = self.roster.on_host(host.label)
        entries = [entry for entry in affected if entry.state != "starting"]
        suspects = self._quarantine.suspects(host, entries)
        self.roster.member_ended(member, host.label)
        self._lost_at[host.label] = time.monotonic()
        for entry in affected:
            entry.ticket = next(self._tickets)
        for entry in entries:
            entry.state, entry.reason, entry.early_report = "restarting", reason, None
        self.event_log.add(HostLost(host.label, reason, len(entries)))
        if self.event_log.passing is not None and entries:
            self.event_log.passing(AgentsDied(tuple(entry.name for entry in entries), host.label, reason))
        blocking = host.blocked.agent if host.blocked is not None else ""
        for entry in entries:  # only those that were being made, or blocked the loop, have failed themselves
            if entry in suspects or entry.name == blocking:
                self._charge(entry, host, reason)
        suspects = [entry for entry in suspects if entry.state == "restarting"]
        if suspects and not host.reserved:
            self._to_quarantine(suspects, reason)
        if host.quarantine and all(entry.state == "starting" for entry in self.roster.on_host(host.label)):
            self.hosts.forget(host)  # nobody is left, or a spawn has had its second try
            del self._lost_at[host.label]

    def _charge(self, entry: Entry, host: Host, reason: str) -> None:
        """Count the end of a host as a failure of an agent. One that ends a quarantine while it is made is given up."""
        start = host.ended_in
        if start is None or start.agent == entry.name:
            verdict = entry.history.ended(time.monotonic(), True, reason)
            if start is not None and host.quarantine:
                verdict = GivenUp(f"ended its host while it was made, and then a host of its own: {reason}", True)
            if isinstance(verdict, GivenUp):
                entry.state, entry.reason = "given up", verdict.reason
                self.event_log.add(AgentGivenUp(entry.name, verdict.reason, True))

    def _to_quarantine(self, entries: list[Entry], reason: str) -> None:
        """Have agents made again in hosts of their own, one for each group."""
        groups: dict[str, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.group.name, []).append(entry)
        for members in groups.values():
            host = self._quarantine.open(members[0].name, len(members), reason)
            for entry in members:
                entry.host, entry.lost_starts = host.label, 0
            self.hosts.in_background(self._bring_back_in_quarantine(members, host))

    async def _bring_back_in_quarantine(self, entries: list[Entry], host: Host) -> None:
        """Make agents again in a new host of their own; give them up if it cannot be started."""
        try:
            await self.hosts.start_one(host)
        except (ThreeModeError, OSError) as error:
            for entry in entries:
                if entry.state == "restarting" and entry.host == host.label:
                    entry.state, entry.reason = "given up", f"{host.label} cannot be started: {error}"
                    self.event_log.add(AgentGivenUp(entry.name, entry.reason, True))
            return
        await self._bring_back([entry for entry in entries if entry.host == host.label], host.label)
        self._quarantine.release_empty([host.label])

    async def host_back(self, host: Host) -> None:
        """Bring the agents of a host back on the new process that runs under its label."""
        await self._bring_back(self.roster.on_host(host.label), host.label)
        lost_at = self._lost_at.pop(host.label, time.monotonic())
        count = sum(entry.state == "running" for entry in self.roster.on_host(host.label))
        self.event_log.add(HostBack(host.label, count, time.monotonic() - lost_at))

    async def host_given_up(self, host: Host) -> None:
        """Move the agents of a host that was given up to the other hosts; without one, give them up."""
        entries = self.roster.on_host(host.label)
        try:
            placed = place(range(len(entries)), self.roster.loads(self.hosts.open_to(host.reserved)))
        except ModeUnavailable:
            for entry in entries:
                entry.state, entry.reason = "given up", f"{host.label} was given up, and no other host runs"
                self.event_log.add(AgentGivenUp(entry.name, entry.reason, True))
            return
        for other, chosen in placed.items():
            for number in chosen:
                entries[number].host = other
        moves = (self._bring_back([entries[number] for number in chosen], other) for other, chosen in placed.items())
        await asyncio.gather(*moves)

    async def _bring_back(self, entries: list[Entry], host: str) -> None:
        """Make agents again on a host: a group at a time, and then one by one those that fail, within their limits."""
        groups: dict[tuple[str, str], list[Entry]] = {}
        for entry in entries:
            if entry.state != "restarting":
                continue
            if entry.group.restart.strategy == "temporary":
                entry.state, entry.reason = "given up", entry.reason or "its host ended"
                self.event_log.add(AgentGivenUp(entry.name, entry.reason, True))
            else:
                groups.setdefault((entry.group.name, entry.rank), []).append(entry)
        async with asyncio.TaskGroup() as tasks:
            for members in groups.values():
                task = tasks.create_task(self._bring_back_group(members, host))
                await asyncio.wait([task], timeout=_NEXT_GROUP_AFTER)

    async def _bring_back_group(self, members: list[Entry], host: str) -> None:
        """Make agents of one group again on a host."""
        begun, tickets = time.monotonic(), [entry.ticket for entry in members]
        numbers = [entry.number for entry in members if entry.name not in self._stopping]
        failed: dict[str, ThreeModeError] = {}
        try:
            async with self.watched(host):
                within = members[0].group.start_within(self.hosts.respawn_within)
                failed = await self.make_on(host, members[0].group, numbers, within, old_code=True)
        except ThreeModeError as error:
            failed = dict.fromkeys((entry.name for entry in members), error)
        for entry, ticket in zip(members, tickets, strict=True):
            if self.roster.agents.get(entry.name) is entry and (entry.state, entry.ticket) == ("restarting", ticket):
                entry.history.start_took(time.monotonic() - begun)
                problem = failed.get(entry.name)
                self._bring_agent_back(entry, _reason(problem) if problem is not None else entry.reason, True)


def _reason(error: ThreeModeError) -> str:
    return f"{type(error).__name__}: {error.message}"


def _unknown(error: ThreeModeError, name: str) -> bool:
    """Return whether a host says that it has no such agent."""
    return isinstance(error, NoSuchAgent) and error.agent == name
