"""Tools from typed Python functions.

def get_weather(city: str, days: int = 1) -> str:
    \"\"\"The weather of the next days.

    city: the name of the place
    \"\"\"
"""

import inspect
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from three_mode.errors import ConfigurationError
from three_mode.tools.arguments import ArgumentSchema
from three_mode.tools.callable_tool import checked_name
from three_mode.tools.threads import THREADS

MOST_PARTS = 10_000  # parts of a streamed result
MOST_CHARACTERS = 10_000_000  # of its texts


class FunctionTool:
    """A typed function as a tool: its hints are the schema, its docstring the description.

    An `async def` runs on the event loop, a plain `def` on a thread. What an async generator yields is gathered.
    """

    __slots__ = ("_arguments", "_function", "_streams", "_waits", "description", "name")

    def __init__(
        self, function: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> None:
        """`name` and `description` stand in place of the function's own."""
        if isinstance(function, type):
            raise ConfigurationError(f"a tool is a function, not the class {function.__name__}")
        self.name = checked_name(getattr(function, "__name__", None) if name is None else name)
        self._function, self._arguments = function, ArgumentSchema.of(function)
        self.description = self._arguments.description if description is None else description
        called = function if inspect.isroutine(function) or isinstance(function, partial) else type(function).__call__
        self._streams = inspect.isasyncgenfunction(called)
        self._waits = inspect.iscoroutinefunction(called)

    def __repr__(self) -> str:
        return f"FunctionTool({self.name!r})"

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        return self._arguments.schema

    async def call(self, arguments: dict[str, Any]) -> Any:
        """Calls the function with a model's arguments; UnfitArguments where they do not fit."""
        keywords = self._arguments.decode(arguments)
        if self._waits:
            return await self._function(**keywords)
        if self._streams:
            return await gathered(self._function(**keywords))
        result = await THREADS.run(partial(self._function, **keywords))
        return await result if inspect.isawaitable(result) else result


async def gathered(parts: AsyncIterator[Any]) -> Any:
    """All parts of a streamed result: one text where all are text, else a list. It ends at 10,000 parts, or at ten
    million characters."""
    found: list[Any] = []
    length = 0
    try:
        async for part in parts:
            found.append(part)
            length += len(part) if isinstance(part, str) else 0
            if len(found) >= MOST_PARTS or length >= MOST_CHARACTERS:
                break
    finally:
        close = getattr(parts, "aclose", None)
        if close is not None:
            await close()
    return "".join(found) if found and all(isinstance(part, str) for part in found) else found
