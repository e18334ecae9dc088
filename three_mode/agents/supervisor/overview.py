"""Overview of a running system: the table of hosts and agents, and the dead letters, collected from all hosts."""

import time
from typing import Any

import msgspec

from three_mode.agents.calling.host_answers import host_answers
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import Decode, decoder_for
from three_mode.agents.supervisor.hosts import Host, Hosts
from three_mode.agents.supervisor.roster import Entry, Roster
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import AgentReport, HostReport, Table, host_name
from three_mode.agents.wire.watching import SinceOrder

_report = decoder_for(tuple[HostReport, tuple[AgentReport, ...]])
_dead_letters = decoder_for(tuple[int, tuple[DeadLetter, ...]])


class Overview:
    """Reader of all hosts' reports. A host that does not answer in time is named, and delays nobody."""

    def __init__(self, session: Session, hosts: Hosts, roster: Roster) -> None:
        self._session, self._hosts, self._roster = session, hosts, roster

    def blocked_by(self, member: str) -> str:
        """Return what blocks the event loop of a bus member; empty if it is not blocked."""
        for host in self._hosts.all.values():
            if host.member == member and host.blocked is not None:
                return str(host.blocked)
        return ""

    async def table(self, within: float) -> Table:
        """Return all hosts and agents, with figures of the hosts that answer within `within` seconds."""
        hosts = self._hosts.running
        answers = await self._ask_all(hosts, "report", _report, within)
        reports: list[HostReport] = []
        agents: list[AgentReport] = []
        silent: list[str] = []
        for host, answer in zip(hosts, answers, strict=True):
            if isinstance(answer, Exception):
                silent.append(host.label)
                reports.append(self._report_without_answer(host))
                continue
            host_report, agent_reports = answer
            blocked = str(host.blocked) if host.blocked else ""
            reports.append(msgspec.structs.replace(host_report, restarts=host.history.total, blocked=blocked))
            agents.extend(self._with_restarts(report) for report in agent_reports)
        reports += [self._report_without_answer(host) for host in self._hosts.all.values() if host not in hosts]
        reported = {report.name for report in agents}
        agents += [_unreported(entry) for entry in self._roster.agents.values() if entry.name not in reported]
        return Table(self._session.bus.name, time.time(), tuple(reports), tuple(agents), tuple(silent))

    async def dead_letters(self, within: float, since: float = 0.0) -> list[DeadLetter]:
        """Return the dead letters of this process and of the hosts that answer in time, the oldest first. `since`: only
        those after that moment."""
        found = [letter for letter in self._session.dead_letters.read() if letter.when > since]
        others = [host for host in self._hosts.running if host.member != self._session.bus.id]
        for answer in await self._ask_all(others, "dead_letters", _dead_letters, within, SinceOrder(since)):
            if not isinstance(answer, Exception):
                found.extend(answer[1])
        return sorted(found, key=lambda letter: letter.when)

    async def _ask_all(
        self, hosts: list[Host], topic: str, decode: Decode, within: float, what: Any = None
    ) -> list[Any]:
        """Return the answer of each host, or the exception in its place."""
        names = [host_name(host.label) for host in hosts]
        return list((await host_answers(self._session.bus, names, topic, decode, within, what)).values())

    def _with_restarts(self, report: AgentReport) -> AgentReport:
        """Return a report with all restarts of the agent, also those of its host."""
        entry = self._roster.agents.get(report.name)
        if entry is None:
            return report
        return msgspec.structs.replace(report, restarts=max(report.restarts, entry.history.total))

    def _report_without_answer(self, host: Host) -> HostReport:
        """Return what the orchestrator itself knows of a host."""
        blocked = str(host.blocked) if host.blocked else ""
        return HostReport(
            label=host.label,
            pid=host.process.pid if host.process is not None else 0,
            state="blocked" if blocked else host.state,
            agents=len(self._roster.on_host(host.label)),
            cpu_percent=0.0,
            memory=0,
            messages=0,
            errors=0,
            dead_letters=0,
            restarts=host.history.total,
            lag=0.0,
            p50=None,
            p99=None,
            blocked=blocked,
        )


def _unreported(entry: Entry) -> AgentReport:
    """Return what the orchestrator itself knows of an agent that no host has reported."""
    return AgentReport(
        name=entry.name,
        kind=entry.group.kind.__name__,
        host=entry.host,
        state=entry.state,
        mailbox=0,
        doing="",
        doing_for=0.0,
        messages=0,
        errors=0,
        gaps=0,
        restarts=entry.history.total,
        p50=None,
        p99=None,
        last_error=entry.reason,
    )
