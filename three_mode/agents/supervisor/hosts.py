"""Host processes of an orchestrator: start and watch them, and start them again when they end or are stuck."""

import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from three_mode.agents.host.lines import HostConfig
from three_mode.agents.host.start_note import RunningStart
from three_mode.agents.supervisor.events import HostBlocked, HostFreed, HostGivenUp, SupervisorEvents
from three_mode.agents.supervisor.host_process import HostProcess
from three_mode.agents.supervisor.reloads import Reloads
from three_mode.agents.supervisor.restart import Again, GivenUp, History, Restart


@dataclass(frozen=True)
class HostOptions:
    """Options of host processes."""

    restart: Restart = field(default_factory=lambda: Restart("permanent", limit=5, within=30.0, wait=0.1))
    """Restart policy of a host: by default always, at most 5 times in 30 s, with growing waits from 0.1 s."""
    start_within: float = 20.0
    """Seconds in which a host has to be ready; then it is killed, and counts as failed."""
    respawn_within: float = 30.0
    """Seconds that a host has to bring an agent back, or twice as long as its spawn took, if that is more. A longer
    start counts as one that failed: the supervisor tries again, or gives the agent up, as its `Restart` says."""
    blocked_after: float = 1.0
    """Seconds after which an event loop that does not turn is reported, with the agent that blocks it."""
    kill_blocked_after: float = 30.0
    """Seconds after which a blocked host is killed: its agents come back, and callers get PeerLost. 0: never."""
    silent_after: float = 5.0
    """Seconds without a sign of life, not even of the host's watchdog, after which a host counts as blocked."""


@dataclass
class Host:
    """One host, across the processes that run under its label."""

    label: str
    history: History
    reserved: str = ""
    """The one group that it is for; empty: all groups without a host of their own."""
    process: HostProcess | None = None
    member: str = ""
    """Its member id on the bus, while it runs."""
    state: str = "starting"
    """starting, running, restarting, given up, stopping, or stopped."""
    last_line_at: float = 0.0
    """When it last sent a line, on time.monotonic()."""
    blocked: HostBlocked | None = None
    kill_reason: str = ""
    reloads: int = 0
    """Length of the log of reloaded modules that it has followed."""
    quarantine: bool = False
    """Whether it is for agents whose start has ended another host."""

    @property
    def ended_in(self) -> RunningStart | None:
        """The agent that its last process was making when it ended."""
        return self.process.ended_in if self.process is not None else None


class Hosts:
    """Host processes of one orchestrator.

    `lost(host, member, reason)` is called when a process ends. `back(host)` is awaited when a host runs again, and
    `given_up(host)` when it never will.
    """

    def __init__(
        self,
        config: Callable[[str], HostConfig],
        options: HostOptions,
        event_log: SupervisorEvents,
        lost: Callable[[Host, str, str], None],
        back: Callable[[Host], Awaitable[None]],
        given_up: Callable[[Host], Awaitable[None]],
    ) -> None:
        self._config, self._options, self._events = config, options, event_log
        self._on_lost, self._on_back, self._on_given_up = lost, back, given_up
        self.all: dict[str, Host] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._count = 0  # labels in use so far
        self.reloads = Reloads()
        self._quarantines = 0
        self._releasing: set[HostProcess] = set()  # of hosts that end for good

    @property
    def respawn_within(self) -> float:
        """Seconds that a host has to bring an agent back."""
        return self._options.respawn_within

    @property
    def running(self) -> list[Host]:
        """Hosts whose process is on the bus."""
        return [host for host in self.all.values() if host.state == "running"]

    def open_to(self, group: str) -> list[str]:
        """Return the running hosts for agents of a group: those reserved for it, else those reserved for none.

        Hosts whose event loop is blocked are left out, as long as there is another.
        """
        running = [host for host in self._hosts_for(group) if host.state == "running"]
        return [host.label for host in running if host.blocked is None] or [host.label for host in running]

    def awaited(self, group: str) -> bool:
        """Return whether a group has no running host now, and will have one again."""
        states = {host.state for host in self._hosts_for(group)}
        return "running" not in states and "restarting" in states

    def _hosts_for(self, group: str) -> list[Host]:
        own = [host for host in self.all.values() if host.reserved == group]
        return own or [host for host in self.all.values() if not host.reserved]

    @property
    def members(self) -> dict[str, str]:
        """Running host -> its member id on the bus."""
        return {host.label: host.member for host in self.running}

    async def start(self, count: int) -> None:
        """Start `count` hosts, and wait until all are on the bus."""
        for number in range(1, count + 1):
            label = f"host-{number}"
            self.all[label] = Host(label, History(self._options.restart))
            self._launch(self.all[label])
        self._count = count
        await asyncio.gather(*(self._wait_ready(host) for host in self.all.values()))
        self.in_background(self._watch_silence())

    def add_here(self, label: str, member: str) -> None:
        """Add a host that is no process of its own: the bus member `member`, which is this process."""
        self.all[label] = Host(label, History(self._options.restart), member=member, state="running")

    async def reserve(self, group: str) -> Host:
        """Start one more host, for agents of one group alone."""
        self._count += 1
        label = f"host-{self._count}"
        host = self.all[label] = Host(label, History(self._options.restart), group)
        await self.start_one(host)
        return host

    def add_quarantine(self) -> Host:
        """Return a new host for agents whose start has ended another host. It has to be started, and takes no others:
        what it is reserved for is the name of no group."""
        self._quarantines += 1
        label = f"quarantine-{self._quarantines}"
        host = self.all[label] = Host(label, History(self._options.restart), f"quarantine:{label}", quarantine=True)
        return host

    async def start_one(self, host: Host) -> None:
        """Start a new host, and wait until it is on the bus; release it if that fails."""
        try:
            self._launch(host)
            await self._wait_ready(host)
        except BaseException:
            await self.release(host, 0.0)
            raise

    def forget(self, host: Host) -> None:
        """Let a host whose process has ended not come back."""
        host.state = "stopped"
        self.all.pop(host.label, None)

    async def release(self, host: Host, within: float) -> None:
        """End a host for good, in order; `within`: seconds until it is killed."""
        host.state = "stopping"
        self.all.pop(host.label, None)
        if host.process is None:
            return
        process = host.process
        self._releasing.add(process)
        process.tell_to_stop()
        await process.gone(within)  # if this is cancelled, `close` waits for it
        self._releasing.discard(process)

    def _launch(self, host: Host) -> None:
        host.kill_reason, host.blocked, host.last_line_at = "", None, time.monotonic()
        host.reloads = self.reloads.look()  # a new process imports what is on the disk now
        host.process = HostProcess(
            self._config(host.label),
            lambda line: self._on_line(host, line),
            lambda reason: self._on_exit(host, reason),
        )

    async def _wait_ready(self, host: Host) -> None:
        assert host.process is not None
        host.member = await host.process.ready(self._options.start_within)
        host.state = "running"

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run a coroutine in a task until it ends, or until the hosts are closed; None if they are closed already."""
        if self._closing:
            work.close()
            return None
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # lines and exits --------------------------------------------------------------------------------------------------
    def _on_line(self, host: Host, line: dict[str, Any]) -> None:
        host.last_line_at = time.monotonic()
        if line.get("kind") == "blocked":
            host.blocked = HostBlocked(
                host.label,
                float(line["seconds"]),
                str(line["agent"]),
                str(line["handler"]),
                str(line["where"]),
            )
            self._events.add(host.blocked)
            self._kill_if_blocked(host)
        elif line.get("kind") == "freed":
            host.blocked = None
            self._events.add(HostFreed(host.label))

    def _kill_if_blocked(self, host: Host) -> None:
        """Kill a host that has been blocked for too long."""
        limit = self._options.kill_blocked_after
        if host.blocked is not None and limit and host.blocked.seconds >= limit and host.process is not None:
            host.kill_reason = f"was killed: {host.blocked}"
            host.process.kill()

    async def _watch_silence(self) -> None:
        """Report hosts that send no line at all: their interpreter is stuck, or a signal has stopped them."""
        limit = self._options.silent_after
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            for host in self.running:
                if host.process is None:
                    continue  # it is this process
                silent = time.monotonic() - host.last_line_at
                if silent >= limit:
                    host.blocked = HostBlocked(host.label, silent)
                    self._events.add(host.blocked)
                    self._kill_if_blocked(host)

    def _on_exit(self, host: Host, reason: str) -> None:
        start = host.ended_in
        reason = host.kill_reason or (f"{reason}, in {start}" if start is not None else reason)
        member, host.member = host.member, ""
        if self._closing or host.state in ("stopping", "starting"):
            host.state = "stopped"
            return
        was_running, host.state = host.state == "running", "restarting"
        if was_running:
            self._on_lost(host, member, reason)
            if self.all.get(host.label) is not host:
                return  # nobody needs it any more
        if start is not None and not host.reserved:
            verdict = host.history.ended_without_fault(reason)
        else:
            verdict = host.history.ended(time.monotonic(), True, reason)
        self.in_background(self._restart_host(host, verdict))

    async def _restart_host(self, host: Host, verdict: Again | GivenUp) -> None:
        """Start a host that ended again, or give it up."""
        if isinstance(verdict, GivenUp):
            host.state = "given up"
            self._events.add(HostGivenUp(host.label, verdict.reason))
            await self._on_given_up(host)
            return
        await asyncio.sleep(verdict.wait)
        if self._closing or self.all.get(host.label) is not host:
            return
        try:
            self._launch(host)
        except OSError as error:  # no memory or no descriptors for a process: counts as an end of it
            verdict = host.history.ended(time.monotonic(), True, f"cannot be started: {error}")
            self.in_background(self._restart_host(host, verdict))
            return
        try:
            await self._wait_ready(host)
        except Exception:  # noqa: BLE001  # _on_exit has the exit, and decides what follows
            return
        await self._on_back(host)

    # end --------------------------------------------------------------------------------------------------------------
    async def close(self, within: float) -> None:
        """End all hosts, in order; kill those that take longer than `within` seconds."""
        self._closing = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        processes = [host.process for host in self.all.values() if host.process is not None]
        processes += [process for process in self._releasing if process not in processes]
        for process in processes:
            process.tell_to_stop()
        try:
            await asyncio.gather(*(process.gone(within) for process in processes))
        except asyncio.CancelledError:
            for process in processes:
                process.kill()
            raise


def new_bus_name() -> str:
    """Return a name for a new bus."""
    return f"agents-{secrets.token_hex(4)}"


def search_path() -> list[str]:
    """Return the `sys.path` of hosts: that of this process, with the current folder in place of the empty entry."""
    return [entry or str(Path.cwd()) for entry in sys.path]
