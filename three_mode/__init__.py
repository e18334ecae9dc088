"""One API over three modes: remote models, agents on this machine, models in this process.

The module holds names only. Each is imported when it is first used, so that `import three_mode` is quick and opens
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from three_mode import errors as errors
    from three_mode.agents import Agent as Agent
    from three_mode.agents import Orchestrator as Orchestrator
    from three_mode.agents import handler as handler
    from three_mode.agents import on as on
    from three_mode.connection import LLMConnection as LLMConnection
    from three_mode.errors import ThreeModeError as ThreeModeError
    from three_mode.messages import Chunk as Chunk
    from three_mode.messages import LLMRequest as LLMRequest
    from three_mode.messages import LLMResponse as LLMResponse
    from three_mode.messages import Message as Message
    from three_mode.messages import Tool as Tool
    from three_mode.messages import Usage as Usage
    from three_mode.messages import fold as fold
    from three_mode.modes import CommunicationMode as CommunicationMode

# Public name -> module that defines it.
_MODULES = {
    "Agent": "three_mode.agents",
    "Chunk": "three_mode.messages",
    "CommunicationMode": "three_mode.modes",
    "LLMConnection": "three_mode.connection",
    "LLMRequest": "three_mode.messages",
    "LLMResponse": "three_mode.messages",
    "Message": "three_mode.messages",
    "Orchestrator": "three_mode.agents",
    "ThreeModeError": "three_mode.errors",
    "Tool": "three_mode.messages",
    "Usage": "three_mode.messages",
    "fold": "three_mode.messages",
    "handler": "three_mode.agents",
    "on": "three_mode.agents",
}

__all__ = [*_MODULES, "errors"]


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module("three_mode.errors")
    if name == "__version__":
        return _version()
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'three_mode' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def _version() -> str:
    """Installed version; "0+unknown" where the code runs from a folder that was never installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("three-mode")
    except PackageNotFoundError:
        found = "0+unknown"
    globals()["__version__"] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
