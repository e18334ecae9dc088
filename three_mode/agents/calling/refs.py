"""What one holds to talk to agents: a reference to one, a group of them, or a role of which any will do."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

from three_mode.agents.calling.caller import Caller, Handler, Sent
from three_mode.agents.calling.gather import Gathered
from three_mode.agents.calling.receipts import AgentReceipt
from three_mode.agents.calling.streams import Stream

R = TypeVar("R")


class AgentRef:
    """One agent, by name. It stays good across restarts: it names the agent, not the process that it lives in."""

    __slots__ = ("_caller", "name")

    def __init__(self, name: str, caller: Caller) -> None:
        self.name = name
        self._caller = caller

    @property
    def address(self) -> str:
        """How a request names it as a model."""
        return f"agent:{self.name}"

    @overload
    def ask(
        self,
        handler: Callable[..., Coroutine[Any, Any, R]],
        /,
        *given: Any,
        within: float | None = None,
        **named: Any,
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def ask(
        self, handler: Callable[..., R], /, *given: Any, within: float | None = None, **named: Any
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def ask(
        self, handler: str, /, *given: Any, within: float | None = None, **named: Any
    ) -> Coroutine[Any, Any, Any]: ...
    def ask(
        self, handler: Handler, /, *given: Any, within: float | None = None, **named: Any
    ) -> Coroutine[Any, Any, Any]:
        """The handler's result, or the error that says why there is none."""
        return self._caller.ask(self.name, handler, given, named, within)  # one coroutine less than `await`

    def tell(self, handler: Handler, /, *given: Any, **named: Any) -> Sent:
        """Sends at once; awaiting what comes back waits until it is on its way, and raises if it never will be."""
        return self._caller.tell(self.name, handler, given, named)

    def stream(self, handler: Handler, /, *given: Any, within: float | None = None, **named: Any) -> Stream:
        """A streamed reply: `async for`, or `async with` so that leaving early is prompt."""
        return self._caller.stream(self.name, handler, given, named, within)

    def __repr__(self) -> str:
        return f"AgentRef({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AgentRef) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class RoleRef(AgentRef):
    """Any agent of a role: each call goes to the one with the least to do."""

    __slots__ = ()

    async def ask(self, handler: Handler, /, *given: Any, within: float | None = None, **named: Any) -> Any:
        roles = self._caller.roles
        address = roles.take(self.name)
        try:
            return await self._caller.ask(address, handler, given, named, within)
        finally:
            roles.give_back(address)

    def tell(self, handler: Handler, /, *given: Any, **named: Any) -> Sent:
        roles = self._caller.roles
        address = roles.take(self.name)
        try:
            return self._caller.tell(address, handler, given, named)
        finally:
            roles.give_back(address)

    def stream(self, handler: Handler, /, *given: Any, within: float | None = None, **named: Any) -> Stream:
        roles = self._caller.roles
        address = roles.take(self.name)
        try:
            return self._caller.stream(address, handler, given, named, within)
        finally:
            roles.give_back(address)

    def __repr__(self) -> str:
        return f"RoleRef({self.name!r})"


class AgentGroup(Sequence[AgentRef]):
    """Agents `NAME/0` to `NAME/n-1`, or some of them."""

    __slots__ = ("_caller", "_numbers", "_refs", "name")

    def __init__(self, name: str, numbers: Iterable[int], caller: Caller) -> None:
        self.name = name
        self._numbers = numbers if isinstance(numbers, range) else tuple(numbers)
        self._caller = caller
        self._refs: dict[int, AgentRef] = {}  # those that were asked for: `scouts[7].ask(...)` makes one once

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
        return [f"{self.name}/{number}" for number in self._numbers]

    @property
    def any(self) -> RoleRef:
        """The one with the least to do, chosen at each call. The name of a group is a role of its agents."""
        return RoleRef(self.name, self._caller)

    async def gather(
        self,
        handler: Handler,
        /,
        *given: Any,
        within: float | None = None,
        quorum: int | None = None,
        **named: Any,
    ) -> Gathered:
        """Asks all at once. Values, errors and the missing are all in the result; it raises only for a bad call.

        With a `quorum` it ends when that many have answered, and the rest are cancelled.
        """
        return await self._caller.gather(self.names, handler, given, named, within, quorum)

    def tell(self, handler: Handler, /, *given: Any, **named: Any) -> list[Sent]:
        return [self._caller.tell(name, handler, given, named) for name in self.names]

    def __repr__(self) -> str:
        return f"AgentGroup({self.name!r}, {len(self)} agents)"


class Verbs:
    """The verbs as methods of an orchestrator, an agent, or a program that joined."""

    _three_mode_caller: Caller

    def ref(self, name: str) -> AgentRef:
        """An agent by name: `scout/7`."""
        return AgentRef(name, self._three_mode_caller)

    def group(self, name: str) -> AgentGroup:
        """All agents of a group that are on the bus now."""
        caller = self._three_mode_caller
        return AgentGroup(name, caller.group_numbers(name), caller)

    def any(self, role: str) -> RoleRef:
        """Whichever agent of that role or group has the least to do, chosen at each call."""
        return RoleRef(role, self._three_mode_caller)

    def broadcast(self, topic: str, item: Any) -> AgentReceipt:
        """Publishes at once. The receipt may be awaited, or asked who has seen it."""
        return self._three_mode_caller.broadcast(topic, item)

    @property
    def llm(self) -> Any:
        """A connection to models that knows this bus."""
        return self._three_mode_caller.llm
