"""`Orchestrator`: host processes, the agents in them, and their supervision.

`async with Orchestrator(hosts=2) as orc: ...`
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import TracebackType
from typing import Any, Self, overload

from three_mode.agents.agent import Agent
from three_mode.agents.calling import current_bus
from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.node_tables import node_letters, node_tables
from three_mode.agents.calling.refs import AgentGroup, AgentRef, RoleRef
from three_mode.agents.calling.session import Session, host_connection, written_options
from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.handlers.tracing import load_tracer
from three_mode.agents.host.lines import HostConfig
from three_mode.agents.host.residents import LABEL_HERE, close_population, open_population, turned_away
from three_mode.agents.keeping.bus_store import OrdersOfHosts
from three_mode.agents.keeping.hook import state_hook
from three_mode.agents.keeping.memory_store import MemoryStore
from three_mode.agents.keeping.options import NATS, KeepOptions
from three_mode.agents.keeping.values import KeptStore
from three_mode.agents.model import ModelSource
from three_mode.agents.recording import recorder
from three_mode.agents.runtime.broadcast import check_listener
from three_mode.agents.runtime.lifecycle import init_schema
from three_mode.agents.runtime.population import Population
from three_mode.agents.supervisor.hosts import Host, HostOptions, Hosts, new_bus_name, search_path
from three_mode.agents.supervisor.node_home import SupervisedNode
from three_mode.agents.supervisor.restart import Restart
from three_mode.agents.supervisor.roster import Roster
from three_mode.agents.supervisor.supervisor import Supervisor
from three_mode.agents.views import Views
from three_mode.agents.whom import Whom, check_name, check_spawned, names_of, no_cluster, nodes_of
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire import importing
from three_mode.agents.wire.importing import ClassPath, path_here, path_of, refuse_while_importing_main
from three_mode.agents.wire.logs import levels
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import ConfigurationError
from three_mode.handling import DEFAULT_WITHIN, check_deadline
from transports.bus import Bus, BusError, BusOptions

# The agent that `Orchestrator.model` starts. It stands above the connection, which knows agents: so it is found by
# name.
HOSTED_MODEL = ClassPath("three_mode.hosted_model", "HostedModel")


@dataclass(frozen=True)
class OrchestratorOptions:
    """Options of an orchestrator."""

    hosts: HostOptions = field(default_factory=HostOptions)
    """How host processes are started, watched and restarted."""
    bus: BusOptions = field(default_factory=lambda: BusOptions(label="orchestrator"))
    """Options of the bus for the orchestrator's own process."""
    host_bus: dict[str, Any] = field(default_factory=dict)
    """Fields of `BusOptions` for the hosts, where they differ from the defaults: `{"carrier": "zmq"}`."""
    default_within: float = DEFAULT_WITHIN
    """Seconds of a call without `within` (30)."""
    seed: int = 0
    """Seed of every `agent.random`, together with the agent's name."""
    record: str = ""
    """File that every message is recorded in, for `replay`; empty: none. The file must not exist."""
    tracer: str = ""
    """`module:name` of a function without arguments that makes the tracer of each process; empty: none.
    `three_mode.agents.handlers.tracing:OpenTelemetry` is one; a function of your own may set up an exporter first."""
    talks: str = ""
    """File of conversations that `agent.talk` and `orc.talk` keep, shared by all hosts; empty: none."""
    keep: KeepOptions | str = ""
    """Where `agent.keep` keeps states: a file, which a program that is started anew goes on with; `nats`, for all
    nodes of a cluster; or `KeepOptions`. Empty: the memory of the orchestrator, which outlives hosts."""
    page_content: bool = False
    """Whether a page that looks on shows what messages and dead letters say, and the conversations of `talks`; errors
    are shown in any case."""
    stop_within: float = 5.0
    """Seconds that hosts have to end in order when the orchestrator closes; then they are killed."""


class Orchestrator(Views):
    """Owner of `hosts` host processes on a bus, which keeps agents alive in them. Use it as an async context manager.

    `hosts`: number of processes (2). With 0 the agents live in this process and its event loop: in a notebook, at a
    prompt, in a test, with classes that no other process could import. `name`: name of the bus, by default a new one;
    other programs `join` it. `llm`, `policies`: `ConnectionOptions` and `Policies` of `orc.llm`, of `agent.llm` in
    every host, and of the models that `model` starts. `cluster`: address of a NATS server, or a
    `three_mode.cluster.Cluster`: this is one node of several, whose agents call each other by name. `standby`: place
    nothing, until the node that does is lost; then take over from it (`leading` waits for that).
    """

    def __init__(
        self,
        hosts: int = 2,
        name: str = "",
        *,
        llm: Any = None,
        policies: Any = None,
        cluster: Any = None,
        standby: bool = False,
        options: OrchestratorOptions | None = None,
    ) -> None:
        refuse_while_importing_main()
        super().__init__()
        self._llm_options = written_options(llm, policies)
        if not isinstance(hosts, int):
            raise ConfigurationError(f"hosts is a number of processes, not {hosts!r}", hint="Orchestrator(hosts=2)")
        if hosts < 0:
            raise ConfigurationError(
                f"an orchestrator has at least one host, not {hosts}", hint="hosts=0 has the agents in this process"
            )
        self._cluster = None if cluster is None else _cluster().Cluster.of(cluster)
        if self._cluster is not None and not (name or self._cluster.name):
            raise ConfigurationError(
                "a cluster has a name, the same on all its nodes",
                hint='Orchestrator(name="city", cluster=...), or Cluster(url, name="city")',
            )
        if standby and self._cluster is None:
            raise no_cluster("standby=True is for a cluster, in which another orchestrator leads")
        self._standby = standby
        self.name = name or new_bus_name()
        self.options = options or OrchestratorOptions()
        self._talks = os.path.abspath(self.options.talks) if self.options.talks else ""
        self._keep = self._keep_options()
        self._count = hosts
        self._roster = Roster()
        self._population: Population | None = None  # of agents in this process
        self._kept: KeptStore | None = None  # what agents keep

    # start and end ----------------------------------------------------------------------------------------------------
    async def open(self) -> Self:
        """Start, where no `async with` block holds all work: in the cells of a notebook. `aclose` ends it."""
        if self._session is not None:
            raise ConfigurationError("this orchestrator is running already")
        if self.options.record:
            recorder.begin(self.options.record)
        tracer = load_tracer(self.options.tracer) if self.options.tracer else None
        try:
            bus = await Bus.join(self.name, self._bus_options())
        except BusError as error:
            raise wire_errors.from_bus(error, self.name, "join") from None
        current_bus.joined(bus)
        self._session = Session(bus, self.options.default_within, self._llm_options, self._talks)
        self._session.tracer = tracer
        self._three_mode_caller = Caller(self._session, "orchestrator")
        hosts = Hosts(
            self._host_config,
            self.options.hosts,
            self._event_log,
            self._host_lost,
            self._host_back,
            self._host_given_up,
        )
        self._supervisor = Supervisor(self._session, hosts, self._roster, self._event_log)
        content, talks = self.options.page_content, self._talks
        self._make_views(self._session, self._supervisor, page_content=content, talks=talks)
        self._session.blocked_by = self._supervisor.overview.blocked_by
        self._session.comes_back = self._roster.comes_back
        try:
            assert self._control_server is not None
            await self._control_server.open()
            if self._cluster is not None:
                await self._open_gateway()
            await self._open_kept()
            await hosts.start(self._count)
            if not self._count:
                await self._open_here(hosts)
            if self._gateway is not None:
                self._gateway.hosts_run()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the hosts with their agents, and leave the bus."""
        session, self._session = self._session, None
        if session is None:
            return
        assert self._supervisor is not None
        population, self._population = self._population, None
        gateway, self._gateway = self._gateway, None
        kept, self._kept = self._kept, None
        try:
            await self._close_page()
            if gateway is not None:
                self._event_log.listeners.remove(gateway.supervised)
                await gateway.leave()  # agents may keep their states while they end
            if population is not None:
                await close_population(population)
            await self._supervisor.hosts.close(self.options.stop_within)
        finally:
            if kept is not None:
                await kept.close()
            if gateway is not None:
                await gateway.close()
            await self._close_readers()
            await session.close_talks()
            session.close()
            current_bus.left(session.bus)
            await session.bus.leave()

    async def _open_gateway(self) -> None:
        """Join the cluster. Clusters stand above, and are found by their name."""
        assert self._session is not None
        assert self._supervisor is not None
        roster, home = self._roster, SupervisedNode(self._session, self._supervisor, self._event_log, self._count)
        made = import_module("three_mode.cluster.gateway").Gateway
        gateway = made(self._cluster, self.name, self.options.bus, home, standby=self._standby)
        await gateway.open()
        self._gateway = gateway
        assert self._control_server is not None
        session = self._session
        self._control_server.listeners_elsewhere = gateway.listeners
        self._control_server.nodes_elsewhere = lambda within: node_tables(session, gateway.nodes(), within)
        self._control_server.letters_elsewhere = lambda within: node_letters(session, gateway.nodes(), within)
        assert self._node_events is not None
        self._node_events.node = gateway.node
        self._event_log.listeners.append(gateway.supervised)
        self._session.comes_back = lambda agent: roster.comes_back(agent) or gateway.knows(agent)

    def _keep_options(self) -> KeepOptions:
        """Return where agents keep their states; ConfigurationError where that cannot be."""
        options = KeepOptions.of(self.options.keep)
        if options.where == NATS and self._cluster is None:
            raise ConfigurationError(
                "keep='nats' is for a cluster, and this orchestrator belongs to none",
                hint="keep='state.sqlite', or Orchestrator(cluster=...); './nats' is a file of that name",
            )
        return replace(options, where=os.path.abspath(options.file)) if options.file else options

    async def _open_kept(self) -> None:
        """Open the store of what agents keep, before there are agents."""
        assert self._supervisor is not None
        assert self._control_server is not None
        if self._keep.where == NATS:
            self._kept = await self._gateway.open_kept(self._keep)
            self._roster.rank = self._gateway.rank
        elif self._keep.file:
            from three_mode.agents.keeping.file_store import FileStore  # SQLite, for whoever has a file

            self._kept = store = FileStore(self._keep)
            await store.open()
        else:
            self._kept = MemoryStore()
        self._supervisor.kept, self._control_server.kept = self._kept, OrdersOfHosts(self._kept)

    async def _open_here(self, hosts: Hosts) -> None:
        """Open this process as the host of all agents."""
        assert self._session is not None
        kept = self._kept
        assert kept is not None
        self._population = await open_population(self._session, self._host_config(LABEL_HERE), store=lambda: kept)
        hosts.add_here(LABEL_HERE, self._session.bus.id)

    def _bus_options(self) -> BusOptions:
        """Return the options of this process's bus. With agents here, a message for one that left is a dead letter."""
        options = self.options.bus
        if self._count or options.on_error is not None:
            return options

        def bus_failed(where: str, error: BaseException) -> None:
            if self._session is None or not turned_away(self._session, where, error):
                context = {"message": f"bus {self.name}: {where}: {error}", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)

        return replace(options, on_error=bus_failed)

    def _host_config(self, label: str) -> HostConfig:
        return HostConfig(
            bus=self.name,
            label=label,
            path=search_path(),
            seed=self.options.seed,
            record=self.options.record,
            tracer=self.options.tracer,
            blocked_after=self.options.hosts.blocked_after,
            default_within=self.options.default_within,
            log_levels=levels(),
            bus_options=self.options.host_bus,
            llm_options=self._llm_options,
            llm_events=sorted(self._llm_events.hub.wanted) if self._llm_events is not None else [],
            page_content=self.options.page_content,
            talks=self._talks,
            keep=self._keep,
        )

    def _host_lost(self, host: Host, member: str, reason: str) -> None:
        self._running_supervisor.host_lost(host, member, reason)

    async def _host_back(self, host: Host) -> None:
        await self._running_supervisor.host_back(host)

    async def _host_given_up(self, host: Host) -> None:
        await self._running_supervisor.host_given_up(host)

    @property
    def bus(self) -> Bus:
        """The bus of this process, while the orchestrator runs."""
        return self._running_supervisor.session.bus

    # agents -----------------------------------------------------------------------------------------------------------
    @overload
    async def spawn(
        self,
        kind: type[Agent],
        /,
        count: int,
        *,
        name: str = "",
        roles: Sequence[str] = (),
        restart: Restart | str = ...,
        on: str | Sequence[str] = ...,
        within: float = ...,
        **init: Any,
    ) -> AgentGroup: ...
    @overload
    async def spawn(
        self,
        kind: type[Agent],
        /,
        *,
        name: str = "",
        roles: Sequence[str] = (),
        restart: Restart | str = ...,
        on: str | Sequence[str] = ...,
        within: float = ...,
        **init: Any,
    ) -> AgentRef: ...
    async def spawn(
        self,
        kind: type[Agent],
        /,
        count: int | None = None,
        *,
        name: str = "",
        roles: Sequence[str] = (),
        restart: Restart | str = "transient",
        on: str | Sequence[str] = (),
        within: float = 30.0,
        **init: Any,
    ) -> AgentGroup | AgentRef:
        """Make `count` agents, spread over the hosts, and return their group once all can be called.

        Without a count, make one agent and return its reference. `name`: name of the group, by default the class's in
        lower case. `roles`: further roles, for `any`. `restart`: a `Restart`, or its strategy. `within`: seconds until
        DeadlineExceeded (30). `init`: arguments of `__init__`. If one agent cannot be made, none is, and its error is
        raised.

        In a cluster they are spread over all nodes that may run the class, this one included. `on`: names or labels of
        nodes, of which they go to one or more.
        """
        return await self._spawn(kind, count, name, roles, restart, within, nodes_of(on), init)

    async def _spawn(
        self,
        kind: type[Agent],
        count: int | None,
        name: str,
        roles: Sequence[str],
        restart: Restart | str,
        within: float,
        on: tuple[str, ...],
        init: dict[str, Any],
        own_host: bool = False,
    ) -> AgentGroup | AgentRef:
        supervisor = self._running_supervisor
        self._check_leads("spawn")
        check_deadline(within)
        check_spawned(kind, count, roles)
        name = check_name(name or kind.__name__.lower())
        specs = specs_of(kind)
        for spec in specs.values():
            check_listener(spec)
        state_hook(kind)
        if self._gateway is not None:
            self._gateway.placement.check_group(name)
        policy = Restart.of(restart)
        order = SpawnOrder(
            group=name,
            numbers=(),
            target=path_of(kind) if self._count else path_here(kind),
            roles=(name, *(check_name(role) for role in roles)),
            init=init_schema(kind).encode_call(name, "__init__", (), init),
            on_error=policy.on_error,
        )
        how_many = 1 if count is None else count
        if self._gateway is not None:
            numbers = await self._gateway.placement.spawning.spawn(kind, order, policy, how_many, within, on, own_host)
        elif on:
            raise no_cluster("on= names nodes of a cluster, and this orchestrator belongs to none")
        else:
            numbers = await supervisor.spawn(kind, order, policy, how_many, within)
        group = AgentGroup(name, numbers, self._three_mode_caller)
        return group[0] if count is None else group

    async def model(
        self,
        model: str,
        *,
        name: str,
        provider: str | None = None,
        base_url: str | None = None,
        api_key_env: str | None = None,
        policies: Any = None,
        load: Any = None,
        on: str | Sequence[str] = (),
        within: float = 120.0,
    ) -> RoleRef:
        """Put a model on the bus, once for all agents, and return its role: requests address it as `agent:NAME`.

        `model`: `gguf:PATH`, `hf:PATH`, a catalogued name, or a model of `provider` or `base_url`. `api_key_env`:
        environment variable of the hosts that holds the provider's key; keys never travel on the bus. `policies`:
        `Policies` around its calls, by default those of the orchestrator. `load`: `LoadOptions` of a local model.
        `on`: names or labels of nodes, of which one gets it; without, it is on this one. `within`: seconds to load the
        model (120). A model that cannot work is an error here: no such file, no such
        provider, no key.

        The model has a process of its own: llama.cpp's threads and an event loop full of agents do not share an
        interpreter well.
        """
        check_deadline(within)
        self._check_leads("model")
        name = check_name(name)
        if model == f"agent:{name}":
            raise ConfigurationError(f"the model {name!r} would ask itself", hint="name the model that is behind it")
        options = host_connection().written_model(policies, load) if policies is not None or load is not None else ""
        source = ModelSource(model, provider, base_url, api_key_env, options)
        hosts = self._running_supervisor.hosts
        if on or self._gateway is not None:
            kind, init, where = importing.load(HOSTED_MODEL), {"source": source}, nodes_of(on)
            if self._gateway is not None:
                where = where or (self._gateway.node,)
            await self._spawn(kind, None, name, (), "permanent", within, where, init, own_host=True)
            return self.any(name)
        host = await hosts.reserve(name)
        try:
            await self.spawn(
                importing.load(HOSTED_MODEL), 1, name=name, restart="permanent", within=within, source=source
            )
        except BaseException:
            await hosts.release(host, self.options.stop_within)
            raise
        return self.any(name)

    async def stop(self, whom: Whom, within: float = 10.0, *, forget: bool = True) -> None:
        """Stop agents: their current messages may finish, and the agents do not come back. `within`: seconds (10).

        `forget`: whether what they kept is removed; with False, later agents of their names begin with it.
        """
        check_deadline(within)
        names = await self._elsewhere("stop", names_of(whom), within, forget)
        await self._running_supervisor.stop(names, within, forget)
        if self._gateway is not None:
            self._gateway.placement.placer.stopped_here(names)
            await self._gateway.placement.standing_by.copied()

    async def restart(self, whom: Whom, within: float = 10.0) -> None:
        """Restart agents in place: begun messages get PeerLost, queued ones go to the new agent.

        `within`: seconds (10).
        """
        check_deadline(within)
        names = await self._elsewhere("restart", names_of(whom), within)
        await self._running_supervisor.restart(names, "asked for", within)

    async def pause(self, whom: Whom, within: float = 10.0) -> None:
        """Let messages wait in the mailboxes of agents until `resume`. `within`: seconds (10)."""
        check_deadline(within)
        names = await self._elsewhere("pause", names_of(whom), within)
        await self._running_supervisor.order("pause", names, within)

    async def resume(self, whom: Whom, within: float = 10.0) -> None:
        """Let paused agents handle messages again. `within`: seconds (10)."""
        check_deadline(within)
        names = await self._elsewhere("resume", names_of(whom), within)
        await self._running_supervisor.order("resume", names, within)

    async def _elsewhere(self, verb: str, names: list[str], within: float, forget: bool = False) -> list[str]:
        """Give an order about the agents that are on other nodes; return the names of the others."""
        if self._gateway is None:
            return names
        self._check_leads(verb)
        here: list[str] = await self._gateway.placement.placer.about(verb, names, within, forget)
        return here

    # who leads --------------------------------------------------------------------------------------------------------
    @property
    def leads(self) -> bool:
        """Whether agents can be placed from here: always, but at one that stands by."""
        self._running_supervisor  # noqa: B018  # for its error
        return self._gateway is None or bool(self._gateway.placement.standing_by.leads)

    async def leading(self, within: float | None = None) -> None:
        """Wait until this orchestrator leads: at once, or, with `standby`, until it has taken over.

        `within`: seconds until DeadlineExceeded; without, for as long as it takes.
        """
        if within is not None:
            check_deadline(within)
        self._running_supervisor  # noqa: B018  # for its error
        if self._gateway is not None:
            await self._gateway.placement.standing_by.lead(within)

    async def hand_over(self, within: float = 10.0) -> None:
        """Have an orchestrator that stands by take over, and stand by in its place: all agents stay where they are.

        Where none stands by, ConfigurationError. `within`: seconds (10).
        """
        check_deadline(within)
        self._running_supervisor  # noqa: B018  # for its error
        if self._gateway is None:
            raise no_cluster("this orchestrator belongs to no cluster")
        await self._gateway.placement.standing_by.hand_over(within)

    def _check_leads(self, verb: str) -> None:
        """Raise NotLeading where this orchestrator stands by."""
        if self._gateway is not None:
            self._gateway.placement.standing_by.check(verb)


def _cluster() -> Any:
    """Module of clusters. It stands above agents, and is found by its name."""
    return import_module("three_mode.cluster")
