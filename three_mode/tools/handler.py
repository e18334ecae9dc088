"""Tools from handlers of agents: `scouts[7].tool(Scout.score)`."""

import inspect
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

from three_mode.errors import BadCall, ConfigurationError
from three_mode.handling import current
from three_mode.tools.arguments import ArgumentSchema, UnfitArguments
from three_mode.tools.callable_tool import checked_name
from three_mode.tools.function import gathered


class AskedAgent(Protocol):
    """A reference to an agent, as far as a tool needs it."""

    name: str

    @property
    def ask(self) -> Callable[..., Coroutine[Any, Any, Any]]: ...
    @property
    def stream(self) -> Callable[..., AsyncIterator[Any]]: ...


class HandlerTool:
    """A handler of an agent as a tool: the agent checks the arguments once more, and a streamed reply is gathered.

    It goes on to name the agent after a restart. Its time is what the run gives it.
    """

    __slots__ = ("_agent", "_arguments", "_handler", "_streams", "description", "name")

    def __init__(
        self,
        agent: AskedAgent,
        handler: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        """`name` and `description` stand in place of the handler's own."""
        if not inspect.isfunction(handler):
            raise ConfigurationError(
                f"{handler!r} has no type hints", hint="name the handler by its function, as in `Scout.score`"
            )
        self.name = checked_name(name or handler.__name__)
        self._agent, self._handler = agent, handler
        self._arguments = ArgumentSchema.of(handler, method=True)
        self._streams = inspect.isasyncgenfunction(handler)
        self.description = self._arguments.description if description is None else description

    def __repr__(self) -> str:
        return f"HandlerTool({self._agent.name!r}, {self.name!r})"

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        return self._arguments.schema

    async def call(self, arguments: dict[str, Any]) -> Any:
        """Asks the agent; UnfitArguments where the arguments do not fit the handler."""
        keywords = self._arguments.decode(arguments)
        left = current.get().remaining()
        within = None if left == math.inf else max(0.001, left)
        try:
            if self._streams:
                return await gathered(self._agent.stream(self._handler, within=within, **keywords))
            return await self._agent.ask(self._handler, within=within, **keywords)
        except BadCall as error:
            raise UnfitArguments(str(error)) from None
