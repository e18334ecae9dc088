"""What a tool is: a name, a description, a JSON Schema of its arguments, and a call.

Functions (`FunctionTool`) and handlers of agents (`HandlerTool`) are tools; an object of any other class with these
members is one too.
"""

import re
from typing import Any, Protocol, runtime_checkable

from three_mode.errors import ConfigurationError

LONGEST_NAME = 64  # characters of a name that every provider takes
_NAME = re.compile(rf"[a-zA-Z0-9_-]{{1,{LONGEST_NAME}}}")
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")


@runtime_checkable
class CallableTool(Protocol):
    """A tool that can be called."""

    @property
    def name(self) -> str:
        """Name that the model calls it by: letters, digits, `_` and `-`, at most 64 of them."""

    @property
    def description(self) -> str:
        """What it does, for the model."""

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments: an object."""

    async def call(self, arguments: dict[str, Any]) -> Any:
        """Calls it. The result goes to the model as text: a string as it is, `Text` and `Image` parts as such, and all
        else as JSON. Raises `UnfitArguments` for arguments that do not fit; any other exception is a failure of the
        tool, which the model reads too."""


def checked_name(name: object) -> str:
    """The name, if every provider takes it; ConfigurationError otherwise."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise ConfigurationError(
        f"{name!r} is no name of a tool", hint="give name=: letters, digits, _ and -, at most 64 of them"
    )


def fitting_letters(name: str) -> str:
    """A name from elsewhere with `_` for each character that not every provider takes."""
    return _UNFIT.sub("_", name)
