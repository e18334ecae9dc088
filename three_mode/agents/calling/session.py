"""Session: state that all callers of one process share on one bus: names that have left, hosts, roles, dead letters."""

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from three_mode.agents.calling import current_bus
from three_mode.agents.calling.roles import Roles
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.dead_letters import DeadLetters
from three_mode.agents.wire.orders import HOST
from three_mode.errors import ConfigurationError, ModeUnavailable, NoSuchAgent, PeerLost, ThreeModeError
from three_mode.handling import DEFAULT_WITHIN
from transports.bus import Bus, BusError, NamesChanged, NoSuchName

if TYPE_CHECKING:
    from three_mode.agents.handlers.tracing import Tracer

_SESSIONS: WeakValueDictionary[str, "Session"] = WeakValueDictionary()  # bus member of this process -> its session
_REMEMBERED = 100_000  # names that have left the bus; the oldest is forgotten first


class Session:
    """One process's use of one bus, for all agents and callers in it."""

    def __init__(
        self, bus: Bus, default_within: float = DEFAULT_WITHIN, llm_options: str = "", talks: str = ""
    ) -> None:
        self.bus, self.default_within = bus, default_within
        self.llm_options = llm_options
        """Options of `llm`, as `three_mode.host_connection` writes them; empty: the defaults."""
        self.talks = talks
        """File of conversations that `talk` keeps; empty: none."""
        self.dead_letters = DeadLetters()
        self.roles = Roles()
        self.tracer: Tracer | None = None
        self.blocked_by: Callable[[str], str] = lambda _: ""
        """Member -> what blocks it, if that is known: added to the errors of calls that ran out of time."""
        self.comes_back: Callable[[str], bool] = lambda _: True
        """Agent -> whether it may come back, where that is known: an agent whose host has died, given up or stopped
        meanwhile, does not."""
        self.hosts: dict[str, str] = {}
        """Bus member -> the name of the host that it is."""
        self.hosts_since: dict[str, float] = {}
        """Host that came while this session ran -> when its name appeared, on time.monotonic()."""
        self._gone: dict[str, bool] = {}  # name -> whether it left with its process, and may come back
        self._llm: Any = None
        self._when_llm: list[Callable[[Any], None]] = []
        self._talks: Any = None
        self.roles.appeared(bus.names())
        self._hosts_appeared(bus.names())
        self.hosts_since.clear()
        self._watch = bus.watch(self._changed)
        _SESSIONS.setdefault(bus.id, self)

    def close(self) -> None:
        """Stop watching the bus, which stays joined."""
        self._watch.close()
        if _SESSIONS.get(self.bus.id) is self:
            del _SESSIONS[self.bus.id]

    def _changed(self, change: Any) -> None:
        if isinstance(change, NamesChanged):
            died = change.member not in self.bus.members()
            for name in change.removed:
                if not name.startswith("any:"):  # the name of a role is no agent that may come back
                    self._gone[name] = died
                if name.startswith(HOST):
                    self.hosts.pop(change.member, None)
                    self.hosts_since.pop(change.member, None)
            for name in change.added:
                self._gone.pop(name, None)
            self._hosts_appeared(dict.fromkeys(change.added, change.member))
            while len(self._gone) > _REMEMBERED:
                del self._gone[next(iter(self._gone))]
            self.roles.disappeared(change.removed)
            self.roles.appeared(change.added)

    def _hosts_appeared(self, names: Mapping[str, str]) -> None:
        found = {member: name for name, member in names.items() if name.startswith(HOST)}
        if found:
            self.hosts.update(found)
            self.hosts_since.update(dict.fromkeys(found, time.monotonic()))

    def error(self, error: BusError, agent: str, handler: str) -> ThreeModeError:
        """Turn an error of the bus into the error for a caller.

        An agent whose process has ended is lost, not unknown: it may come back. One that was stopped does not.
        """
        ours = wire_errors.from_bus(error, agent, handler)
        if isinstance(error, NoSuchName) and agent in self._gone:
            return self._left(agent, handler)
        if isinstance(ours, TimeoutError):
            member = self.bus.locate(agent)
            blocked = self.blocked_by(member) if member else ""
            if blocked:
                ours.message = f"{ours.message}; {blocked}"
        return ours

    def _left(self, agent: str, handler: str) -> ThreeModeError:
        """Return the error for a caller of an agent that is on the bus no longer."""
        if self._gone[agent] and (agent.startswith(HOST) or self.comes_back(agent)):
            return PeerLost(
                f"{agent} is not there just now: its process ended",
                hint="it may be restarting; try again",
                agent=agent,
                handler=handler,
            )
        return NoSuchAgent(
            f"no agent {agent!r} is on the bus any more: it was stopped, has ended itself, or was given up",
            hint="spawn it again, or see Orchestrator.events",
            agent=agent,
            handler=handler,
        )

    @property
    def llm(self) -> Any:
        """The `LLMConnection` on this bus, made when first used and imported by name: connections stand above."""
        if self._llm is None:
            self._llm = self._connection()
            for told in self._when_llm:
                told(self._llm)
        return self._llm

    @property
    def made_llm(self) -> Any:
        """The connection, where it has been used; else None."""
        return self._llm

    def when_llm(self, told: Callable[[Any], None]) -> None:
        """Have `told` called with the connection: now, or when it is made."""
        if self._llm is not None:
            told(self._llm)
        elif told not in self._when_llm:
            self._when_llm.append(told)

    def no_more_llm(self, told: Callable[[Any], None]) -> None:
        """Have `told` called no more, where the connection has not been made."""
        if told in self._when_llm:
            self._when_llm.remove(told)

    async def talk(self, name: str, options: Mapping[str, Any]) -> Any:
        """A conversation of the file, with `llm`. Conversations stand above, and are imported by their name."""
        if not self.talks:
            raise ConfigurationError(
                "no file keeps conversations here",
                hint="Orchestrator(options=OrchestratorOptions(talks='talks.db')), or Conversations(path, self.llm)",
            )
        if self._talks is None:
            self._talks = import_module("three_mode.conversations").Conversations(self.talks, self.llm)
        return await self._talks.open(name, **options)

    async def close_talks(self) -> None:
        """Write what is left to write to the file of conversations, and close it."""
        talks, self._talks = self._talks, None
        if talks is not None:
            await talks.close()

    def _connection(self) -> Any:
        try:
            if self.llm_options or self.tracer is not None:
                return host_connection().connect(self.llm_options, self.bus, self.tracer)
            connection: Any = import_module("three_mode").LLMConnection
        except (ImportError, AttributeError) as error:
            raise ModeUnavailable(f"no connection to models here: {error}") from None
        return connection(bus=self.bus)


def host_connection() -> Any:
    """Module that writes and reads options of connections. It stands above agents, and is found by its name."""
    return import_module("three_mode.host_connection")


def written_options(llm: Any, policies: Any) -> str:
    """The options of `llm` as text, which a session takes; ConfigurationError where they could not work."""
    return "" if llm is None and policies is None else str(host_connection().written(llm, policies))


def session_here() -> Session:
    """Return a session of the bus that the running event loop is on; ModeUnavailable for no bus, or several."""
    return _SESSIONS[current_bus.bus_here().id]


def group_numbers(names: Any, group: str) -> list[int]:
    """Return the numbers of a group's agents among names, in order; NoSuchAgent where there are none."""
    prefix = f"{group}/"
    found = sorted(
        int(name[len(prefix) :]) for name in names if name.startswith(prefix) and name[len(prefix) :].isdigit()
    )
    if not found:
        raise NoSuchAgent(f"no agents of a group {group!r} are on the bus", agent=group)
    return found
