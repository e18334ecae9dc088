"""Join a running bus from outside: `async with join("city") as city: await city.ref("scout/7").ask("score", "hi")`.

With `cluster=` from any machine, also one that has no node.
"""

import time
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from three_mode.agents.calling import current_bus
from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.node_tables import node_tables
from three_mode.agents.calling.refs import Verbs
from three_mode.agents.calling.session import Session, written_options
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import NodeReport, Table
from three_mode.errors import ConfigurationError
from three_mode.handling import DEFAULT_WITHIN, check_time
from transports.bus import Bus, BusError, BusOptions


def join(
    name: str,
    *,
    cluster: Any = None,
    options: BusOptions | None = None,
    default_within: float = DEFAULT_WITHIN,
    llm: Any = None,
    policies: Any = None,
) -> "Joined":
    """Join the bus of an orchestrator by its name (`orc.name`); entering raises ModeUnavailable where there is none.

    `cluster`: address of a NATS server, or a `three_mode.cluster.Cluster`: join the cluster of this name from anywhere,
    with all verbs, as a node without agents. Entering raises ModeUnavailable where no node of it answers. `options`:
    how to join, by default without creating a bus. `default_within`: seconds of a call without `within`, by default 30.
    `llm`, `policies`: `ConnectionOptions` and `Policies` of this program's `llm`.
    """
    return Joined(name, cluster=cluster, options=options, default_within=default_within, llm=llm, policies=policies)


class Joined(Verbs):
    """A program's membership of a bus: `join` makes it, and `async with` enters and leaves the bus."""

    def __init__(
        self,
        name: str,
        *,
        cluster: Any = None,
        options: BusOptions | None = None,
        default_within: float = DEFAULT_WITHIN,
        llm: Any = None,
        policies: Any = None,
    ) -> None:
        self.name = name
        self._program = None if cluster is None else _program().ProgramNode(name, cluster, options)
        self._llm_options = written_options(llm, policies)
        self._options = options or BusOptions(create=False, label="joined")
        self._default_within = default_within
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        try:
            bus = await (Bus.join(self.name, self._options) if self._program is None else self._program.open())
        except BusError as error:
            raise wire_errors.from_bus(error, self.name, "join") from None
        current_bus.joined(bus)
        self._session = Session(bus, self._default_within, self._llm_options)
        self._three_mode_caller = Caller(self._session, "")
        return self

    @property
    def bus(self) -> Bus:
        """The bus, while this program is on it."""
        return self._three_mode_caller.session.bus

    def nodes(self) -> list[NodeReport]:
        """Return this program and the nodes of its cluster; ConfigurationError where it has none."""
        self.bus  # noqa: B018  # for its error
        if self._program is None:
            raise ConfigurationError(
                "this program has joined one bus, and no cluster", hint='join("city", cluster="nats://10.0.0.1:4222")'
            )
        found: list[NodeReport] = self._program.nodes()
        return found

    async def table(self, within: float = 3.0) -> Table:
        """Return the hosts and agents of all nodes of the cluster; ConfigurationError where it has none.

        A node that does not answer within `within` seconds (3) has a `problem`.
        """
        check_time(within)
        nodes, session = self.nodes(), self._three_mode_caller.session
        return Table(self.name, time.time(), (), (), nodes=await node_tables(session, nodes, within))

    def dead_letters(self) -> list[DeadLetter]:
        """Return messages of this program that no agent has taken, the oldest first."""
        found = self._three_mode_caller.session.dead_letters.read()
        if self._program is not None:
            found += self._program.letters.read()
        return sorted(found, key=lambda letter: letter.when)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            if self._program is not None:
                await self._program.close()
            session.close()
            current_bus.left(session.bus)
            await session.bus.leave()


def _program() -> Any:
    """Module of programs on a cluster. It stands above agents, and is found by its name."""
    return import_module("three_mode.cluster.program")
