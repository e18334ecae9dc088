"""Keeping agents alive: spawning them onto hosts, bringing them back after a failure, giving them up when it comes too often."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

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
from three_mode.errors import ModeUnavailable, NoSuchAgent, PeerLost, ThreeModeError
from three_mode.messages import decode_error
from transports.bus import BusError, DeadlineExceeded, Encoded

_spawned = decoder_for(Spawned)
_report = decoder_for(tuple[HostReport, tuple[AgentReport, ...]])
_dead_letters = decoder_for(tuple[int, tuple[DeadLetter, ...]])
_RESPAWN_WITHIN = 30.0
_AGAIN_AFTER = 0.05  # seconds until agents whose host ended while they were made are placed again
_LOOK_AGAIN = 0.5  # seconds until it is looked whether agents that are not visible yet are still wanted


class Supervisor:
    def __init__(self, session: Session, hosts: Hosts, roster: Roster, event_log: SupervisorEvents) -> None:
        self.session, self.hosts, self.roster, self.event_log = session, hosts, roster, event_log
        self._fell: dict[str, float] = {}

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
                if left <= _LOOK_AGAIN or not isinstance(error, DeadlineExceeded):
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
        """Has a host make these; returns those that failed."""
        order = SpawnOrder(
            group.order.group,
            tuple(numbers),
            group.order.target,
            group.order.init,
            group.order.roles,
            group.order.on_error,
            group.order.mailbox,
        )
        done: Spawned = await self._ask(host, "spawn", order, within, _spawned)
        for number in numbers:
            entry = self.roster.agents.get(f"{group.name}/{number}")
            if entry is not None and entry.name not in done.failed:
                entry.host = host
                self._runs(entry)
        return {name: decode_error(data) for name, data in done.failed.items()}

    async def stop(self, names: list[str], within: float) -> None:
        for name in names:
            self.roster.entry(name)
        await self.order("stop", names, within)
        self.roster.remove(names)

    async def restart(self, names: list[str], why: str, within: float) -> None:
        for host, chosen in self._by_host(names).items():
            failed = await self._restart_on(host, chosen, why, within)
            for name, error in failed.items():
                if not _unknown(
                    error, name
                ):  # it is neither the old one nor a new one: its strategy says what becomes of it
                    self.agent_failed(Failed(name, _reason(error), False))
            for error in failed.values():
                raise error

    async def _restart_on(self, host: str, names: list[str], why: str, within: float) -> dict[str, ThreeModeError]:
        """Has a host make these anew; returns those that failed."""
        done: Spawned = await self._ask(host, "restart", NamesOrder(tuple(names), why), within, _spawned)
        for name in names:
            if name not in done.failed:
                self.event_log.add(AgentRestarted(name, host, why))
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
        entry.state, entry.reason = "restarting", told.reason
        self.hosts.in_background(self._agent_again(entry, told.reason, failed=not told.normal))

    def _runs(self, entry: Entry) -> None:
        entry.state = "running"
        told, entry.told = entry.told, None
        if told is not None:
            self.agent_failed(told)

    def _away(self, entry: Entry) -> bool:
        """Whether it is still to be brought back: it was not stopped, nor came back with its host."""
        return self.roster.agents.get(entry.name) is entry and entry.state == "restarting"

    async def _agent_again(self, entry: Entry, reason: str, failed: bool) -> None:
        while True:
            verdict = entry.history.ended(time.monotonic(), failed, reason)
            if isinstance(verdict, GivenUp):
                await self._give_up(entry, verdict)
                return
            await asyncio.sleep(verdict.wait)
            if not self._away(entry):
                return
            try:
                errors = await self._restart_on(entry.host, [entry.name], reason, _RESPAWN_WITHIN)
            except PeerLost:
                return  # its host has ended, and brings it back
            except ThreeModeError as error:
                errors = {entry.name: error}
            problem = errors.get(entry.name)
            if not self._away(entry) or (problem is not None and _unknown(problem, entry.name)):
                return  # as before: a new host has it, or is about to make it
            if problem is None:
                self._runs(entry)
                return
            reason, failed = _reason(problem), True

    async def _give_up(self, entry: Entry, verdict: GivenUp) -> None:
        entry.state, entry.reason = "given up", verdict.reason
        self.event_log.add(AgentGivenUp(entry.name, verdict.reason, verdict.failed))
        try:
            await self._ask(entry.host, "stop", NamesOrder((entry.name,), verdict.reason), 10.0, None)
        except ThreeModeError:
            pass  # its host has gone, and it with it
        if not verdict.failed:
            self.roster.remove([entry.name])

    # hosts that end ---------------------------------------------------------------------------------------------------
    def host_lost(self, host: Host, member: str, reason: str) -> None:
        entries = [entry for entry in self.roster.on_host(host.label) if entry.state != "starting"]
        self.roster.member_ended(member, host.label)
        self._fell[host.label] = time.monotonic()
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
            moved = [entries[number] for number in chosen]
            for entry in moved:
                entry.host = other
            await self._bring_back(moved, other)

    async def _bring_back(self, entries: list[Entry], host: str) -> None:
        temporary = [entry for entry in entries if entry.group.restart.strategy == "temporary"]
        for entry in temporary:
            entry.state, entry.reason = "given up", entry.reason or "its host ended"
            self.event_log.add(AgentGivenUp(entry.name, entry.reason, True))
        groups: dict[str, list[Entry]] = {}
        for entry in entries:
            if entry.state == "restarting":
                groups.setdefault(entry.group.name, []).append(entry)
        for members in groups.values():
            numbers = [entry.number for entry in members]
            try:
                failed = await self._spawn_on(host, members[0].group, numbers, _RESPAWN_WITHIN)
            except ThreeModeError:
                continue  # this host has ended too, and its exit brings them back
            for name, error in failed.items():
                if name in self.roster.agents:
                    self.hosts.in_background(self._respawn(self.roster.agents[name], _reason(error)))

    async def _respawn(self, entry: Entry, reason: str) -> None:
        """One agent could not be made on a host that came back: again, within its limits."""
        while True:
            verdict = entry.history.ended(time.monotonic(), True, reason)
            if isinstance(verdict, GivenUp):
                entry.state, entry.reason = "given up", verdict.reason
                self.event_log.add(AgentGivenUp(entry.name, verdict.reason, True))
                return
            await asyncio.sleep(verdict.wait)
            if not self._away(entry):
                return
            try:
                failed = await self._spawn_on(entry.host, entry.group, [entry.number], _RESPAWN_WITHIN)
            except ThreeModeError:
                return
            if not failed:
                self.event_log.add(AgentRestarted(entry.name, entry.host, reason))
                return
            reason = str(next(iter(failed.values())))

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
    import msgspec

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
