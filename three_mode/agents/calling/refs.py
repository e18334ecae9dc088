"""References: one agent, a group of agents, or a role, and the verbs on each."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import msgspec

from three_mode.agents.calling.caller import Caller, Handler, Sent, SentToAll
from three_mode.agents.calling.gather import Gathered
from three_mode.agents.calling.here import HERE
from three_mode.agents.calling.receipts import AgentReceipt
from three_mode.agents.calling.retrying import Retry, RetryingRef
from three_mode.agents.calling.streams import Stream
from three_mode.agents.handlers import extensions
from three_mode.errors import BadCall

if TYPE_CHECKING:
    from three_mode.agents.calling.signatures import AskVerb, GatherVerb, StreamVerb, TellGroupVerb, TellVerb
    from three_mode.tools.handler import HandlerTool


class AgentRef:
    """One agent, by name.

    It stays good across restarts: it names the agent, not the process that the agent lives in. It travels: as an
    argument or a result it works in the other process too.
    """

    __slots__ = ("_caller", "name")

    def __init__(self, name: str, caller: Caller) -> None:
        self.name = name
        self._caller = caller

    @property
    def address(self) -> str:
        """The model name under which a request reaches this agent: `agent:NAME`."""
        return f"agent:{self.name}"

    def retrying(self, retry: Retry | None = None) -> RetryingRef:
        """Return the same agent for asks that are tried again, of idempotent handlers alone:
        `ref.retrying(Retry(attempts=5, each=1.0)).ask(Scout.score, "hello", within=10)`."""
        return RetryingRef(self, retry or Retry(), self._caller.session.default_within)

    def tool(
        self, handler: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> "HandlerTool":
        """A handler as a tool that a model may call: `llm.run(request, [scouts[7].tool(Scout.score)])`.

        `name` and `description` stand in place of the handler's own.
        """
        from three_mode.tools.handler import HandlerTool

        return HandlerTool(self, handler, name=name, description=description)

    if TYPE_CHECKING:

        @property
        def ask(self) -> AskVerb: ...
        @property
        def tell(self) -> TellVerb: ...
        @property
        def stream(self) -> StreamVerb: ...

    else:

        def ask(
            self, handler: Handler, /, *args: Any, within: float | None = None, **kwargs: Any
        ) -> Coroutine[Any, Any, Any]:
            """Call a handler and return its result; raise the error that says why there is none.

            `within`: seconds until DeadlineExceeded; by default what remains of the call being handled, or 30.
            """
            return self._caller.ask(self.name, handler, args, kwargs, within)  # one coroutine less than `await`

        def tell(self, handler: Handler, /, *args: Any, **kwargs: Any) -> Sent:
            """Send a message at once. Awaiting the `Sent` waits until the carrier has the message, or raises."""
            return self._caller.tell(self.name, handler, args, kwargs)

        def stream(self, handler: Handler, /, *args: Any, within: float | None = None, **kwargs: Any) -> Stream[Any]:
            """Ask for a streamed reply: `async for` takes its parts; `async with` makes an early exit prompt.

            `within`: seconds for the whole stream; by default what remains of the call being handled, or 30.
            """
            return self._caller.stream(self.name, handler, args, kwargs, within)

    def __repr__(self) -> str:
        return f"AgentRef({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AgentRef) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class RoleRef(AgentRef):
    """Any agent of a role: each call goes to the agent with the least to do."""

    __slots__ = ()

    def __call__(self) -> Self:
        """Return the reference itself: `group.any()` reads as `orc.any(role)` does, and `group.any` stays as it was."""
        return self

    if not TYPE_CHECKING:

        async def ask(self, handler: Handler, /, *args: Any, within: float | None = None, **kwargs: Any) -> Any:
            """Call a handler of the agent with the least to do; otherwise as `AgentRef.ask`."""
            roles = self._caller.roles
            address = roles.take(self.name)
            try:
                return await self._caller.ask(address, handler, args, kwargs, within)
            finally:
                roles.give_back(address)

        def tell(self, handler: Handler, /, *args: Any, **kwargs: Any) -> Sent:
            """Send a message to the agent with the least to do; otherwise as `AgentRef.tell`."""
            roles = self._caller.roles
            address = roles.take(self.name)
            try:
                return self._caller.tell(address, handler, args, kwargs)
            finally:
                roles.give_back(address)

        def stream(self, handler: Handler, /, *args: Any, within: float | None = None, **kwargs: Any) -> Stream[Any]:
            """Ask the agent with the least to do for a streamed reply; otherwise as `AgentRef.stream`."""
            roles = self._caller.roles
            address = roles.take(self.name)
            try:
                return self._caller.stream(address, handler, args, kwargs, within)
            finally:
                roles.give_back(address)

    def __repr__(self) -> str:
        return f"RoleRef({self.name!r})"


class AgentGroup(Sequence[AgentRef]):
    """Agents `NAME/0` to `NAME/n-1`, or some of them: a sequence of references."""

    __slots__ = ("_caller", "_numbers", "_refs", "name")

    def __init__(self, name: str, numbers: Iterable[int], caller: Caller) -> None:
        self.name = name
        self._numbers = numbers if isinstance(numbers, range) else tuple(numbers)
        self._caller = caller
        self._refs: dict[int, AgentRef] = {}  # kept by index, so that `scouts[7].ask(...)` makes its reference once

    @overload
    def __getitem__(self, index: int) -> AgentRef: ...
    @overload
    def __getitem__(self, index: slice) -> "AgentGroup": ...
    def __getitem__(self, index: int | slice) -> "AgentRef | AgentGroup":
        if isinstance(index, slice):
            return AgentGroup(self.name, self._numbers[index], self._caller)
        ref = self._refs.get(index)
        if ref is None:
            ref = self._refs[index] = AgentRef(f"{self.name}/{self._numbers[index]}", self._caller)
        return ref

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[AgentRef]:
        return (AgentRef(f"{self.name}/{number}", self._caller) for number in self._numbers)

    @property
    def names(self) -> list[str]:
        """Names of the agents, in order: `["scout/0", "scout/1", ...]`."""
        return [f"{self.name}/{number}" for number in self._numbers]

    @property
    def any(self) -> RoleRef:
        """Reference to the agent with the least to do, chosen at each call: `group.any()`, or `group.any`.

        The name of a group is a role of its agents, so `orc.any(group.name)` is the same.
        """
        return RoleRef(self.name, self._caller)

    if TYPE_CHECKING:

        @property
        def gather(self) -> GatherVerb: ...
        @property
        def tell(self) -> TellGroupVerb: ...

    else:

        async def gather(
            self,
            handler: Handler,
            /,
            *args: Any,
            within: float | None = None,
            quorum: int | None = None,
            **kwargs: Any,
        ) -> Gathered[Any]:
            """Ask all agents at once. The result has values, errors and who is missing; only a bad call raises.

            `within`: seconds, after which agents without an answer are missing; by default as in `AgentRef.ask`.
            `quorum`: end as soon as that many have answered, and cancel the rest; by default wait for all.
            """
            return await self._caller.gather(self.names, handler, args, kwargs, within, quorum)

        def tell(self, handler: Handler, /, *args: Any, **kwargs: Any) -> SentToAll:
            """Send a message to each agent; one `Sent` an agent, in order. Awaiting the list waits for all of them."""
            return SentToAll(self._caller.tell(name, handler, args, kwargs) for name in self.names)

    def __repr__(self) -> str:
        return f"AgentGroup({self.name!r}, {len(self)} agents)"


class Verbs:
    """Verbs as methods of an orchestrator, an agent, or a program that joined."""

    _three_mode_caller: Caller

    def ref(self, name: str) -> AgentRef:
        """Return a reference to one agent by name: `scout/7`."""
        return AgentRef(_text(name, "scout/7"), self._three_mode_caller)

    def group(self, name: str) -> AgentGroup:
        """Return all agents of a group that are on the bus now; NoSuchAgent where there are none."""
        caller = self._three_mode_caller
        return AgentGroup(name, caller.group_numbers(_text(name, "scout")), caller)

    def any(self, role: str) -> RoleRef:
        """Return a reference to the agent of a role or group with the least to do, chosen at each call."""
        return RoleRef(_text(role, "scout"), self._three_mode_caller)

    def broadcast(self, topic: str, item: Any) -> AgentReceipt:
        """Publish `item` at once. Await the receipt, or ask it who has seen the message: `receipt.settled()`."""
        return self._three_mode_caller.broadcast(topic, item)

    @property
    def llm(self) -> Any:
        """The `LLMConnection` of this process that knows this bus.

        Typed Any, since connections are built on agents: a variable with a type gets it back,
        `llm: LLMConnection = self.llm`.
        """
        return self._three_mode_caller.llm

    async def talk(self, name: str, **options: Any) -> Any:
        """A conversation that is kept, as `three_mode.conversations.Conversations.open` gives it with these options:
        `talk = await self.talk("alice/1", system="You are brief.")`, then `await talk.say("Hello")`.

        Its file is that of `OrchestratorOptions(talks=)`, which all agents share. Typed Any, as `llm` is.
        """
        return await self._three_mode_caller.session.talk(name, options)


def _text(name: str, example: str) -> str:
    """Return a name, or raise BadCall for what is none."""
    if isinstance(name, str):
        return name
    raise BadCall(f"a name is a text, not {name!r}", hint=f"as in {example!r}", argument="name")


def _travels(name: str, kind: type[AgentRef]) -> None:
    """Have references of a class travel by their names."""
    extensions.register(name, kind, lambda ref: ref.name, lambda content: kind(_name(content), HERE))


_name = msgspec.msgpack.Decoder(str).decode
_group = msgspec.msgpack.Decoder(tuple[str, list[int]]).decode
_travels("agent", AgentRef)
_travels("role", RoleRef)
extensions.register(
    "group",
    AgentGroup,
    lambda group: (group.name, list(group._numbers)),
    lambda content: AgentGroup(*_group(content), HERE),
)
