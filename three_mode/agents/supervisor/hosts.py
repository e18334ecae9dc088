"""The host processes of an orchestrator: started, watched, and started again when they end or are stuck."""

import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from three_mode.agents.host.lines import HostConfig
from three_mode.agents.supervisor.events import HostBlocked, HostFreed, HostGivenUp, SupervisorEvents
from three_mode.agents.supervisor.host_process import HostProcess
from three_mode.agents.supervisor.restart import Again, GivenUp, History, Restart


@dataclass(frozen=True)
class HostOptions:
    """How host processes are treated."""

    restart: Restart = field(default_factory=lambda: Restart("permanent", limit=5, within=30.0, wait=0.1))
    start_within: float = 20.0
    """Seconds that a host process has to join the bus."""
    respawn_within: float = 30.0
    """Seconds that a host has to make an agent anew. A start that takes longer counts as one that failed, and the agent's
    `Restart` says what follows: the supervisor tries again, or gives the agent up."""
    blocked_after: float = 1.0
    """Seconds after which a loop that does not turn is reported, with the agent that holds it."""
    kill_blocked_after: float = 30.0
    """Seconds after which such a host is killed: its agents come back, and callers get PeerLost. 0: never."""
    silent_after: float = 5.0
    """Seconds without any sign of life, not even from the host's watchdog, after which it counts as blocked."""


@dataclass
class Host:
    label: str
    history: History
    reserved: str = ""  # the one group that it is for; "": any that is not reserved
    process: HostProcess | None = None
    member: str = ""
    state: str = "starting"  # running, restarting, given up, stopping
    heard: float = 0.0
    blocked: HostBlocked | None = None
    kill_reason: str = ""


class Hosts:
    """`lost(host, member, reason)` is called when one ends, `back(host)` awaited when it runs again, `gone(host)` when it never will."""

    def __init__(
        self,
        config: Callable[[str], HostConfig],
        options: HostOptions,
        event_log: SupervisorEvents,
        lost: Callable[[Host, str, str], None],
        back: Callable[[Host], Awaitable[None]],
        gone: Callable[[Host], Awaitable[None]],
    ) -> None:
        self._config, self._options, self._events = config, options, event_log
        self._lost, self._back, self._gone = lost, back, gone
        self.all: dict[str, Host] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._count = 0  # labels given

    @property
    def respawn_within(self) -> float:
        """Seconds that a host has to make an agent anew."""
        return self._options.respawn_within

    @property
    def running(self) -> list[Host]:
        return [host for host in self.all.values() if host.state == "running"]

    def open_to(self, group: str) -> list[str]:
        """The running hosts where agents of that group may live: its own if it has any, else those that are nobody's."""
        return [host.label for host in self._meant_for(group) if host.state == "running"]

    def awaited(self, group: str) -> bool:
        """Whether agents of that group have no host now, and will have one again."""
        states = {host.state for host in self._meant_for(group)}
        return "running" not in states and "restarting" in states

    def _meant_for(self, group: str) -> list[Host]:
        own = [host for host in self.all.values() if host.reserved == group]
        return own or [host for host in self.all.values() if not host.reserved]

    @property
    def members(self) -> dict[str, str]:
        return {host.label: host.member for host in self.running}

    async def start(self, count: int) -> None:
        for number in range(1, count + 1):
            label = f"host-{number}"
            self.all[label] = Host(label, History(self._options.restart))
            self._launch(self.all[label])
        self._count = count
        await asyncio.gather(*(self._ready(host) for host in self.all.values()))
        self.in_background(self._look_for_silence())

    async def reserve(self, group: str) -> Host:
        """One more host, for agents of that group alone."""
        self._count += 1
        label = f"host-{self._count}"
        host = self.all[label] = Host(label, History(self._options.restart), group)
        try:
            self._launch(host)
            await self._ready(host)
        except BaseException:
            await self.release(host, 0.0)
            raise
        return host

    async def release(self, host: Host, within: float) -> None:
        """Ends a host that nobody needs any more."""
        host.state = "stopping"
        self.all.pop(host.label, None)
        if host.process is not None:
            host.process.tell_to_stop()
            await host.process.gone(within)

    def _launch(self, host: Host) -> None:
        host.kill_reason, host.blocked, host.heard = "", None, time.monotonic()
        host.process = HostProcess(
            self._config(host.label),
            lambda line: self._line(host, line),
            lambda reason: self._exited(host, reason),
        )

    async def _ready(self, host: Host) -> None:
        assert host.process is not None
        host.member = await host.process.ready(self._options.start_within)
        host.state = "running"

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs until it ends, or until the hosts are closed."""
        if self._closing:
            work.close()
            return
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # news -------------------------------------------------------------------------------------------------------------
    def _line(self, host: Host, line: dict[str, Any]) -> None:
        host.heard = time.monotonic()
        if line.get("kind") == "blocked":
            host.blocked = HostBlocked(
                host.label,
                float(line["seconds"]),
                str(line["agent"]),
                str(line["handler"]),
                str(line["where"]),
            )
            self._events.add(host.blocked)
            self._perhaps_kill(host)
        elif line.get("kind") == "freed":
            host.blocked = None
            self._events.add(HostFreed(host.label))

    def _perhaps_kill(self, host: Host) -> None:
        limit = self._options.kill_blocked_after
        if host.blocked is not None and limit and host.blocked.seconds >= limit and host.process is not None:
            host.kill_reason = f"was killed: {host.blocked}"
            host.process.kill()

    async def _look_for_silence(self) -> None:
        """A host whose interpreter is stuck, or that was stopped by a signal, says nothing at all."""
        limit = self._options.silent_after
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            for host in self.running:
                silent = time.monotonic() - host.heard
                if silent >= limit:
                    host.blocked = HostBlocked(host.label, silent)
                    self._events.add(host.blocked)
                    self._perhaps_kill(host)

    def _exited(self, host: Host, reason: str) -> None:
        reason = host.kill_reason or reason
        member, host.member = host.member, ""
        if self._closing or host.state in ("stopping", "starting"):
            host.state = "stopped"
            return
        was_running, host.state = host.state == "running", "restarting"
        if was_running:
            self._lost(host, member, reason)
        verdict = host.history.ended(time.monotonic(), True, reason)
        self.in_background(self._again(host, verdict))

    async def _again(self, host: Host, verdict: Again | GivenUp) -> None:
        if isinstance(verdict, GivenUp):
            host.state = "given up"
            self._events.add(HostGivenUp(host.label, verdict.reason))
            await self._gone(host)
            return
        await asyncio.sleep(verdict.wait)
        if self._closing or self.all.get(host.label) is not host:
            return
        try:
            self._launch(host)
        except OSError as error:  # no memory or no descriptors for a process: that too is an end of it
            verdict = host.history.ended(time.monotonic(), True, f"cannot be started: {error}")
            self.in_background(self._again(host, verdict))
            return
        try:
            await self._ready(host)
        except Exception:  # noqa: BLE001  # its exit has been reported, and is decided on, by _exited
            return
        await self._back(host)

    # the end ----------------------------------------------------------------------------------------------------------
    async def close(self, within: float) -> None:
        self._closing = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        processes = [host.process for host in self.all.values() if host.process is not None]
        for process in processes:
            process.tell_to_stop()
        try:
            await asyncio.gather(*(process.gone(within) for process in processes))
        except asyncio.CancelledError:
            for process in processes:
                process.kill()
            raise


def new_bus_name() -> str:
    return f"agents-{secrets.token_hex(4)}"


def search_path() -> list[str]:
    """Where a host looks for modules: where this process does. The empty entry is this folder, now."""
    return [entry or str(Path.cwd()) for entry in sys.path]
