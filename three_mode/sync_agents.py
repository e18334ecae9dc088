"""Orchestrator and references for code without an event loop; `three_mode.sync` has these names.

    from three_mode.sync import Orchestrator
    with Orchestrator(hosts=2) as orc:
        scouts = orc.spawn(Scout, 512, name="scout")
        print(scouts[7].ask(Scout.score, "hello", within=2.0))

Each verb waits for its outcome. What its deadlines, errors and options mean is said at the verb of the same name in
`three_mode.agents`.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from three_mode import agents
from three_mode.agents.calling.caller import Handler
from three_mode.agents.handlers import extensions
from three_mode.background_loop import LOOP
from three_mode.errors import ThreeModeError
from three_mode.tools import HandlerTool
from transports.bus import Bus

if TYPE_CHECKING:
    from three_mode.events.queue_reader import QueueReader
    from three_mode.events.values import LLMEvent
    from three_mode.sync_events import Events

P = ParamSpec("P")
R = TypeVar("R")
_END_MARGIN = 2.0  # seconds that an interrupted start or end may take beyond `OrchestratorOptions.stop_within`


class _AskedRef:
    """What can be asked, by name."""

    __slots__ = ("_async",)
    _async: "agents.AgentRef | agents.RetryingRef"

    @property
    def name(self) -> str:
        """Name of the agent or role: `scout/7`."""
        return self._async.name

    @overload
    def ask(self, handler: str, /, *args: Any, within: float | None = None, **kwargs: Any) -> Any: ...
    @overload
    def ask(
        self, handler: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    def ask(self, handler: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def ask(  # type: ignore[overload-cannot-match]  # it is met where `within` is given: see calling/signatures.py
        self,
        handler: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: Any,
        within: float | None,
        **kwargs: Any,
    ) -> R: ...
    @overload
    def ask(  # type: ignore[overload-cannot-match]
        self, handler: Callable[..., R], /, *args: Any, within: float | None, **kwargs: Any
    ) -> R: ...
    def ask(  # type: ignore[misc]  # it takes what the handler takes
        self, handler: Handler, /, *args: Any, within: float | None = None, **kwargs: Any
    ) -> Any:
        """Call a handler and return its result. Interrupting it (Ctrl-C) cancels the call at the agent."""
        ref: Any = self._async

        async def ask() -> Any:
            return _without_loop(await ref.ask(handler, *args, within=within, **kwargs))

        return LOOP.run(ask())


class RetryingRef(_AskedRef):
    """An agent, or any of a role, whose asks are tried again: `ref.retrying(...)` makes it."""

    __slots__ = ()

    def __init__(self, ref: agents.RetryingRef) -> None:
        self._async = ref


class AgentRef(_AskedRef):
    """One agent, by name, or with `any` the agent of a role with the least to do."""

    __slots__ = ()
    _async: agents.AgentRef

    def __init__(self, ref: agents.AgentRef) -> None:
        self._async = ref

    @property
    def address(self) -> str:
        """The model name under which a request reaches this agent: `agent:NAME`."""
        return self._async.address

    def tool(
        self, handler: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> HandlerTool:
        """Return a handler as a tool that a model may call: `llm.run(request, [scouts[7].tool(Scout.score)])`."""
        return self._async.tool(handler, name=name, description=description)

    def retrying(self, retry: agents.Retry | None = None) -> "RetryingRef":
        """Return the same agent for asks that are tried again, of idempotent handlers alone."""
        return RetryingRef(self._async.retrying(retry))

    def tell(self, handler: Handler, /, *args: Any, **kwargs: Any) -> None:
        """Send a message, and return once the carrier has it; an error says that it never will."""
        ref: Any = self._async

        async def tell() -> None:
            await ref.tell(handler, *args, **kwargs)

        LOOP.run(tell())

    @overload
    def stream(self, handler: str, /, *args: Any, within: float | None = None, **kwargs: Any) -> "Stream[Any]": ...
    @overload
    def stream(
        self, handler: Callable[..., AsyncIterator[R]], /, *args: Any, within: float | None = None, **kwargs: Any
    ) -> "Stream[R]": ...
    def stream(self, handler: Handler, /, *args: Any, within: float | None = None, **kwargs: Any) -> "Stream[Any]":
        """Ask for a streamed reply: `for part in ref.stream(...)`; `with` makes an early exit prompt."""
        ref: Any = self._async

        async def stream() -> agents.Stream[Any]:
            opened: agents.Stream[Any] = ref.stream(handler, *args, within=within, **kwargs)
            return opened

        return Stream(LOOP.run(stream()))

    def __repr__(self) -> str:
        return repr(self._async)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AgentRef) and other._async == self._async

    def __hash__(self) -> int:
        return hash(self._async)


class AgentGroup(Sequence[AgentRef]):
    """Agents `NAME/0` to `NAME/n-1`, or some of them: a sequence of references."""

    __slots__ = ("_async",)

    def __init__(self, group: agents.AgentGroup) -> None:
        self._async = group

    @property
    def name(self) -> str:
        """Name of the group."""
        return self._async.name

    @property
    def names(self) -> list[str]:
        """Names of the agents, in order."""
        return self._async.names

    @property
    def any(self) -> AgentRef:
        """Reference to the agent with the least to do, chosen at each call."""
        return AgentRef(self._async.any)

    @overload
    def __getitem__(self, index: int) -> AgentRef: ...
    @overload
    def __getitem__(self, index: slice) -> "AgentGroup": ...
    def __getitem__(self, index: int | slice) -> "AgentRef | AgentGroup":
        return AgentGroup(self._async[index]) if isinstance(index, slice) else AgentRef(self._async[index])

    def __len__(self) -> int:
        return len(self._async)

    @overload
    def gather(
        self, handler: str, /, *args: Any, within: float | None = None, quorum: int | None = None, **kwargs: Any
    ) -> agents.Gathered[Any]: ...
    @overload
    def gather(
        self,
        handler: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: Any,
        within: float | None = None,
        quorum: int | None = None,
        **kwargs: Any,
    ) -> agents.Gathered[R]: ...
    @overload
    def gather(
        self,
        handler: Callable[..., R],
        /,
        *args: Any,
        within: float | None = None,
        quorum: int | None = None,
        **kwargs: Any,
    ) -> agents.Gathered[R]: ...
    def gather(
        self, handler: Handler, /, *args: Any, within: float | None = None, quorum: int | None = None, **kwargs: Any
    ) -> agents.Gathered[Any]:
        """Ask all agents at once. The result has values, errors and who is missing; only a bad call raises."""
        group: Any = self._async
        return LOOP.run(group.gather(handler, *args, within=within, quorum=quorum, **kwargs))

    def tell(self, handler: Handler, /, *args: Any, **kwargs: Any) -> None:
        """Send a message to each agent; the first error of one is raised once all were tried."""
        group: Any = self._async

        async def tell() -> None:
            failed = []
            for sent in group.tell(handler, *args, **kwargs):
                try:
                    await sent
                except ThreeModeError as error:
                    failed.append(error)
            if failed:
                raise failed[0]

        LOOP.run(tell())

    def __repr__(self) -> str:
        return repr(self._async)


class Stream(Generic[R]):
    """Parts of a streamed reply as an iterator. Leaving the `with` block cancels the handler if it has not ended."""

    def __init__(self, stream: "agents.Stream[R]") -> None:
        self._async = stream

    def __iter__(self) -> Iterator[R]:
        return self

    def __next__(self) -> R:
        found = LOOP.run(self._next())
        if not found:
            raise StopIteration
        return found[0]

    async def _next(self) -> list[R]:
        try:
            return [_without_loop(await anext(self._async))]
        except StopAsyncIteration:
            return []

    def __enter__(self) -> Self:
        LOOP.run(self._async.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the stream."""
        LOOP.run(self._async.aclose())


class AgentReceipt:
    """Receipt of one broadcast, which is in the ring."""

    __slots__ = ("_async",)

    def __init__(self, receipt: agents.AgentReceipt) -> None:
        self._async = receipt

    def settled(self, within: float = 1.0) -> agents.Seen:
        """Wait until each listening agent has seen the message or never will; `within`: at most so many seconds."""
        return LOOP.run(self._async.settled(within))


class CallingVerbs:
    """What a program calls agents by: those of the orchestrator, and of one who joined."""

    _async: "agents.Orchestrator | agents.Joined"

    def ref(self, name: str) -> AgentRef:
        """Return a reference to one agent by name: `scout/7`."""
        return AgentRef(self._async.ref(name))

    def group(self, name: str) -> AgentGroup:
        """Return all agents of a group that are on the bus now."""
        return AgentGroup(LOOP.read(lambda: self._async.group(name)))

    def any(self, role: str) -> AgentRef:
        """Return a reference to the agent of a role or group with the least to do, chosen at each call."""
        return AgentRef(self._async.any(role))

    def broadcast(self, topic: str, item: Any) -> AgentReceipt:
        """Publish `item`, and return its receipt once it is in the ring."""

        async def broadcast() -> agents.AgentReceipt:
            return await self._async.broadcast(topic, item)

        return AgentReceipt(LOOP.run(broadcast()))


class Orchestrator(CallingVerbs):
    """Owner of host processes and of the agents in them: a context manager. Its options are those of the async one.

    With `hosts=0` the agents live in the background thread that all of `three_mode.sync` shares. Ctrl-C in a call ends
    the call; leaving the block by it stops the agents and their hosts in order.
    """

    _async: "agents.Orchestrator"

    def __init__(
        self,
        hosts: int = 2,
        name: str = "",
        *,
        llm: Any = None,
        policies: Any = None,
        cluster: Any = None,
        standby: bool = False,
        options: agents.OrchestratorOptions | None = None,
    ) -> None:
        self._async = agents.Orchestrator(
            hosts, name, llm=llm, policies=policies, cluster=cluster, standby=standby, options=options
        )
        self._end_within = self._async.options.stop_within + _END_MARGIN

    def __enter__(self) -> Self:
        LOOP.run_to_end(self._async.open(), self._end_within)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the hosts with their agents, and leave the bus. A second interrupt kills the hosts."""
        LOOP.run_to_end(self._async.aclose(), self._end_within)

    @property
    def name(self) -> str:
        """Name of the bus, for `join`."""
        return self._async.name

    def talk(self, name: str, **options: Any) -> Any:
        """A conversation of the file `OrchestratorOptions(talks=)`: a `three_mode.sync.Talk`."""
        talk = LOOP.run(self._async.talk(name, **options))
        return import_module("three_mode.sync_conversations").Talk(talk)  # stands above, and is imported by its name

    @property
    def bus(self) -> Bus:
        """The bus, for connections: `three_mode.sync.LLMConnection(bus=orc.bus)`."""
        return self._async.bus

    # agents -----------------------------------------------------------------------------------------------------------
    @overload
    def spawn(
        self,
        kind: type[agents.Agent],
        /,
        count: int,
        *,
        name: str = "",
        roles: Sequence[str] = (),
        restart: agents.Restart | str = ...,
        on: str | Sequence[str] = ...,
        within: float = ...,
        **init: Any,
    ) -> AgentGroup: ...
    @overload
    def spawn(
        self,
        kind: type[agents.Agent],
        /,
        *,
        name: str = "",
        roles: Sequence[str] = (),
        restart: agents.Restart | str = ...,
        on: str | Sequence[str] = ...,
        within: float = ...,
        **init: Any,
    ) -> AgentRef: ...
    def spawn(self, kind: type[agents.Agent], /, count: int | None = None, **options: Any) -> AgentGroup | AgentRef:
        """Make `count` agents, or one, and return once they can be called."""
        spawn: Any = self._async.spawn
        spawned = LOOP.run(spawn(kind, **options) if count is None else spawn(kind, count, **options))
        return AgentRef(spawned) if count is None else AgentGroup(spawned)

    def model(self, model: str, *, name: str, within: float = 120.0, **source: Any) -> AgentRef:
        """Put a model on the bus, once for all agents: requests address it as `agent:NAME`."""
        return AgentRef(LOOP.run(self._async.model(model, name=name, within=within, **source)))

    def stop(self, whom: "_Whom", within: float = 10.0, *, forget: bool = True) -> None:
        """Stop agents: their current messages may finish, and they do not come back. `forget`: with what they kept."""
        LOOP.run(self._async.stop(_with_loop(whom), within, forget=forget))

    def restart(self, whom: "_Whom", within: float = 10.0) -> None:
        """Restart agents in place."""
        LOOP.run(self._async.restart(_with_loop(whom), within))

    def pause(self, whom: "_Whom", within: float = 10.0) -> None:
        """Let messages wait in the mailboxes of agents until `resume`."""
        LOOP.run(self._async.pause(_with_loop(whom), within))

    def resume(self, whom: "_Whom", within: float = 10.0) -> None:
        """Let paused agents handle messages again."""
        LOOP.run(self._async.resume(_with_loop(whom), within))

    # who leads --------------------------------------------------------------------------------------------------------
    @property
    def leads(self) -> bool:
        """Whether agents can be placed from here: always, but at one that stands by."""
        return LOOP.read(lambda: self._async.leads)

    def leading(self, within: float | None = None) -> None:
        """Wait until this orchestrator leads: at once, or, with `standby`, until it has taken over."""
        LOOP.run(self._async.leading(within))

    def hand_over(self, within: float = 10.0) -> None:
        """Have an orchestrator that stands by take over, and stand by in its place."""
        LOOP.run(self._async.hand_over(within))

    # observation ------------------------------------------------------------------------------------------------------
    def table(self, within: float = 2.0) -> agents.Table:
        """Return all hosts and agents, with figures."""
        return LOOP.run(self._async.table(within))

    def dead_letters(self, within: float = 2.0) -> list[agents.DeadLetter]:
        """Return messages that no agent has taken, the oldest first."""
        return LOOP.run(self._async.dead_letters(within))

    def nodes(self) -> list[agents.NodeReport]:
        """Return the nodes of the cluster, this one first; ConfigurationError where there is no cluster."""

        async def nodes() -> list[agents.NodeReport]:
            return self._async.nodes()

        return LOOP.run(nodes())

    def page(self, port: int = 0) -> str:
        """Return the address of a page to look at this system and steer it, with the key that lets one in."""
        return LOOP.run(self._async.page(port))

    @property
    def events(self) -> list[agents.SupervisorEvent]:
        """Events of hosts and agents, the oldest first."""
        return LOOP.read(lambda: self._async.events)

    def on_event(self, listener: Callable[[agents.SupervisorEvent], None]) -> None:
        """Have `listener` called with each event as it happens, in the background thread."""
        self._async.on_event(listener)

    def agent_events(
        self, kinds: Iterable[type] | type | None = None, *, waiting: int = 1024
    ) -> "Events[agents.NodeEvent]":
        """Events of hosts and agents, in a cluster of all nodes, as an iterator."""
        return _listen(lambda: self._async.agent_events(kinds, waiting=waiting))

    def llm_events(self, kinds: Iterable[str] | None = None, *, waiting: int = 1024) -> "Events[LLMEvent]":
        """Events of the calls that agents make with `self.llm`, as an iterator; `event.agent` is who calls."""
        return _listen(lambda: self._async.llm_events(kinds, waiting=waiting))


def _listen(opened: "Callable[[], QueueReader[R]]") -> "Events[R]":
    """Return a reader that has begun."""
    from three_mode.sync_events import Events

    async def listen() -> Events[R]:
        return Events(await opened().__aenter__())

    return LOOP.run(listen())


class Joined(CallingVerbs):
    """A program's membership of a bus, or of a cluster: `join` makes it, and `with` enters and leaves."""

    _async: "agents.Joined"

    def __init__(self, joined: agents.Joined) -> None:
        self._async = joined

    def __enter__(self) -> Self:
        LOOP.run(self._async.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        LOOP.run_to_end(self._async.__aexit__(kind, error, trace), _END_MARGIN)

    @property
    def bus(self) -> Bus:
        """The bus, for connections: `three_mode.sync.LLMConnection(bus=joined.bus)`."""
        return self._async.bus

    def nodes(self) -> list[agents.NodeReport]:
        """Return this program and the nodes of its cluster; ConfigurationError where it has none."""
        return LOOP.read(self._async.nodes)

    def table(self, within: float = 3.0) -> agents.Table:
        """Return the hosts and agents of all nodes of the cluster; ConfigurationError where it has none."""
        return LOOP.run(self._async.table(within))

    def dead_letters(self) -> list[agents.DeadLetter]:
        """Return messages of this program that no agent has taken, the oldest first."""
        return LOOP.read(self._async.dead_letters)


def join(name: str, **options: Any) -> Joined:
    """Join a running bus by its name, or with `cluster=` the agents of all nodes; see `three_mode.agents.join`."""
    return Joined(agents.join(name, **options))


_Whom = AgentRef | AgentGroup | str | Iterable[AgentRef | str]


def _with_loop(whom: _Whom) -> Any:
    if isinstance(whom, AgentRef | AgentGroup):
        return whom._async
    return whom if isinstance(whom, str) else [one if isinstance(one, str) else one._async for one in whom]


def _without_loop(value: Any) -> Any:
    """Return a reference that came from an agent as one for code without a loop, and any other value as it is."""
    if isinstance(value, agents.AgentRef):
        return AgentRef(value)
    return AgentGroup(value) if isinstance(value, agents.AgentGroup) else value


# As arguments they travel like those that they stand for.
extensions.register_as(AgentRef, lambda ref: ref._async)
extensions.register_as(AgentGroup, lambda group: group._async)
