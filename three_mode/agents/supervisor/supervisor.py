"""Keeping agents alive: spawning them onto hosts, bringing them back after a failure, giving them up when it comes too often."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.supervisor.events import AgentGivenUp, AgentRestarted, HostBack, HostLost, SupervisorEvents
from three_mode.agents.supervisor.hosts import Host, Hosts
from three_mode.agents.supervisor.placement import place
from three_mode.agents.supervisor.restart import GivenUp, Restart
from three_mode.agents.supervisor.roster import Entry, Group, Roster
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import (
    AgentReport,
    Failed,
    HostReport,
    NamesOrder,
    Spawned,
    SpawnOrder,
    Table,
    host_name,
)
from three_mode.errors import DeadlineExceeded, ModeUnavailable, NoSuchAgent, PeerLost, ThreeModeError
from three_mode.messages import decode_error
from transports.bus import BusError, Encoded
from transports.bus import DeadlineExceeded as BusDeadlineExceeded

_spawned = decoder_for(Spawned)
_report = decoder_for(tuple[HostReport, tuple[AgentReport, ...]])
_dead_letters = decoder_for(tuple[int, tuple[DeadLetter, ...]])
_AGAIN_AFTER = 0.05  # seconds until agents whose host ended while they were made are placed again
_NEXT_GROUP_AFTER = 1.0  # seconds that the groups of a host which came back wait for one that is slow to start
_HOST_ENDS_WITHIN = 5.0  # seconds from when a host is off the bus until its process has ended
_LOOK_AGAIN = 0.5  # seconds until it is looked whether agents that are not visible yet are still wanted


class Supervisor:
    def __init__(self, session: Session, hosts: Hosts, roster: Roster, event_log: SupervisorEvents) -> None:
        self.session, self.hosts, self.roster, self.event_log = session, hosts, roster, event_log
        self._fell: dict[str, float] = {}
        self._tickets = itertools.count(1)
        self._stopping: dict[str, asyncio.Future[None]] = {}

    # making and ending ------------------------------------------------------------------------------------------------
    async def spawn(self, kind: type, order: SpawnOrder, restart: Restart, count: int, within: float) -> range:
        roster = self.roster
        group, numbers = roster.open_group(order.group, kind, order, restart, count)
        try:
            await self._spread(group, numbers, time.monotonic() + within)
            await self._visible(group, numbers, within)
        except BaseException:
            await self._undo(group, numbers)
            raise
        return numbers

    async def _spread(self, group: Group, numbers: Sequence[int], ends: float) -> None:
        """Makes them on the hosts. Those of a host that ends meanwhile are placed again, as long as there is time."""
        left: Sequence[int] = numbers
        while left:
            if self.hosts.awaited(group.name) and time.monotonic() < ends:
                await asyncio.sleep(_AGAIN_AFTER)
                continue
            placed = place(left, self.roster.loads(self.hosts.open_to(group.name)))
            for host, chosen in placed.items():
                self.roster.enter(group, chosen, host)
            within = max(0.001, ends - time.monotonic())
            outcomes = await asyncio.gather(
                *(self._spawn_on(host, group, chosen, within) for host, chosen in placed.items()),
                return_exceptions=True,
            )
            left = []
            for chosen, outcome in zip(placed.values(), outcomes, strict=True):
                if isinstance(outcome, PeerLost) and time.monotonic() < ends:
                    left.extend(chosen)
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    for error in outcome.values():
                        raise error
            if left:
                await asyncio.sleep(_AGAIN_AFTER)

    async def _visible(self, group: Group, numbers: Iterable[int], within: float) -> None:
        """Returns when this process's directory has them, so that the next call finds them."""
        ends, agents = time.monotonic() + within, self.roster.agents
        names = [f"{group.name}/{number}" for number in numbers]
        while True:  # one that ends itself at once may have come and gone
            names = [name for name in names if name in agents and agents[name].state != "given up"]
            left = ends - time.monotonic()
            try:
                await self.session.bus.wait_for(names, within=min(left, _LOOK_AGAIN))
            except BusError as error:
                if left <= _LOOK_AGAIN or not isinstance(error, BusDeadlineExceeded):
                    raise self.session.error(error, group.name, "spawn") from None
            else:
                return

    async def _undo(self, group: Group, numbers: Iterable[int]) -> None:
        names = [f"{group.name}/{number}" for number in numbers]
        by_host = self._by_host(name for name in names if name in self.roster.agents)
        stops = [self._ask(host, "stop", NamesOrder(tuple(chosen)), 5.0, None) for host, chosen in by_host.items()]
        try:  # what failed is being reported; a host that has gone, or does not answer, is no reason to spare the others
            await asyncio.gather(*stops, return_exceptions=True)
        finally:
            self.roster.remove(names)

    async def _spawn_on(self, host: str, group: Group, numbers: list[int], within: float) -> dict[str, ThreeModeError]:
        """Has a host make these, where it has not already; returns those that failed."""
        order = msgspec.structs.replace(group.order, numbers=tuple(numbers))
        names = [f"{group.name}/{number}" for number in numbers]
        before = [(entry, entry.ticket) for name in names if (entry := self.roster.agents.get(name)) is not None]
        done: Spawned = await self._ask(host, "spawn", order, within, _spawned)
        if any(entry.ticket != ticket for entry, ticket in before):
            raise PeerLost(f"{host} ended when it had made them", agent=host_name(host))
        for entry, _ in before:
            if entry.name not in done.failed and self.roster.agents.get(entry.name) is entry:
                entry.host = host
                self._runs(entry)
        unwanted = [name for name in names if name not in done.failed and self._unwanted(name)]
        if unwanted:  # they were stopped meanwhile, perhaps before this order came to the host
            self.hosts.in_background(self._end_on(host, unwanted, "was stopped while it was made"))
        return {name: decode_error(data) for name, data in done.failed.items()}

    async def stop(self, names: list[str], within: float) -> None:
        for name in names:
            self.roster.entry(name)
        ended = asyncio.get_running_loop().create_future()
        self._stopping.update(dict.fromkeys(names, ended))  # what brings one back waits for what comes of this
        try:
            await self.order("stop", names, within)
            self.roster.remove(names)
        finally:
            ended.set_result(None)
            for name in names:
                if self._stopping.get(name) is ended:
                    del self._stopping[name]

    async def restart(self, names: list[str], why: str, within: float) -> None:
        """Makes agents anew in place. Where that fails, or takes too long, their strategies say what becomes of them."""
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
                    self._return(entry, _reason(problem), True, ticket)
            for problem in failed.values():
                raise problem

    async def _restart_on(
        self, host: str, names: list[str], why: str, within: float, ticket: int
    ) -> dict[str, ThreeModeError]:
        """Has a host make these anew, once for a ticket; returns those that failed."""
        order = NamesOrder(tuple(names), why, ticket)
        done: Spawned = await self._ask(host, "restart", order, within, _spawned)
        return {name: decode_error(data) for name, data in done.failed.items()}

    async def order(self, topic: str, names: Iterable[str], within: float) -> None:
        for host, chosen in self._by_host(names).items():
            await self._ask(host, topic, NamesOrder(tuple(chosen)), within, None)

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
    def agent_failed(self, told: Failed) -> None:
        """A host says that an agent of it ended itself, or wants to be made anew."""
        entry = self.roster.agents.get(told.name)
        if entry is None or entry.state == "given up":
            return
        if entry.state != "running":
            entry.told = told  # the answer that it was made is still on its way
            return
        self._return(entry, told.reason, not told.normal, next(self._tickets))

    def _runs(self, entry: Entry) -> None:
        entry.state = "running"
        told, entry.told = entry.told, None
        if told is not None:
            self.agent_failed(told)

    def _return(self, entry: Entry, reason: str, failed: bool, ticket: int = 0) -> None:
        """Begins to bring an agent back: in place where a ticket for that is given, else as a new agent of its host."""
        entry.state, entry.reason, entry.ticket = "restarting", reason, ticket or next(self._tickets)
        self.hosts.in_background(self._again(entry, entry.ticket, reason, failed, in_place=ticket != 0))

    async def _again(self, entry: Entry, ticket: int, reason: str, failed: bool, in_place: bool) -> None:
        """Makes one agent anew, within its limits. Ends when it runs, is given up or stopped, or when its host has ended."""
        while await self._away(entry, ticket):
            verdict = entry.history.ended(time.monotonic(), failed, reason)
            if isinstance(verdict, GivenUp):
                await self._give_up(entry, verdict)
                return
            await asyncio.sleep(verdict.wait)
            if not await self._away(entry, ticket):
                return
            begun, host = time.monotonic(), entry.host
            problem = await self._made_anew(entry, reason, ticket if in_place else 0)
            if problem is None:
                if self.roster.agents.get(entry.name) is entry:
                    self.event_log.add(AgentRestarted(entry.name, host, reason))
                return
            entry.history.start_took(time.monotonic() - begun)
            in_place = in_place and not _unknown(problem, entry.name)
            reason, failed = _reason(problem), True

    async def _made_anew(self, entry: Entry, reason: str, ticket: int) -> ThreeModeError | None:
        """Has its host make an agent anew; returns why that failed. `ticket`: of a restart in place, 0 for a new agent."""
        host, within = entry.host, self.hosts.respawn_within
        try:
            async with self._watched(host):
                if not ticket:
                    errors = await self._spawn_on(host, entry.group, [entry.number], within)
                else:
                    errors = await self._restart_on(host, [entry.name], reason, within, ticket)
        except ThreeModeError as error:
            return error
        problem = errors.get(entry.name)
        if problem is None and ticket and entry.ticket == ticket and entry.state == "restarting":
            self._runs(entry)
        return problem

    @asynccontextmanager
    async def _watched(self, label: str) -> AsyncIterator[None]:
        """An order to a host. If the host is lost on it, its end is waited for: the next to run brings its agents back."""
        host = self.hosts.all.get(label)
        process = host.process if host is not None else None
        try:
            yield
        except PeerLost:
            if process is not None:
                await process.ends(_HOST_ENDS_WITHIN)
            raise

    async def _away(self, entry: Entry, ticket: int) -> bool:
        """Whether it is still to be brought back: it was not stopped, and did not fall with its host."""
        while (stopping := self._stopping.get(entry.name)) is not None:
            await asyncio.wait([stopping])
        wanted = self.roster.agents.get(entry.name) is entry and entry.state == "restarting"
        return wanted and entry.ticket == ticket

    async def _give_up(self, entry: Entry, verdict: GivenUp) -> None:
        entry.state, entry.reason = "given up", verdict.reason
        self.event_log.add(AgentGivenUp(entry.name, verdict.reason, verdict.failed))
        await self._end_on(entry.host, [entry.name], verdict.reason)
        if not verdict.failed and self.roster.agents.get(entry.name) is entry:
            self.roster.remove([entry.name])

    async def _end_on(self, host: str, names: list[str], why: str) -> None:
        """Ends agents that nobody wants, also those that a blocked host makes only when it is free again."""
        while unwanted := tuple(name for name in names if self._unwanted(name)):
            try:
                await self._ask(host, "stop", NamesOrder(unwanted, why), self.hosts.respawn_within, None)
            except DeadlineExceeded:
                await asyncio.sleep(_AGAIN_AFTER)
            except ThreeModeError:
                return  # its host has gone, and they with it
            else:
                return

    def _unwanted(self, name: str) -> bool:
        entry = self.roster.agents.get(name)
        return entry is None or entry.state == "given up"

    # hosts that end ---------------------------------------------------------------------------------------------------
    def host_lost(self, host: Host, member: str, reason: str) -> None:
        fallen = self.roster.on_host(host.label)
        entries = [entry for entry in fallen if entry.state != "starting"]
        self.roster.member_ended(member, host.label)
        self._fell[host.label] = time.monotonic()
        for entry in fallen:
            entry.ticket = next(self._tickets)
        for entry in entries:
            entry.state, entry.reason, entry.told = "restarting", reason, None
        self.event_log.add(HostLost(host.label, reason, len(entries)))
        blamed = host.blocked.agent if host.blocked is not None else ""
        if blamed in self.roster.agents:  # whoever blocked the loop has failed; the others only fell with it
            entry = self.roster.agents[blamed]
            verdict = entry.history.ended(time.monotonic(), True, reason)
            if isinstance(verdict, GivenUp):
                entry.state, entry.reason = "given up", verdict.reason
                self.event_log.add(AgentGivenUp(entry.name, verdict.reason, True))

    async def host_back(self, host: Host) -> None:
        """A new process runs under the label of one that ended: its agents come back there."""
        await self._bring_back(self.roster.on_host(host.label), host.label)
        fell = self._fell.pop(host.label, time.monotonic())
        count = sum(entry.state == "running" for entry in self.roster.on_host(host.label))
        self.event_log.add(HostBack(host.label, count, time.monotonic() - fell))

    async def host_gone(self, host: Host) -> None:
        """It will not run again: its agents go to the other hosts, or are given up where there is none."""
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
        """Makes agents again on a host: a group at a time, and those that fail one by one, within their limits."""
        groups: dict[str, list[Entry]] = {}
        for entry in entries:
            if entry.state != "restarting":
                continue
            if entry.group.restart.strategy == "temporary":
                entry.state, entry.reason = "given up", entry.reason or "its host ended"
                self.event_log.add(AgentGivenUp(entry.name, entry.reason, True))
            else:
                groups.setdefault(entry.group.name, []).append(entry)
        async with asyncio.TaskGroup() as tasks:
            for members in groups.values():
                task = tasks.create_task(self._bring_back_group(members, host))
                await asyncio.wait([task], timeout=_NEXT_GROUP_AFTER)

    async def _bring_back_group(self, members: list[Entry], host: str) -> None:
        begun, tickets = time.monotonic(), [entry.ticket for entry in members]
        numbers = [entry.number for entry in members if entry.name not in self._stopping]
        failed: dict[str, ThreeModeError] = {}
        try:
            async with self._watched(host):
                failed = await self._spawn_on(host, members[0].group, numbers, self.hosts.respawn_within)
        except ThreeModeError as error:
            failed = dict.fromkeys((entry.name for entry in members), error)
        for entry, ticket in zip(members, tickets, strict=True):
            if self.roster.agents.get(entry.name) is entry and (entry.state, entry.ticket) == ("restarting", ticket):
                entry.history.start_took(time.monotonic() - begun)
                problem = failed.get(entry.name)
                self._return(entry, _reason(problem) if problem is not None else entry.reason, True)

    # what is seen -----------------------------------------------------------------------------------------------------
    def blame(self, member: str) -> str:
        for host in self.hosts.all.values():
            if host.member == member and host.blocked is not None:
                return str(host.blocked)
        return ""

    async def table(self, within: float) -> Table:
        hosts = self.hosts.running
        answers = await asyncio.gather(
            *(self._ask(host.label, "report", None, within, _report) for host in hosts),
            return_exceptions=True,
        )
        reports: list[HostReport] = []
        agents: list[AgentReport] = []
        silent: list[str] = []
        for host, answer in zip(hosts, answers, strict=True):
            if isinstance(answer, BaseException):
                silent.append(host.label)
                reports.append(self._unheard(host))
                continue
            own, theirs = answer
            reports.append(_with(own, restarts=host.history.total, blocked=str(host.blocked) if host.blocked else ""))
            agents.extend(self._counted(one) for one in theirs)
        reports += [self._unheard(host) for host in self.hosts.all.values() if host not in hosts]
        seen = {one.name for one in agents}
        agents += [_absent(entry) for entry in self.roster.agents.values() if entry.name not in seen]
        return Table(self.session.bus.name, time.time(), tuple(reports), tuple(agents), tuple(silent))

    def _counted(self, report: AgentReport) -> AgentReport:
        entry = self.roster.agents.get(report.name)
        return _with(report, restarts=max(report.restarts, entry.history.total)) if entry is not None else report

    def _unheard(self, host: Host) -> HostReport:
        pid = host.process.pid if host.process is not None else 0
        blocked = str(host.blocked) if host.blocked else ""
        count = len(self.roster.on_host(host.label))
        return HostReport(
            host.label,
            pid,
            "blocked" if blocked else host.state,
            count,
            0.0,
            0,
            0,
            0,
            0,
            host.history.total,
            0.0,
            None,
            None,
            blocked,
        )

    async def dead_letters(self, within: float) -> list[DeadLetter]:
        answers = await asyncio.gather(
            *(self._ask(host.label, "dead_letters", None, within, _dead_letters) for host in self.hosts.running),
            return_exceptions=True,
        )
        found = self.session.dead_letters.read()
        for answer in answers:
            if not isinstance(answer, BaseException):
                found.extend(answer[1])
        return sorted(found, key=lambda letter: letter.when)


def _reason(error: ThreeModeError) -> str:
    return f"{type(error).__name__}: {error.message}"


def _unknown(error: ThreeModeError, name: str) -> bool:
    """Whether a host says that it has no such agent."""
    return isinstance(error, NoSuchAgent) and error.agent == name


def _with(report: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(report, **changes)


def _absent(entry: Entry) -> AgentReport:
    return AgentReport(
        entry.name,
        entry.group.kind.__name__,
        entry.host,
        entry.state,
        0,
        "",
        0.0,
        0,
        0,
        0,
        entry.history.total,
        None,
        None,
        entry.reason,
    )
